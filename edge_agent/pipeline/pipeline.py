"""One pipeline: its sensors' buffers, and for each sensor the mark and the decision's state that outlive a restart."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

import msgspec

from edge_agent.ingest.identity import result_id
from edge_agent.pipeline.alarm import Occasion
from edge_agent.pipeline.decision import NEW, Decided, DecisionState, decide, decide_reading
from edge_agent.pipeline.idle import IdleWatch
from edge_agent.pipeline.join import join
from edge_agent.pipeline.lanes import Lane, LaneState, Sensor
from edge_agent.pipeline.question import number
from edge_agent.pipeline.windows import BACKLOG, DROPPED, IN_BACKLOG, LIVE, MICROS, SKEWED, ClosedWindow, Event, Fed, lane_key
from edge_agent.settings import DecisionSettings, PipelineSettings, Statistic, WindowKind, WindowSettings
from fleet_contract.manifest import Decision
from fleet_contract.messages import Outcome

MAX_SENSORS: Final = 10_000
"""More sensors than this in one pipeline are a mistake or an attack; their events are not taken in."""
CLOCK_SKEW: Final = "clock_skew"


class SensorState(msgspec.Struct, array_like=True):
    """What is stored for one lane of one sensor of one pipeline, together with its newest result."""

    mark: int | None
    """Position of the last event of the last finished window. None: no window is finished, or the kind has no mark."""
    decision: DecisionState | None = None
    """None: nothing was decided yet, or nothing ever is."""
    shape: str | None = None
    """Of the windows that this is the state of, see `shape_of`."""
    lane: LaneState | None = None


class Pipeline:
    """Feed it events in the order of their positions; finish its windows in the order in which they close."""

    def __init__(self, settings: PipelineSettings) -> None:
        self.settings = settings
        self._sensors: dict[str, Sensor] = {}
        self._lanes: dict[str, Lane] = {}
        self._states: dict[str, SensorState] = {}
        """Both by the lane's key."""
        self._rows: dict[str, bytes] = {}
        """By the window's key, the stored form of windows that have fired and are not finished, where no mark tells."""
        self._fired = 0
        self.taken = 0
        """Events that came for it since the start, those that could not be read too."""
        self.answered = 0
        """Windows that were answered since the start, without abstaining."""
        self.stale: list[str] = []
        """Keys of stored windows that are of another shape than now."""
        window = settings.window
        self._shape = shape_of(window)
        self._skew = inf if window.clock_skew is None else window.clock_skew
        waits = window.kind is not WindowKind.COUNT
        self._idle_live = IdleWatch(window.idle_timeout) if waits and window.idle_timeout is not None else None
        timeout = window.backlog_idle_timeout
        self._idle_backlog = IdleWatch(timeout) if waits and timeout is not None else None
        self._decides = settings.model is not None or settings.decision != DecisionSettings()

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take the stored states, before the first event. Raises msgspec.DecodeError.

        What windows of another shape have left says nothing here: the configuration has changed. The events of those that were
        not finished are still in the journal, and are put into the windows that there are now.
        """
        pending: list[tuple[int, str, str, list[int]]] = []
        for key, stored in states.items():
            fields = msgspec.msgpack.decode(stored)
            if isinstance(fields, list) and fields and isinstance(fields[0], str):
                self._rows[key] = stored
                pending.append((fields[1], key, fields[0], fields[2]))
                continue
            state = _decode(stored)
            if not _is_shape(state.shape, self.settings.window):
                state.mark = None
                if state.lane is not None:
                    state.lane.windows = None
            self._states[key] = state
            if state.decision is not None and state.decision.alarm is not None:
                self._decides = True  # an alarm that is configured no more is still to be cleared
        for fired, key, owner, row in sorted(pending):
            self._fired = fired
            lane = self._states[owner].lane if owner in self._states else None
            if lane is not None and lane.windows is not None:
                lane.windows.pending.append(row)
            else:
                del self._rows[key]
                self.stale.append(key)

    def state(self, key: str) -> bytes | None:
        """What to store for one lane or window, in the transaction of what changed it; None: nothing any more."""
        row = self._rows.get(key)
        if row is not None:
            return row
        lane = self._lanes.get(key)
        if lane is None and key not in self._states:
            return None
        state = self._states.setdefault(key, SensorState(None))
        if lane is not None:
            state.shape, state.lane = self._shape, lane.dump()
        return msgspec.msgpack.encode(state)

    def feed(self, event: Event, wall: float = inf) -> Fed | None:
        """Take one event in; None when it is of one sensor too many.

        `wall` is the time in seconds since 1970, where the clock can be believed: it serves for the flag `clock_skew` alone.
        """
        self.taken += 1
        sample = event.sample
        sensor = self._sensors.get(sample.device) or self._make_sensor(sample.device)
        if sensor is None:
            return None
        time = sample.time
        if time is not None and time - self._skew > wall:
            fed = sensor.feed(flag_skew(event))
            fed.skewed = True
        else:
            fed = sensor.feed(event)
        if fed.historical:
            self._lanes.setdefault(fed.lane_key, sensor.backlog)
            if self._idle_backlog is not None:
                self._idle_backlog.note(fed.lane_key)
        elif self._idle_live is not None:
            self._idle_live.note(fed.lane_key)
        if fed.changed and fed.closed:
            self._note_fired(fed)
        return fed

    def reattach(self, event: Event, placed: int) -> Fed | None:
        """After a restart: put an event of the journal back, which was `placed` (`Fed.placed`) so when it came."""
        if placed & DROPPED:
            fed = Fed(event.sample.device)
            fed.release(event.position)
            return fed
        sensor = self._sensors.get(event.sample.device) or self._make_sensor(event.sample.device)
        if sensor is None:
            return None
        fed = sensor.reattach(flag_skew(event) if placed & SKEWED else event, historical=bool(placed & IN_BACKLOG))
        if fed.historical:
            self._lanes.setdefault(fed.lane_key, sensor.backlog)
        watch = self._idle_backlog if fed.historical else self._idle_live
        if watch is not None:
            watch.note(fed.lane_key)
        return fed

    def resume(self) -> list[Fed]:
        """After the last `reattach`: what fires again because it was not finished."""
        found = [fed for sensor in self._sensors.values() for fed in sensor.resume()]
        for fed in found:
            self._note_fired(fed)
        return found

    def sweep(self, now: float) -> list[Fed]:
        """Close windows of lanes that had no event for the idle time-out. Call it about once a second; `now` is monotonic."""
        found = []
        for watch in (self._idle_live, self._idle_backlog):
            if watch is not None:
                for key in watch.due(now):
                    fed = Fed(key)
                    if self._lanes[key].windows.idle(fed):
                        watch.note(key)
                    self._note_fired(fed)
                    found.append(fed)
        return found

    @property
    def sweeps(self) -> bool:
        """Whether `sweep` is of any use."""
        return self._idle_live is not None or self._idle_backlog is not None

    def _note_fired(self, fed: Fed) -> None:
        windows = self._lanes[fed.lane_key].windows
        for window in fed.closed:
            row = windows.pending_row(window)
            if row is not None and window.row_key not in self._rows:
                self._fired += 1
                self._rows[window.row_key] = msgspec.msgpack.encode((fed.lane_key, self._fired, row))

    def _make_sensor(self, key: str) -> Sensor | None:
        if len(self._sensors) >= MAX_SENSORS:
            return None
        stored = []
        for timeliness in (LIVE, BACKLOG):
            state = self._states.get(lane_key(key, timeliness))
            stored.append((None, None) if state is None else (state.lane, state.mark))
        sensor = self._sensors[key] = Sensor(key, self.settings.window, *stored)
        self._lanes[sensor.live.key] = sensor.live
        return sensor

    def result_id(self, window: ClosedWindow) -> str:
        """The id of the window's result: from pipeline, sensor and events alone."""
        first: str | int
        last: str | int
        if window.kind is WindowKind.COUNT:
            first, last = window.events[0].event_id, window.events[-1].event_id
        elif window.kind is WindowKind.SLIDING:
            first = last = window.events[-1].event_id
        else:
            first, last = window.start, window.end
        timeliness = None if window.timeliness == LIVE else window.timeliness
        return result_id(self.settings.name, window.key, window.kind, first, last, timeliness)

    def decide(self, window: ClosedWindow, scores: Sequence[float], labels: Sequence[str], recommended: Decision) -> Decided:
        """What becomes of a scored window; `finish` it next, before the sensor's next window is decided.

        Raises ValueError or IndexError, with the state as before, when there are other scores than labels.
        """
        settings = self.settings.decision
        decided, after = decide(scores, labels, settings, recommended, self._decision(window), self._occasion(window))
        return self._settle(window, decided, after)

    def read(self, window: ClosedWindow) -> Decided:
        """What becomes of a window of a pipeline without a model; `finish` it next."""
        asked = self.joined(window)
        outcome = readings(asked)
        if not self._decides:
            self.answered += 1
            return Decided(outcome)
        settings = self.settings.decision
        value = None if settings.reading is None else reading_of(asked, settings.reading, settings.take)
        state, occasion = self._decision(window), self._occasion(window)
        return self._settle(window, *decide_reading(value, outcome.values, settings, state, occasion))

    def joined(self, window: ClosedWindow) -> ClosedWindow:
        """The window as model and decision see it: with its readings side by side, where the pipeline joins them."""
        return window if self.settings.join is None else join(window, self.settings.join)

    def _decision(self, window: ClosedWindow) -> DecisionState:
        known = self._states.get(window.lane_key)
        return (known and known.decision) or NEW

    def _settle(self, window: ClosedWindow, decided: Decided, after: DecisionState) -> Decided:
        self.answered += not decided.outcome.abstained
        if window.revision:  # the state has moved on since: a revision says what the events say, and is always given out
            return Decided(msgspec.structs.replace(decided.outcome, state=None, changed=False, alarm=None))
        self._states.setdefault(window.lane_key, SensorState(None)).decision = after
        return decided

    def _occasion(self, window: ClosedWindow) -> Occasion:
        last = window.events[-1].sample
        backlog = window.timeliness != LIVE
        return Occasion(self.settings.name, window.key, last.time, last.time_text, lambda: self.result_id(window), backlog)

    def finish(self, window: ClosedWindow) -> None:
        """The window is done, with a result or without one: it will not close again."""
        key = window.lane_key
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = SensorState(None)
        if window.kind is WindowKind.COUNT:  # the mark says everything
            state.mark = window.mark
            return
        if window.kind is WindowKind.SLIDING and not window.revision and (state.mark is None or window.mark > state.mark):
            state.mark = window.mark
        self._lanes[key].windows.finish(window)
        self._rows.pop(window.row_key, None)


