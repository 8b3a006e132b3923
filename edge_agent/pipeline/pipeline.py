"""One pipeline: its sensors' buffers, and for each sensor the mark and the decision's state that outlive a restart."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from edge_agent.ingest.identity import result_id
from edge_agent.pipeline.alarm import Occasion
from edge_agent.pipeline.decision import NEW, Decided, DecisionState, decide, decide_reading
from edge_agent.pipeline.question import number
from edge_agent.pipeline.windows import Buffer, ClosedWindow, Event, Fed, make_buffer
from edge_agent.settings import DecisionSettings, PipelineSettings, Statistic, WindowKind
from fleet_contract.manifest import Decision
from fleet_contract.messages import Outcome

MAX_SENSORS: Final = 10_000
"""More sensors than this in one pipeline are a mistake or an attack; their events are not taken in."""


class SensorState(msgspec.Struct, array_like=True):
    """What is stored for one sensor of one pipeline, together with its newest result."""

    mark: int | None
    """Of a kind of window: events are counted by position, time by microseconds. None: no window is finished."""
    decision: DecisionState | None = None
    """None: nothing was decided yet, or nothing ever is."""
    kind: WindowKind | None = None
    """Of the window that set the mark."""


class Pipeline:
    """Feed it events in the order of their positions; finish its windows in the order in which they close."""

    def __init__(self, settings: PipelineSettings) -> None:
        self.settings = settings
        self._buffers: dict[str, Buffer] = {}
        self._states: dict[str, SensorState] = {}
        self._decides = settings.model is not None or settings.decision != DecisionSettings()

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take the stored states, before the first event. Raises msgspec.DecodeError.

        A mark that windows of another kind have left says nothing here: the configuration has changed.
        """
        for key, stored in states.items():
            state = _decode(stored)
            if state.kind is not self.settings.window.kind:
                state.mark = None
            self._states[key] = state
            if state.decision is not None and state.decision.alarm is not None:
                self._decides = True  # an alarm that is configured no more is still to be cleared

    def state(self, key: str) -> bytes:
        """What to store for one sensor, in the transaction of its newest finished window."""
        return msgspec.msgpack.encode(self._states[key])

    def feed(self, event: Event) -> Fed | None:
        """Take one event in; None when it is of one sensor too many."""
        key = event.sample.device
        buffer = self._buffers.get(key)
        if buffer is None:
            if len(self._buffers) >= MAX_SENSORS:
                return None
            known = self._states.get(key)
            buffer = make_buffer(key, self.settings.window, None if known is None else known.mark)
            self._buffers[key] = buffer
        return buffer.feed(event)

    def result_id(self, window: ClosedWindow) -> str:
        """The id of the window's result: from pipeline, sensor and events alone."""
        if window.kind is WindowKind.TIME:
            return result_id(self.settings.name, window.key, window.kind, window.start, window.end)
        first, last = window.events[0].event_id, window.events[-1].event_id
        return result_id(self.settings.name, window.key, window.kind, first, last)

    def decide(self, window: ClosedWindow, scores: Sequence[float], labels: Sequence[str], recommended: Decision) -> Decided:
        """What becomes of a scored window; `finish` it next, before the sensor's next window is decided.

        Raises ValueError or IndexError, with the state as before, when there are other scores than labels.
        """
        known = self._states.get(window.key)
        state = (known and known.decision) or NEW
        decided, after = decide(scores, labels, self.settings.decision, recommended, state, self._occasion(window))
        self._states.setdefault(window.key, SensorState(None)).decision = after
        return decided

    def read(self, window: ClosedWindow) -> Decided:
        """What becomes of a window of a pipeline without a model; `finish` it next."""
        outcome = readings(window)
        if not self._decides:
            return Decided(outcome)
        settings = self.settings.decision
        known = self._states.get(window.key)
        state = (known and known.decision) or NEW
        value = None if settings.reading is None else reading_of(window, settings.reading, settings.take)
        decided, after = decide_reading(value, outcome.values, settings, state, self._occasion(window))
        self._states.setdefault(window.key, SensorState(None)).decision = after
        return decided

    def _occasion(self, window: ClosedWindow) -> Occasion:
        last = window.events[-1].sample
        return Occasion(self.settings.name, window.key, last.time, last.time_text, lambda: self.result_id(window))

    def finish(self, window: ClosedWindow) -> None:
        """The window is done, with a result or without one: it will not close again."""
        state = self._states.setdefault(window.key, SensorState(None))
        state.mark, state.kind = window.mark, window.kind


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
