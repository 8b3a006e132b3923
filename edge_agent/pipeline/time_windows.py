"""Windows of event time, aligned to 1970; one object for each key.

Window `k` covers the times from `k * step` (included) to `k * step + size` (excluded). It closes when the watermark, the
newest event time of the key minus the lateness, reaches its end; windows without events do not exist. An event joins those
of its windows that are open when it arrives; if none is, it is late. All times here are whole microseconds, so that bounds
are exact.
"""

from edge_agent.ingest.identity import result_id
from edge_agent.ingest.instant import format_micros
from edge_agent.pipeline.events import ClosedWindow, Event, Fed

_NOTHING = Fed()
_MICROS = 1_000_000


class _Held:
    """An event in the buffer, with the first and last window that it belongs to."""

    __slots__ = ("event", "first", "last", "time")

    def __init__(self, event: Event, time: int, first: int, last: int) -> None:
        self.event = event
        self.time = time
        self.first = first
        self.last = last


class TimeWindows:
    """Buffer and mark of one key. Windows with an index below `mark` are finished."""

    __slots__ = ("_closed", "_held", "_key", "_lateness", "_newest", "_pipeline", "_size", "_step", "_unfinished", "mark")

    def __init__(
        self, pipeline: str, key: str, size: float, step: float, lateness: float = 0.0, mark: int | None = None
    ) -> None:
        self._pipeline = pipeline
        self._key = key
        self._size = to_micros(size)
        self._step = to_micros(step)
        self._lateness = to_micros(lateness) if lateness else 0
        self._held: list[_Held] = []
        self._unfinished: list[tuple[int, tuple[int, ...]]] = []
        """Closed windows in order, with the positions that each releases when it finishes."""
        self._newest: int | None = None
        self._closed = mark
        """Index of the first window that has not closed."""
        self.mark = mark

    def feed(self, event: Event) -> Fed:
        """Take an event in; positions grow."""
        if event.sample.time is None:
            return Fed(released=(event.position,), dropped="no_time")
        time = round(event.sample.time * _MICROS)
        last = time // self._step
        closed = self._closed
        if closed is not None and last < closed:
            finished = self.mark is not None and last < self.mark
            # after a restart the watermark is rebuilt from every event that is fed, finished or not
            windows = self._advance(time)
            return Fed(windows, (event.position,), "done" if finished and not self._late(time) else "late")
        first = (time - self._size) // self._step + 1
        self._held.append(_Held(event, time, first if closed is None else max(first, closed), last))
        windows = self._advance(time)
        return Fed(windows) if windows else _NOTHING

    def finish(self, window: ClosedWindow) -> tuple[int, ...]:
        """Move the mark behind the window; returns the positions of the events that belong to no later one.

        Raises ValueError if an earlier window of this key is not finished.
        """
        if not self._unfinished or self._unfinished[0][0] != window.number:
            raise ValueError(f"window {window.number} of {self._key!r} is finished out of order")
        number, released = self._unfinished.pop(0)
        self.mark = number + 1
        return released

    def _late(self, time: int) -> bool:
        return self._newest is not None and time <= self._newest - self._lateness - self._size

    def _advance(self, time: int) -> tuple[ClosedWindow, ...]:
        if self._newest is not None and time <= self._newest:
            return ()
        self._newest = time
        # window k is closed when k * step + size <= watermark
        first_open = (time - self._lateness - self._size) // self._step + 1
        start, self._closed = self._closed, first_open if self._closed is None else max(self._closed, first_open)
        windows: list[ClosedWindow] = []
        while self._held:
            number = min(held.first for held in self._held)
            if start is not None:
                number = max(number, start)
            if number >= first_open:
                break
            inside = [held for held in self._held if held.first <= number]
            if inside:
                windows.append(self._close(number, inside))
            # what is left belongs to later windows; an event's first window is now the next one
            for held in inside:
                held.first = number + 1
            self._held = [held for held in self._held if held.first <= held.last]
        return tuple(windows)

    def _close(self, number: int, inside: list[_Held]) -> ClosedWindow:
        inside.sort(key=lambda held: (held.time, held.event.position))
        self._unfinished.append((number, tuple(held.event.position for held in inside if held.last == number)))
        start = number * self._step
        end = start + self._size
        return ClosedWindow(
            self._key,
            "time",
            number,
            format_micros(start),
            format_micros(end),
            tuple(held.event for held in inside),
            result_id(self._pipeline, self._key, "time", start, end),
        )


def to_micros(seconds: float) -> int:
    """Whole microseconds, at least one."""
    return max(round(seconds * _MICROS), 1)
