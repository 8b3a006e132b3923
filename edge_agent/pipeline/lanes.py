"""One sensor: which lane an event goes to, and whether its time can be believed.

An event that its source calls historical, or that is older than the sensor's newest by more than `backlog_after`, belongs to an
outage that is over. It goes to the *backlog* lane, which has windows, a watermark and a decision of its own; others are *live*.

An event that is ahead of its lane's newest by more than `max_jump` is held back until the next event of the lane confirms that
time has moved on (both are taken) or refutes it (it is dropped). Otherwise one wrong time would close every window.
"""

from math import inf
from typing import Final

import msgspec

from edge_agent.pipeline.count_window import CountWindows
from edge_agent.pipeline.session_window import SessionWindows
from edge_agent.pipeline.sliding_window import SlidingWindows
from edge_agent.pipeline.time_window import TimeWindows
from edge_agent.pipeline.windows import BACKLOG, LIVE, ClosedWindow, Event, Fed, Windows, WindowState, lane_key
from edge_agent.settings import WindowKind, WindowSettings

HISTORICAL: Final = "historical"
MAX_REFUTED: Final = 64
"""Refuted events remembered, those with the earliest times: other pipelines may keep them in the journal."""


class LaneState(msgspec.Struct, array_like=True, omit_defaults=True):
    """What is stored of one lane beside the mark."""

    newest: float | None = None
    """Event time in seconds since 1970."""
    held: int | None = None
    """Position of the event that is held back."""
    refuted: list[tuple[float, int]] = []
    """Time and position of events that were dropped after their journal row was written."""
    windows: WindowState | None = None


class Lane:
    """Windows of one sensor that share a watermark."""

    __slots__ = ("held", "key", "newest", "refuted", "windows")

    def __init__(
        self, sensor: str, timeliness: str, settings: WindowSettings, state: LaneState | None, mark: int | None
    ) -> None:
        state = state or LaneState()
        self.key = lane_key(sensor, timeliness)
        self.newest = state.newest
        self.held: Event | None = None
        self.refuted = state.refuted
        self.windows = _make_windows(sensor, timeliness, settings, state.windows, mark)

    def dump(self) -> LaneState:
        """What to store."""
        held = None if self.held is None else self.held.position
        return LaneState(self.newest, held, self.refuted, self.windows.dump())

    def place(self, event: Event, fed: Fed) -> None:
        """Take an event in whose time is believed."""
        time = event.sample.time
        if time is not None and (self.newest is None or time > self.newest):
            self.newest = time
        self.windows.place(event, self.newest, fed)

    def refute(self, fed: Fed) -> None:
        """Drop the event that is held back."""
        assert self.held is not None
        self._remember_dropped(self.held)
        fed.release(self.held.position)
        fed.jumped += 1
        fed.changed = True
        self.held = None

    def confirm(self, fed: Fed) -> None:
        """Take the event that is held back."""
        event = self.held
        assert event is not None
        self.held = None
        fed.changed = True
        self.place(event, fed)
        if fed.dropped:
            self._remember_dropped(event)
            fed.dropped = False

    def _remember_dropped(self, event: Event) -> None:
        time = event.sample.time
        assert time is not None
        self.refuted = sorted([*self.refuted, (time, event.position)])[:MAX_REFUTED]


class Sensor:
    """The lanes of one sensor in one pipeline."""

    __slots__ = ("_backlog", "_backlog_after", "_max_jump", "_settings", "_states", "key", "live")

    def __init__(
        self,
        key: str,
        settings: WindowSettings,
        live: tuple[LaneState | None, int | None],
        backlog: tuple[LaneState | None, int | None],
    ) -> None:
        """`live` and `backlog` are the stored state and mark of each lane."""
        self.key = key
        self._settings = settings
        self._backlog_after = inf if settings.backlog_after is None else settings.backlog_after
        self._max_jump = inf if settings.max_jump is None else settings.max_jump
        self._states = {LIVE: live, BACKLOG: backlog}
        self.live = Lane(key, LIVE, settings, *live)
        self._backlog: Lane | None = None

    @property
    def backlog(self) -> Lane:
        """Made when the first event goes there."""
        if self._backlog is None:
            self._backlog = Lane(self.key, BACKLOG, self._settings, *self._states[BACKLOG])
        return self._backlog

    def lane(self, timeliness: str) -> Lane:
        """By its name."""
        return self.live if timeliness == LIVE else self.backlog

    def feed(self, event: Event) -> Fed:
        """Take one event in."""
        sample = event.sample
        time = sample.time
        lane = self.live
        newest = lane.newest
        if (sample.quality and HISTORICAL in sample.quality) or (
            time is not None and newest is not None and time < newest - self._backlog_after
        ):
            lane = self.backlog
            newest = lane.newest
            fed = Fed(lane.key)
            fed.historical = True
        else:
            fed = Fed(lane.key)
        if time is None:
            if lane.held is not None:
                lane.refute(fed)
        elif newest is None:
            lane.newest = time
        elif time > newest:
            if lane.held is not None or time > newest + self._max_jump:
                self._judge(lane, event, time, newest, fed)
                return fed
            lane.newest = time
        elif lane.held is not None:
            lane.refute(fed)
        lane.windows.place(event, lane.newest, fed)
        return fed

    def reattach(self, event: Event, *, historical: bool) -> Fed:
        """After a restart: put an event of the journal back."""
        lane = self.backlog if historical else self.live
        fed = Fed(lane.key)
        fed.historical = historical
        stored, _ = self._states[BACKLOG if historical else LIVE]
        time = event.sample.time
        if stored is not None and event.position == stored.held:
            lane.held = event
        elif time is not None and (time, event.position) in lane.refuted:
            fed.release(event.position)
        else:
            if time is not None and (lane.newest is None or time > lane.newest):
                lane.newest = time
            lane.windows.reattach(event, fed)
        return fed

    def resume(self) -> list[Fed]:
        """After the last `reattach`."""
        found = []
        for lane in (self.live, self._backlog):
            if lane is not None:
                fed = Fed(lane.key)
                lane.windows.resume(lane.newest, fed)
                found.append(fed)
        return found

    def finish(self, window: ClosedWindow) -> None:
        """A window is done."""
        self.lane(window.timeliness).windows.finish(window)

    def _judge(self, lane: Lane, event: Event, time: float, newest: float, fed: Fed) -> None:
        """An event that is ahead of its lane while another is held back, or by more than `max_jump`."""
        held = lane.held
        beyond = time > newest + self._max_jump
        if held is not None:
            held_time = held.sample.time
            assert held_time is not None
            if not beyond or held_time - time > self._max_jump:  # one that stays far behind a jump does not confirm it
                lane.refute(fed)
            else:
                lane.confirm(fed)
                assert lane.newest is not None
                beyond = time > lane.newest + self._max_jump
        if beyond:
            lane.held = event
            fed.changed = True
        else:
            lane.place(event, fed)


def _make_windows(
    sensor: str, timeliness: str, settings: WindowSettings, state: WindowState | None, mark: int | None
) -> Windows:
    match settings.kind:
        case WindowKind.COUNT:
            return CountWindows(sensor, timeliness, settings, mark)
        case WindowKind.SLIDING:
            return SlidingWindows(sensor, timeliness, settings, state, mark)
        case WindowKind.SESSION:
            return SessionWindows(sensor, timeliness, settings, state)
        case WindowKind.TUMBLING | WindowKind.HOPPING:
            return TimeWindows(sensor, timeliness, settings, state, mark)
