"""Windows of a number of events, in the order in which they came.

events   1  2  3  4  5  6  7
size 3   [.......]
step 2         [.......]
                     [.......]
"""

from collections import deque

from edge_agent.pipeline.windows import ClosedWindow, Event, Fed, WindowState
from edge_agent.settings import WindowKind, WindowSettings


class CountWindows:
    """A buffer of `size` events closes a window and drops its oldest `step`."""

    __slots__ = ("_events", "_keep", "_key", "_mark", "_size", "_timeliness")

    def __init__(self, key: str, timeliness: str, settings: WindowSettings, mark: int | None) -> None:
        self._key = key
        self._timeliness = timeliness
        self._size = int(settings.size)
        self._keep = self._size - int(settings.size if settings.step is None else settings.step)
        self._mark = -1 if mark is None else mark
        self._events: deque[Event] = deque()

    def place(self, event: Event, newest: float | None, fed: Fed) -> None:
        """Take an event in; what it did can be told from the journal, so the state need not be stored."""
        position = event.position
        if self._size == 1:  # nothing is ever kept
            fed.released = (*fed.released, position) if fed.released else (position,)
            if position > self._mark:
                window = ClosedWindow(self._key, WindowKind.COUNT, (event,), position, 0, 0, 0, self._timeliness)
                fed.closed = (*fed.closed, window) if fed.closed else (window,)
            return
        events = self._events
        events.append(event)
        if position <= self._mark:
            while len(events) > self._keep:
                fed.release(events.popleft().position)
        elif len(events) >= self._size:
            fed.close(ClosedWindow(self._key, WindowKind.COUNT, tuple(events), position, 0, 0, 0, self._timeliness))
            while len(events) > self._keep:
                fed.release(events.popleft().position)

    def reattach(self, event: Event, fed: Fed) -> None:
        """Feed it again: the mark keeps finished windows from firing twice."""
        self.place(event, None, fed)

    def resume(self, newest: float | None, fed: Fed) -> None:
        """Nothing is left to do."""

    def finish(self, window: ClosedWindow) -> None:
        """The pipeline stores the mark."""

    def idle(self, fed: Fed) -> bool:
        """A count is not waited for: the events stay."""
        return False

    def pending_row(self, window: ClosedWindow) -> list[int] | None:
        """The mark tells."""
        return None

    def dump(self) -> WindowState | None:
        """The mark says everything."""
        return None
