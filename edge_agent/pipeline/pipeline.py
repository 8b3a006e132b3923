"""One pipeline: its sensors' buffers, and for each sensor the mark and the decision's state that outlive a restart."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from edge_agent.ingest.identity import result_id
from edge_agent.pipeline.decision import decide
from edge_agent.pipeline.windows import Buffer, ClosedWindow, Event, Fed, make_buffer
from edge_agent.settings import PipelineSettings, WindowKind
from fleet_contract.manifest import Decision
from fleet_contract.messages import Outcome

MAX_SENSORS: Final = 10_000
"""More sensors than this in one pipeline are a mistake or an attack; their events are not taken in."""


class SensorState(msgspec.Struct, array_like=True):
    """What is stored for one sensor of one pipeline, together with its newest result."""

    mark: int | None
    """Of a kind of window: events are counted by position, time by microseconds. None: no window is finished."""
    is_on: bool = False
    kind: WindowKind | None = None
    """Of the window that set the mark."""


class Pipeline:
    """Feed it events in the order of their positions; finish its windows in the order in which they close."""

    def __init__(self, settings: PipelineSettings) -> None:
        self.settings = settings
        self._buffers: dict[str, Buffer] = {}
        self._states: dict[str, SensorState] = {}

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take the stored states, before the first event. Raises msgspec.DecodeError.

        A mark that windows of another kind have left says nothing here: the configuration has changed.
        """
        for key, stored in states.items():
            state = msgspec.msgpack.decode(stored, type=SensorState)
            if state.kind is not self.settings.window.kind:
                state.mark = None
            self._states[key] = state

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

    def decide(self, window: ClosedWindow, scores: Sequence[float], labels: Sequence[str], recommended: Decision) -> Outcome:
        """The outcome of a scored window; `finish` it next, before the sensor's next window is decided."""
        was_on = window.key in self._states and self._states[window.key].is_on
        outcome, is_on = decide(scores, labels, self.settings.decision, recommended, was_on)
        self._states.setdefault(window.key, SensorState(None)).is_on = is_on
        return outcome

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
