"""Windows of N events, each `step` events after the last; one object for each key."""

from edge_agent.ingest.identity import result_id
from edge_agent.pipeline.events import ClosedWindow, Event, Fed

_NOTHING = Fed()


class CountWindows:
    """Buffer and mark of one key. Positions below `mark` are finished."""

    __slots__ = ("_buffer", "_key", "_pipeline", "_size", "_step", "_unfinished", "mark")

    def __init__(self, pipeline: str, key: str, size: int, step: int, mark: int = 0) -> None:
        self._pipeline = pipeline
        self._key = key
        self._size = size
        self._step = step
        self._buffer: list[Event] = []
        self._unfinished: list[int] = []
        """Positions below the first window that has not closed yet, which wait for closed windows to finish."""
        self.mark = mark

    def feed(self, event: Event) -> Fed:
        """Take an event in; positions grow."""
        if event.position < self.mark:
            return Fed(released=(event.position,), dropped="done")
        buffer = self._buffer
        buffer.append(event)
        if len(buffer) < self._size:
            return _NOTHING
        events = tuple(buffer)
        first, last = events[0], events[-1]
        self._unfinished.extend(taken.position for taken in events[: self._step])
        del buffer[: self._step]
        identity = result_id(self._pipeline, self._key, "count", first.event_id, last.event_id)
        window = ClosedWindow(
            self._key, "count", first.position, first.sample.time_text, last.sample.time_text, events, identity
        )
        return Fed((window,))

    def finish(self, window: ClosedWindow) -> tuple[int, ...]:
        """Move the mark behind the events that belong to no later window; returns their positions.

        Raises ValueError if an earlier window of this key is not finished.
        """
        if not self._unfinished or self._unfinished[0] != window.number:
            raise ValueError(f"window {window.number} of {self._key!r} is finished out of order")
        released = tuple(self._unfinished[: self._step])
        del self._unfinished[: self._step]
        self.mark = released[-1] + 1
        return released
