"""What goes into a window and what comes out of one."""

from typing import NamedTuple

from msgspec import Struct

from edge_agent.ingest.events import Sample


class Event(NamedTuple):
    """One sample on its way through a pipeline."""

    position: int
    """Grows with every sample: `event number << 16 | index of the sample within its message`."""
    event_id: str
    sample: Sample


class ClosedWindow(Struct, frozen=True):
    """A window that gets no more events: what is scored."""

    key: str
    """The sensor whose events these are."""
    kind: str
    """`count` or `time`."""
    number: int
    """Its place in the order of windows of this key: the first position (count) or the index on the time axis (time)."""
    start: str | None
    """RFC 3339: the first and last event time of a count window, or the bounds of a time window."""
    end: str | None
    events: tuple[Event, ...]
    """Oldest first: in order of arrival (count) or of event time (time)."""
    result_id: str


class Fed(NamedTuple):
    """What one event did."""

    closed: tuple[ClosedWindow, ...] = ()
    released: tuple[int, ...] = ()
    """Positions that this pipeline does not hold (any more): the event itself, if it was not taken."""
    dropped: str | None = None
    """Why the event is in no window: `late`, `no_time`, or `done` (it lies before the mark, after a restart)."""
