"""A window at each event: the event itself and what came within `size` before it.

     event time   0     3   5   6        10
     size 4       *     *   *   *        *
                (.]                           {0}
                     (..]                     {0 is outside (-1, 3]: {0, 3}}
                        (...]                 {3, 5}
                          (...]               {3, 5, 6}
                                     (...]    {10}

A window fires when the watermark reaches its event. It is named by that event, so a revision with earlier events keeps the id.
"""

from bisect import bisect_left, bisect_right, insort
from typing import Final, TypeAlias

from edge_agent.pipeline.windows import MICROS, ClosedWindow, Event, Fed, WindowState, micros
from edge_agent.settings import WindowKind, WindowSettings

Entry: TypeAlias = tuple[int, int, Event]
"""Time, position, event: sorted by the first two, which no two entries share."""
LAST: Final = 1 << 80
"""Above every position."""


class SlidingWindows:
    """The events of one lane that a window may still need.

    Without `delay` an event's own window fires at the event, which the mark tells after a restart; only revisions, and with
    `delay` all windows, are stored as pending.
    """

    __slots__ = (
        "_delay",
        "_entries",
        "_expiry",
        "_key",
        "_lateness",
        "_loose",
        "_mark",
        "_pending",
        "_revisions",
        "_size",
        "_timeliness",
        "_watermark",
    )

    def __init__(
        self, key: str, timeliness: str, settings: WindowSettings, state: WindowState | None, mark: int | None
    ) -> None:
        state = state or WindowState()
        self._key = key
        self._timeliness = timeliness
        self._size = max(round(settings.size * MICROS), 1)
        self._delay = round(settings.delay * MICROS)
        self._lateness = round(settings.lateness * MICROS)
        self._mark = -1 if mark is None else mark
        self._watermark = state.watermark
        self._expiry = state.expiry
        self._revisions: dict[int, int] = {row[0]: row[1] for row in state.kept}
        """Position to revision, of windows that have fired more than once and may do so again."""
        self._pending: dict[tuple[int, int], int] = {(place, revision): last for place, revision, last in state.pending}
        """(position, revision) to the position of the newest event."""
        self._entries: list[Entry] = []
        self._loose: list[Entry] = []
        """While the journal is read: all of it."""

    def place(self, event: Event, newest: float | None, fed: Fed) -> None:
        """Take an event in, fire what is due."""
        if event.sample.time is None or newest is None:
            fed.untimed = fed.dropped = True
            fed.release(event.position)
            return
        moment = micros(event)
        if self._expiry is not None and moment < self._expiry:
            fed.late += 1
            fed.dropped = fed.changed = True
            fed.release(event.position)
            return
        entry = (moment, event.position, event)
        entries = self._entries
        if not entries or entries[-1] < entry:
            entries.append(entry)
        else:
            insort(entries, entry)
        before = self._watermark
        if before is not None and moment <= before:
            self._fire_again(entry, before, fed)
        else:
            self._advance(round(newest * MICROS) - self._delay, fed)

    def reattach(self, event: Event, fed: Fed) -> None:
        """Put it back."""
        if event.sample.time is None:
            fed.release(event.position)
        else:
            self._loose.append((micros(event), event.position, event))

    def resume(self, newest: float | None, fed: Fed) -> None:
        """Fire again what was not finished."""
        self._loose.sort()
        self._entries, everything, self._loose = self._loose, self._loose, []
        watermark = self._watermark
        if newest is not None:
            derived = round(newest * MICROS) - self._delay
            watermark = derived if watermark is None else max(watermark, derived)
        # fired without being stored: without a delay, or under another name or setting of the pipeline
        fired = watermark if self._delay or self._watermark is None else self._watermark
        unstored = [
            (moment, place)
            for moment, place, _ in everything
            if (place, 0) not in self._pending
            and fired is not None
            and (place > self._mark and moment <= fired if self._delay else place > self._mark or moment > fired)
        ]
        # the position of the event that made it fire comes first
        pending = [(0 if self._delay else place, 0, moment, place, 0) for moment, place in unstored]
        at = {place: index for index, (_, place, _) in enumerate(everything)}
        for order, ((place, revision), last) in enumerate(self._pending.items()):
            if place in at:
                pending.append((last if not self._delay else 0, 1 + order, everything[at[place]][0], place, revision))
        if self._delay:
            self._pending.update(((place, 0), place) for _, place in unstored)
        for _, _, _, place, revision in sorted(pending):
            last = self._pending.get((place, revision), place)
            fed.close(self._window(at[place], revision, last))
        self._watermark = watermark
        if watermark is not None:
            self._set_expiry(watermark - self._lateness)
            self._let_go(fed)

    def finish(self, window: ClosedWindow) -> None:
        """It need not fire again."""
        self._pending.pop((window.mark, window.revision), None)

    def idle(self, fed: Fed) -> bool:
        """Fire what waits for the watermark; events that a later window needs stay."""
        if self._entries and self._watermark is not None:
            self._advance(self._entries[-1][0], fed)
        return False

    def pending_row(self, window: ClosedWindow) -> list[int] | None:
        """The position of its event, its revision, and the position of its newest event."""
        last = self._pending.get((window.mark, window.revision))
        return None if last is None else [window.mark, window.revision, last]

    def dump(self) -> WindowState | None:
        """What cannot be told from the events and the mark alone."""
        return WindowState(
            watermark=self._watermark,
            expiry=self._expiry,
            kept=[[place, revision] for place, revision in self._revisions.items()],
        )

    def _advance(self, watermark: int, fed: Fed) -> None:
        before = self._watermark
        if before is not None and watermark <= before:
            return
        entries = self._entries
        first = 0 if before is None else bisect_right(entries, (before, LAST))
        for index in range(first, len(entries)):
            if entries[index][0] > watermark:
                break
            self._fire(index, 0, fed)
        self._watermark = watermark
        self._set_expiry(watermark - self._lateness)
        self._let_go(fed)

    def _fire_again(self, entry: Entry, watermark: int, fed: Fed) -> None:
        """A late event: its own window fires, and again those that fired without it."""
        entries = self._entries
        index = bisect_left(entries, entry)
        self._fire(index, 0, fed)
        for later in range(index + 1, len(entries)):
            moment, place, _ = entries[later]
            if moment > watermark or moment - self._size >= entry[0]:
                break
            revision = self._revisions.get(place, 0) + 1
            self._revisions[place] = revision
            self._fire(later, revision, fed)

    def _fire(self, index: int, revision: int, fed: Fed) -> None:
        window = self._window(index, revision, LAST)
        fed.close(window)
        if self._delay or revision:  # otherwise the mark tells
            self._pending[window.mark, revision] = max(event.position for event in window.events)
            fed.changed = True

    def _window(self, index: int, revision: int, last: int) -> ClosedWindow:
        entries = self._entries
        moment, place, _ = entries[index]
        first = bisect_right(entries, (moment - self._size, LAST))
        events = tuple(event for _, position, event in entries[first : index + 1] if position <= last)
        start = moment - self._size
        return ClosedWindow(self._key, WindowKind.SLIDING, events, place, start, moment, revision, self._timeliness)

    def _set_expiry(self, expiry: int) -> None:
        if self._expiry is None or expiry > self._expiry:
            self._expiry = expiry

    def _let_go(self, fed: Fed) -> None:
        expiry = self._expiry
        entries = self._entries
        if expiry is None or not entries or entries[0][0] + self._size > expiry:
            return
        count = bisect_right(entries, (expiry - self._size, LAST))
        for _, place, _ in entries[:count]:
            fed.release(place)
        del entries[:count]
        if self._revisions:
            left = {place for _, place, _ in entries}
            self._revisions = {place: revision for place, revision in self._revisions.items() if place in left}
