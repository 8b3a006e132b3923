"""Sessions: events that follow each other within `gap`, at most `max_length` long.

     event time   0  1  2        7  8                20
     gap 4        [..*..*]       [..]                [.
     fires when the watermark reaches 2 + 4, 8 + 4, …

A session reaches from its first event to its last. One that grows to `max_length` is cut there, so that it cannot stay open for
ever. Bounds are those of the first firing, so a revision keeps the id.
"""

from bisect import insort
from typing import TypeAlias

from edge_agent.pipeline.windows import MICROS, ClosedWindow, Event, Fed, WindowState, micros
from edge_agent.settings import WindowKind, WindowSettings

Entry: TypeAlias = tuple[int, int, Event]
"""Time, position, event."""


class Session:
    """One that has fired and may fire again."""

    __slots__ = ("bound", "end", "entries", "first", "last", "revision", "start")

    def __init__(self, start: int, end: int, bound: int, first: int, last: int, revision: int) -> None:
        self.start = start
        self.end = end
        """First and last event when it first fired."""
        self.bound = bound
        """Where it closed."""
        self.first = first
        self.last = last
        """First and last event now."""
        self.revision = revision
        self.entries: list[Entry] = []

    def row(self) -> list[int]:
        """As it is stored."""
        return [self.start, self.end, self.bound, self.first, self.last, self.revision]


