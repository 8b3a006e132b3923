"""Which events are scored together: the types, and what makes results depend on the events alone.

A sensor's events are kept in lanes (`lanes.py`), each with windows of one kind of its own: by count (`count_window.py`), on a
grid of event time (`time_window.py`), at each event (`sliding_window.py`), or in sessions (`session_window.py`).

After a restart the journal is read again in the order of positions. It holds every event of every open window, of every window
that may fire again, and of every window that is not answered, perhaps others too (other pipelines may hold them). The state
that was stored with the last commit says which is which:

- *count*: the **mark** is the position of the last finished window's last event. Events are fed again; up to the mark nothing
  closes, and only the last `size - step` events stay: the buffer as it was then.
- the kinds on event time: events are put back in their places. The state knows the **watermark** (up to here windows have
  fired), the **expiry** (up to here windows cannot fire again), the windows **kept** because a late event may make them fire
  again, and those **pending**: fired and not answered. A pending window's events are those within its bounds up to the position
  of its newest. What can be told from the events (a newer watermark, say) need not be stored each time.

Which lane an event went to, and whether it was dropped as late, is written into its journal row, as it depends on what was
there before it came.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from edge_agent.ingest.events import Sample
from edge_agent.settings import WindowKind

MICROS: Final = 1_000_000
LIVE: Final = "live"
BACKLOG: Final = "backlog"
IN_BACKLOG: Final = 1
DROPPED: Final = 2
SKEWED: Final = 4
"""What is noted of an event in its journal row, added up."""
MARK: Final = "\x1f"
"""Between sensor and lane in the key of a stored state."""


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

    __slots__ = ("end", "events", "key", "kind", "mark", "revision", "start", "timeliness")

    def __init__(
        self,
        key: str,
        kind: WindowKind,
        events: tuple[Event, ...],
        mark: int,
        start: int = 0,
        end: int = 0,
        revision: int = 0,
        timeliness: str = LIVE,
    ) -> None:
        self.key = key
        """The sensor."""
        self.kind = kind
        self.events = events
        """In order of event time; of kind `count` in order of arrival."""
        self.mark = mark
        """What tells the window from the others of its lane: the start, or the position of the last event."""
        self.start = start
        """Microseconds since 1970, as they were when it first fired; 0 for kind `count`, like `end`."""
        self.end = end
        self.revision = revision
        self.timeliness = timeliness
        """The lane: `live` or `backlog`."""

    @property
    def lane_key(self) -> str:
        """Under which the lane's state is stored."""
        key = self.key
        return key if self.timeliness == LIVE and MARK not in key else lane_key(key, self.timeliness)

    @property
    def row_key(self) -> str:
        """Under which it is stored while it is not finished, for a kind whose mark does not tell; no lane has this key."""
        return f"{lane_key(self.key, self.timeliness)}{MARK}{self.mark}.{self.revision}"

    def __repr__(self) -> str:
        return f"ClosedWindow({self.key!r}, {self.kind}, {len(self.events)} events, mark {self.mark}, {self.revision})"


def lane_key(sensor: str, timeliness: str) -> str:
    """The key of a lane's state: for the live lane the sensor's. No two lanes share one, whatever sensors call themselves."""
    if MARK in sensor:
        sensor = sensor.replace(MARK, MARK * 2)
    return sensor if timeliness == LIVE else f"{sensor}{MARK}{timeliness}"


class Fed:
    """What one event did to its sensor's windows."""

    __slots__ = ("changed", "closed", "dropped", "historical", "jumped", "lane_key", "late", "released", "skewed", "untimed")

    def __init__(self, lane_key: str) -> None:
        self.lane_key = lane_key
        self.closed: Sequence[ClosedWindow] = ()
        self.released: Sequence[int] = ()
        """Positions that the windows hold no more (closed windows still may)."""
        self.changed = False
        """The lane's state must be stored: what happened cannot be told from the events in the journal."""
        self.late = 0
        """Events dropped because every window that they belong to had closed for good."""
        self.jumped = 0
        """Events dropped because the next one refuted their jump ahead."""
        self.dropped = False
        """The event itself is in no window."""
        self.untimed = False
        """It carries no time, so a window on event time cannot place it."""
        self.historical = False
        """It went to the backlog lane."""
        self.skewed = False
        """It is ahead of the wall clock."""

    def close(self, window: ClosedWindow) -> None:
        """A window fires."""
        if type(self.closed) is list:
            self.closed.append(window)
        else:
            self.closed = [*self.closed, window]

    def release(self, position: int) -> None:
        """An event is held no more."""
        if type(self.released) is list:
            self.released.append(position)
        else:
            self.released = [*self.released, position]

    @property
    def placed(self) -> int:
        """What its journal row says of the event: 0 where it was simply taken into the live lane."""
        return IN_BACKLOG * self.historical | DROPPED * self.dropped | SKEWED * self.skewed


class WindowState(msgspec.Struct, array_like=True, omit_defaults=True):
    """What is stored of one lane's windows; times in microseconds since 1970."""

    watermark: int | None = None
    expiry: int | None = None
    floor: int | None = None
    """Kind `session`: events before it belong to sessions that have closed."""
    kept: list[list[int]] = []
    """Windows that have fired and may fire again."""
    pending: list[list[int]] = []
    """Windows that have fired and are not finished, in order. Stored one by one, as there are many while a model is away."""


class Windows(Protocol):
    """The windows of one lane. Events come in the order of their positions."""

    def place(self, event: Event, newest: float | None, fed: Fed) -> None:
        """Take an event in. `newest` is the lane's newest event time in seconds, this event's included."""
        ...

    def reattach(self, event: Event, fed: Fed) -> None:
        """After a restart: put an event of the journal, which was taken in before, back in its place."""
        ...

    def resume(self, newest: float | None, fed: Fed) -> None:
        """After the last `reattach`: fire again what was not finished, let go of what is not held."""
        ...

    def finish(self, window: ClosedWindow) -> None:
        """The window is done: it need not fire again after a restart."""
        ...

    def idle(self, fed: Fed) -> bool:
        """No event came for long: the first call closes what is open, the next one lets go of what may fire again.

        Returns whether something is left for the next call.
        """
        ...

    def dump(self) -> WindowState | None:
        """What to store, without the pending windows; None where the mark says everything."""
        ...

    def pending_row(self, window: ClosedWindow) -> list[int] | None:
        """A window that has fired as one of `WindowState.pending`; None where the mark tells."""
        ...


def micros(event: Event) -> int:
    """The event's time, which must be there, in microseconds since 1970."""
    time = event.sample.time
    assert time is not None
    return round(time * MICROS)