def flag_skew(event: Event) -> Event:
    """The event with the flag `clock_skew`."""
    sample = event.sample
    flagged = msgspec.structs.replace(sample, quality=(*sample.quality, CLOCK_SKEW))
    return Event(event.position, event.event_id, flagged)


def shape_of(window: WindowSettings) -> str:
    """What must be as it was for a stored state to be of use: the kind, and for windows on a grid the grid."""
    if window.kind in (WindowKind.TUMBLING, WindowKind.HOPPING):
        size, step = (round(length * MICROS) for length in (window.size, window.step or window.size))
        return f"{window.kind} {size}/{step}"
    return window.kind.value


def _is_shape(stored: str | None, window: WindowSettings) -> bool:
    """Whether a state is of windows of this shape; the first release stored the kind alone, and `time` for what has a grid."""
    return stored == shape_of(window) or (stored == "time" and window.kind in (WindowKind.TUMBLING, WindowKind.HOPPING))


def readings(window: ClosedWindow) -> Outcome:
    """The outcome of a pipeline without a model: the readings themselves, for more than one event as lists."""
    events = window.events
    if len(events) == 1:
        sample = events[0].sample
        return Outcome(values=sample.values if sample.text is None else {"text": sample.text})
    names = {name: None for event in events for name in event.sample.values}
    if not names:
        return Outcome(values={"text": [event.sample.text for event in events]})
    return Outcome(values={name: [event.sample.values.get(name) for event in events] for name in names})


def units_of(window: ClosedWindow) -> dict[str, str | None]:
    """The unit of each reading in the window."""
    return {name: unit for event in window.events for name, unit in event.sample.units.items()}


def reading_of(window: ClosedWindow, name: str, take: Statistic) -> float | None:
    """The value of a reading that stands for the window; None where no event carries it as a number."""
    found = [value for event in window.events if (value := number(event.sample.values.get(name))) is not None]
    if not found:
        return None
    if take is Statistic.LAST:
        return found[-1]
    if take is Statistic.MEAN:
        return sum(found) / len(found)
    return min(found) if take is Statistic.MIN else max(found)


def _decode(stored: bytes) -> SensorState:
    fields = msgspec.msgpack.decode(stored)
    if isinstance(fields, list) and len(fields) > 1 and isinstance(fields[1], bool):
        fields[1] = DecisionState(is_on=fields[1])  # the first release stored only whether the state was on
    return msgspec.convert(fields, SensorState)
