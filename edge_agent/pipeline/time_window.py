"""Windows on a grid of event time: tumbling (each event in one) and hopping (in several).

     event time   0         10        20        30
     tumbling     [.........|.........|.........[         size 10
     hopping      [...................[                   size 20, step 10
                            [...................[

A window starts at a multiple of `step` since 1970 and fires when the watermark reaches its end.
"""

from collections.abc import Iterable

from edge_agent.pipeline.windows import MICROS, ClosedWindow, Event, Fed, WindowState, micros
from edge_agent.settings import WindowSettings


class TimeWindows:
    """The open windows of one lane, and those that have fired and may fire again."""

    __slots__ = (
        "_delay",
        "_due",
        "_expiry",
        "_fired",
        "_holds",
        "_key",
        "_kind",
        "_lateness",
        "_loose",
        "_pending",
        "_size",
        "_step",
        "_timeliness",
        "_watermark",
        "_windows",
    )

    def __init__(
        self, key: str, timeliness: str, settings: WindowSettings, state: WindowState | None, mark: int | None
    ) -> None:
        """`mark` is what the first release stored in place of a state: the end of the last finished window."""
        state = state or WindowState(expiry=mark)
        self._key = key
        self._timeliness = timeliness
        self._kind = settings.kind
        self._size = max(round(settings.size * MICROS), 1)
        self._step = self._size if settings.step is None else max(round(settings.step * MICROS), 1)
        self._delay = round(settings.delay * MICROS)
        self._lateness = round(settings.lateness * MICROS)
        self._watermark = state.watermark
        self._expiry = state.expiry
        self._fired: dict[int, int] = {row[0]: row[1] for row in state.kept}
        """Start to revision, of windows that may fire again."""
        self._pending: dict[tuple[int, int], int] = {(start, revision): last for start, revision, last in state.pending}
        """(start, revision) to the position of the newest event."""
        self._windows: dict[int, list[Event]] = {}
        """Start to events, of windows that are open or may fire again."""
        self._holds: dict[int, int] = {}
        """Position to the number of these windows that hold it."""
        self._due: int | None = None
        """The watermark at which the next window fires or goes."""
        self._loose: list[Event] = []
        """While the journal is read: events of it, for the pending windows."""

    def place(self, event: Event, newest: float | None, fed: Fed) -> None:
        """Take an event in, fire what is due."""
        if event.sample.time is None or newest is None:
            fed.untimed = fed.dropped = True
            fed.release(event.position)
            return
        again = []
        held = 0
        for start in self._starts(micros(event)):
            end = start + self._size
            if self._expiry is None or end > self._expiry:
                self._add(start, event)
                held += 1
                if self._watermark is not None and end <= self._watermark:
                    again.append(start)
            else:
                fed.changed = True  # that it is in some of its windows alone
        if not held:
            fed.late += 1
            fed.dropped = True
            fed.release(event.position)
            return
        self._holds[event.position] = held
        for start in reversed(again):
            self._fire(start, fed)
        self._advance(round(newest * MICROS) - self._delay, fed)

    def reattach(self, event: Event, fed: Fed) -> None:
        """Keep it until all are there: only then the watermark is known."""
        if event.sample.time is None:
            fed.release(event.position)
        else:
            self._loose.append(event)

    def resume(self, newest: float | None, fed: Fed) -> None:
        """Put the events back into the windows that are open or kept; fire again what was not finished."""
        watermark = None if newest is None else round(newest * MICROS) - self._delay
        if watermark is not None and self._watermark is not None:
            self._move(watermark)  # the windows that ended before have fired; without a stored watermark none has
        for event in self._loose:
            held = 0
            for start in self._starts(micros(event)):
                if self._expiry is None or start + self._size > self._expiry:
                    self._add(start, event)
                    held += 1
            if held:
                self._holds[event.position] = held
        for (start, revision), last in self._pending.items():
            end = start + self._size
            events = [event for event in self._loose if event.position <= last and start <= micros(event) < end]
            if events:
                fed.close(self._window(start, events, revision))
        for event in self._loose:
            if event.position not in self._holds:
                fed.release(event.position)
        self._loose = []
        if watermark is not None:
            self._advance(watermark, fed)

    def finish(self, window: ClosedWindow) -> None:
        """It need not fire again."""
        self._pending.pop((window.mark, window.revision), None)

    def idle(self, fed: Fed) -> bool:
        """Close all that are open; the next time let go of those that are kept."""
        open_ends = [start + self._size for start in self._windows if start not in self._fired]
        if open_ends:
            self._advance(max(open_ends), fed)
            return bool(self._windows)
        if self._windows and self._watermark is not None:
            self._expire(self._watermark, fed)
            fed.changed = True
        return False

    def pending_row(self, window: ClosedWindow) -> list[int] | None:
        """Its start, revision, and the position of its newest event."""
        last = self._pending.get((window.mark, window.revision))
        return None if last is None else [window.mark, window.revision, last]

    def dump(self) -> WindowState | None:
        """What cannot be told from the events alone."""
        return WindowState(
            watermark=self._watermark,
            expiry=self._expiry,
            kept=[[start, revision] for start, revision in self._fired.items() if start in self._windows],
        )

    def _starts(self, moment: int) -> Iterable[int]:
        start = moment // self._step * self._step
        while start + self._size > moment:
            yield start
            start -= self._step

    def _add(self, start: int, event: Event) -> None:
        events = self._windows.get(start)
        if events is None:
            self._windows[start] = [event]
            end = start + self._size
            if self._due is None or end < self._due:
                self._due = end
        else:
            events.append(event)

    def _advance(self, watermark: int, fed: Fed) -> None:
        if self._watermark is not None and watermark <= self._watermark:
            return
        expiry = self._move(watermark)
        if self._due is None or watermark < self._due:
            return
        for start in sorted(self._windows):
            if start + self._size <= watermark and start not in self._fired:
                self._fire(start, fed)
        self._expire(expiry, fed)

    def _move(self, watermark: int) -> int:
        if self._watermark is None or watermark > self._watermark:
            self._watermark = watermark
        expiry = watermark - self._lateness
        if self._expiry is None or expiry > self._expiry:
            self._expiry = expiry
        return self._expiry

    def _fire(self, start: int, fed: Fed) -> None:
        events = self._windows[start]
        revision = self._fired.get(start, -1) + 1
        self._fired[start] = revision
        self._pending[start, revision] = max(event.position for event in events)
        fed.close(self._window(start, events, revision))
        fed.changed = True

    def _window(self, start: int, events: list[Event], revision: int) -> ClosedWindow:
        ordered = tuple(sorted(events, key=_moment))
        return ClosedWindow(self._key, self._kind, ordered, start, start, start + self._size, revision, self._timeliness)

    def _expire(self, expiry: int, fed: Fed) -> None:
        self._expiry = expiry
        for start in [start for start in self._windows if start + self._size <= expiry]:
            self._fired.pop(start, None)
            for event in self._windows.pop(start):
                self._holds[event.position] -= 1
                if not self._holds[event.position]:
                    del self._holds[event.position]
                    fed.release(event.position)
        lateness = self._lateness
        self._due = min(
            (start + self._size + (lateness if start in self._fired else 0) for start in self._windows), default=None
        )


def _moment(event: Event) -> tuple[float, int]:
    return event.sample.time or 0.0, event.position
