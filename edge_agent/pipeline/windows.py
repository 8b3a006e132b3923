"""Which events are scored together: windows of one sensor, by count or by event time.

Results depend on the events alone, never on timing or restarts. What makes that so is the **mark**: where the last finished
window ended. A window is finished in the order in which it closed, and its mark is stored in the same transaction as its
result. After a restart the journal is fed again in the order of positions; it still holds every event of every buffer and of
every unfinished window, perhaps others too (other pipelines may hold them). The mark tells which is which:

- *count*: a buffer of `size` events closes a window and drops its oldest `step`. Up to the mark, which is the position of the
  last finished window's last event, nothing closes, and only the last `size - step` events stay: the buffer as it was then.
- *time*: windows start at multiples of `step` since 1970 and end `size` later. A window closes when the watermark (the
  sensor's newest event time minus `lateness`) reaches its end. The newest event is always in an open window, so the
  watermark comes back with the journal. A window that ends at or before the mark, the end of the last finished one, is never
  opened again.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from edge_agent.ingest.events import Sample
from edge_agent.settings import WindowKind, WindowSettings

MICROS: Final = 1_000_000


class Event:
    """A sample on its way through a pipeline."""

    __slots__ = ("event_id", "position", "sample")

    def __init__(self, position: int, event_id: str, sample: Sample) -> None:
        self.position = position
        """Grows with every sample taken over."""
        self.event_id = event_id
        self.sample = sample

    def __repr__(self) -> str:
        return f"Event({self.position}, {self.event_id!r})"


class ClosedWindow:
    """A window that is to be scored."""

    __slots__ = ("end", "events", "key", "kind", "mark", "start")

    def __init__(self, key: str, kind: WindowKind, events: tuple[Event, ...], mark: int, start: int, end: int) -> None:
        self.key = key
        """The sensor."""
        self.kind = kind
        self.events = events
        self.mark = mark
        self.start = start
        """Kind `time`: microseconds since 1970; otherwise 0, like `end`."""
        self.end = end

    def __repr__(self) -> str:
        return f"ClosedWindow({self.key!r}, {self.kind}, {len(self.events)} events, mark {self.mark})"


@dataclass(slots=True)
class Fed:
    """What one event did to a buffer."""

    closed: list[ClosedWindow] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    """Positions that the buffer holds no more (closed windows still may)."""
    late: bool = False
    """Every window that the event belongs to had closed already."""
    untimed: bool = False
    """The event carries no time, so a window on time cannot place it."""


class Buffer(Protocol):
    """The open windows of one sensor. `mark` is set once, from the stored state, before the first event."""

    def feed(self, event: Event) -> Fed:
        """Take one event in."""
        ...


class CountBuffer:
    """Windows of a number of events."""

    __slots__ = ("_events", "_keep", "_key", "_mark", "_size")

    def __init__(self, key: str, settings: WindowSettings, mark: int | None) -> None:
        self._key = key
        self._size = int(settings.size)
        self._keep = self._size - int(settings.size if settings.step is None else settings.step)
        self._mark = -1 if mark is None else mark
        self._events: deque[Event] = deque()

    def feed(self, event: Event) -> Fed:
        """Take one event in."""
        fed = Fed()
        events = self._events
        events.append(event)
        if event.position <= self._mark:
            while len(events) > self._keep:
                fed.released.append(events.popleft().position)
        elif len(events) >= self._size:
            fed.closed.append(ClosedWindow(self._key, WindowKind.COUNT, tuple(events), event.position, 0, 0))
            while len(events) > self._keep:
                fed.released.append(events.popleft().position)
        return fed


class TimeBuffer:
    """Windows of event time."""

    __slots__ = ("_holds", "_key", "_lateness", "_mark", "_newest", "_open", "_size", "_step")

    def __init__(self, key: str, settings: WindowSettings, mark: int | None) -> None:
        self._key = key
        self._size = max(round(settings.size * MICROS), 1)
        self._step = self._size if settings.step is None else max(round(settings.step * MICROS), 1)
        self._lateness = round(settings.lateness * MICROS)
        self._mark = mark
        self._newest: int | None = None
        self._open: dict[int, list[Event]] = {}
        """Start to events."""
        self._holds: dict[int, int] = {}
        """Position to the number of open windows that hold it."""

    def feed(self, event: Event) -> Fed:
        """Take one event in."""
        fed = Fed()
        if event.sample.time is None:
            fed.untimed = True
            fed.released.append(event.position)
            return fed
        moment = round(event.sample.time * MICROS)
        held = 0
        for start in self._starts(moment):
            end = start + self._size
            if self._mark is not None and end <= self._mark:
                continue
            if self._newest is None or end > self._newest - self._lateness:
                self._open.setdefault(start, []).append(event)
                held += 1
        if held:
            self._holds[event.position] = held
        else:
            fed.late = True
            fed.released.append(event.position)
        if self._newest is None or moment > self._newest:
            self._newest = moment
            self._close(moment - self._lateness, fed)
        return fed

    def _starts(self, moment: int) -> Iterable[int]:
        start = moment // self._step * self._step
        while start + self._size > moment:
            yield start
            start -= self._step

    def _close(self, watermark: int, fed: Fed) -> None:
        if not self._open or min(self._open) + self._size > watermark:
            return
        for start in sorted(start for start in self._open if start + self._size <= watermark):
            events = sorted(self._open.pop(start), key=_moment)
            end = start + self._size
            fed.closed.append(ClosedWindow(self._key, WindowKind.TIME, tuple(events), end, start, end))
            for event in events:
                self._holds[event.position] -= 1
                if not self._holds[event.position]:
                    del self._holds[event.position]
                    fed.released.append(event.position)


def _moment(event: Event) -> tuple[float, int]:
    return event.sample.time or 0.0, event.position


def make_buffer(key: str, settings: WindowSettings, mark: int | None) -> Buffer:
    """The open windows of one sensor; `mark` from its stored state, None for a new sensor."""
    if settings.kind is WindowKind.TIME:
        return TimeBuffer(key, settings, mark)
    return CountBuffer(key, settings, mark)
