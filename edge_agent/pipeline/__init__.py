"""Windows over samples and decisions over scores: a pipeline is a value, pure, and survives a crash by its marks.

**Marks.** Each key (sensor) has one mark, which moves only when a window is finished, and windows of one key finish in the
order in which they closed. For count windows the mark is the lowest position that still belongs to a window to come; for
time windows it is the index of the first window that is not finished. An event is *held* from `feed` until the mark has
passed it; `feed` and `finish` say which positions are released.

What the engine has to do for exactly-once:
1. one transaction holds a window's result, `state(key)` as it is after `finish`, and the deletion of the journal rows that
   nothing holds any more; an event is journaled, if it is held, in the same transaction as the results that it set off, or
   in an earlier one;
2. at start: `restore` with the stored states, then the journal fed again in order of position. What lies before a mark is
   released at once, what lies behind it rebuilds the same buffers, and closes the unfinished windows again with the same
   result ids;
3. new positions lie above every journal row and above `Pipeline.last_position`.

Why a restored watermark is right: the event with the newest time is in a window that is not closed, so it is held and in the
journal. An event that has been released had all its windows finished; any window that it closed by its time but that was not
finished ends after the mark, and the argument applies to whichever held event closed it.
"""