class SessionWindows:
    """The events of one lane that belong to no closed session, and the sessions that may fire again."""

    __slots__ = (
        "_delay",
        "_due",
        "_expiry",
        "_fired",
        "_floor",
        "_gap",
        "_key",
        "_lateness",
        "_loose",
        "_max_length",
        "_open",
        "_pending",
        "_timeliness",
        "_watermark",
    )

    def __init__(self, key: str, timeliness: str, settings: WindowSettings, state: WindowState | None) -> None:
        state = state or WindowState()
        assert settings.gap is not None
        self._key = key
        self._timeliness = timeliness
        self._gap = max(round(settings.gap * MICROS), 1)
        self._max_length = max(round(settings.max_length * MICROS), 1)
        self._delay = round(settings.delay * MICROS)
        self._lateness = round(settings.lateness * MICROS)
        self._watermark = state.watermark
        self._expiry = state.expiry
        self._floor = state.floor
        self._fired = [Session(*row) for row in state.kept]
        """In order of time."""
        self._pending: dict[tuple[int, int], list[int]] = {(row[0], row[1]): row for row in state.pending}
        """(start, revision) to start, revision, end, first, last and the position of the newest event."""
        self._open: list[Entry] = []
        self._due: int | None = None
        """No open session closes below this watermark."""
        self._loose: list[Entry] = []
        """While the journal is read: all of it."""

    def place(self, event: Event, newest: float | None, fed: Fed) -> None:
        """Take an event in, fire what is due."""
        if event.sample.time is None or newest is None:
            fed.untimed = fed.dropped = True
            fed.release(event.position)
            return
        moment = micros(event)
        entry = (moment, event.position, event)
        if not self._closed_at(moment):
            self._insert(entry)
        elif not self._join_fired(entry, fed):
            fed.late += 1
            fed.dropped = fed.changed = True
            fed.release(event.position)
            return
        self._advance(round(newest * MICROS) - self._delay, fed)

    def reattach(self, event: Event, fed: Fed) -> None:
        """Put it back."""
        if event.sample.time is None:
            fed.release(event.position)
        else:
            self._loose.append((micros(event), event.position, event))

    def resume(self, newest: float | None, fed: Fed) -> None:
        """Fire again what was not finished."""
        everything, self._loose = sorted(self._loose), []
        for start, revision, end, first, last, newest_position in self._pending.values():
            entries = [entry for entry in everything if first <= entry[0] <= last and entry[1] <= newest_position]
            if entries:
                fed.close(self._window(start, end, entries, revision))
        for entry in everything:
            session = next((item for item in self._fired if item.first <= entry[0] <= item.last), None)
            if session is not None:
                session.entries.append(entry)
            elif self._floor is None or entry[0] >= self._floor:
                self._insert(entry)
            else:
                fed.release(entry[1])
        if newest is not None:
            self._advance(round(newest * MICROS) - self._delay, fed)

    def finish(self, window: ClosedWindow) -> None:
        """It need not fire again."""
        self._pending.pop((window.mark, window.revision), None)

    def idle(self, fed: Fed) -> bool:
        """Close all that are open; the next time let go of those that may fire again."""
        if self._open:
            self._advance(self._open[-1][0] + self._gap, fed)
            return bool(self._fired)
        if self._fired and self._watermark is not None:
            self._expire(self._watermark, fed)
            fed.changed = True
        return False

    def pending_row(self, window: ClosedWindow) -> list[int] | None:
        """Start, revision, end, first, last and the position of the newest event."""
        return self._pending.get((window.mark, window.revision))

    def dump(self) -> WindowState | None:
        """What cannot be told from the events alone."""
        return WindowState(
            watermark=self._watermark,
            expiry=self._expiry,
            floor=self._floor,
            kept=[session.row() for session in self._fired],
        )

    def _closed_at(self, moment: int) -> bool:
        """Whether an event at this time comes too late for an open session."""
        if self._floor is not None and moment < self._floor:
            return True
        if self._watermark is None or moment + self._gap > self._watermark:
            return False
        return not (self._open and self._open[0][0] - moment < self._gap)

    def _insert(self, entry: Entry) -> None:
        if self._open and entry < self._open[-1]:
            insort(self._open, entry)
        else:
            self._open.append(entry)
        earliest = entry[0] + min(self._gap, self._max_length)
        if self._due is None or earliest < self._due:
            self._due = earliest

    def _join_fired(self, entry: Entry, fed: Fed) -> bool:
        """Make the session fire again that a late event belongs to; one of its own if it belongs to none and may still fire."""
        moment = entry[0]
        before = [item for item in self._fired if item.first <= moment < item.last + self._gap]
        after = [item for item in self._fired if moment < item.first < moment + self._gap]
        session = before[-1] if before else after[0] if after else None
        if session is None:
            if self._expiry is None or moment < self._expiry:
                return False
            session = Session(moment, moment, moment + self._gap, moment, moment, -1)
            self._fired.append(session)
            self._fired.sort(key=lambda item: item.first)
        insort(session.entries, entry)
        session.first, session.last = min(session.first, moment), max(session.last, moment)
        self._floor = session.last + 1 if self._floor is None else max(self._floor, session.last + 1)
        session.revision += 1
        self._fire(session, fed)
        return True

    def _advance(self, watermark: int, fed: Fed) -> None:
        if self._watermark is None or watermark > self._watermark:
            self._watermark = watermark
            expiry = watermark - self._lateness
            self._expiry = expiry if self._expiry is None else max(self._expiry, expiry)
        watermark = self._watermark
        while self._due is not None and self._due <= watermark:
            count, bound, cut = self._first_session()
            if bound > watermark:
                self._due = bound
                break
            entries = self._open[:count]
            del self._open[:count]
            start, end = entries[0][0], entries[-1][0]
            session = Session(start, end, bound, start, end, 0)
            session.entries = entries
            self._fired.append(session)
            self._floor = bound if cut else end + 1
            self._fire(session, fed)
            self._due = self._open[0][0] + min(self._gap, self._max_length) if self._open else None
        if self._expiry is not None:
            self._expire(self._expiry, fed)

    def _first_session(self) -> tuple[int, int, bool]:
        """How many of the open events it has, where it closes, and whether its length cuts it there."""
        limit = self._open[0][0] + self._max_length
        last = self._open[0][0]
        count = 0
        for moment, _, _ in self._open:
            if moment - last >= self._gap or moment >= limit:
                break
            last = moment
            count += 1
        bound = min(last + self._gap, limit)
        return count, bound, bound == limit

    def _fire(self, session: Session, fed: Fed) -> None:
        newest = max(position for _, position, _ in session.entries)
        start, end, revision = session.start, session.end, session.revision
        self._pending[start, revision] = [start, revision, end, session.first, session.last, newest]
        fed.close(self._window(start, end, session.entries, revision))
        fed.changed = True

    def _window(self, start: int, end: int, entries: list[Entry], revision: int) -> ClosedWindow:
        events = tuple(event for _, _, event in entries)
        return ClosedWindow(self._key, WindowKind.SESSION, events, start, start, end, revision, self._timeliness)

    def _expire(self, expiry: int, fed: Fed) -> None:
        self._expiry = expiry
        if not self._fired or all(item.bound > expiry for item in self._fired):
            return
        for session in self._fired:
            if session.bound <= expiry:
                for _, position, _ in session.entries:
                    fed.release(position)
        self._fired = [item for item in self._fired if item.bound > expiry]
