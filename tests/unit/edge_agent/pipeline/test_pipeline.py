from typing import Any

import pytest

from edge_agent.ingest.events import Sample
from edge_agent.pipeline import pipeline as module
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.windows import Event
from edge_agent.settings import DecisionSettings, IngestSettings, PipelineSettings, WindowKind, WindowSettings
from fleet_contract.manifest import Decision


def make() -> Pipeline:
    return Pipeline(
        PipelineSettings(name="p", source=IngestSettings(topic="#"), decision=DecisionSettings(threshold=0.5, hysteresis=0.3))
    )


def event(position: int, device: str = "s") -> Event:
    return Event(position, str(position), Sample(device, None, None, {}, {}))


def test_sensors_have_windows_and_states_of_their_own() -> None:
    pipeline = make()
    states = []
    for position, (device, score) in enumerate([("a", 0.9), ("b", 0.3), ("a", 0.3)]):
        fed = pipeline.feed(event(position, device))
        assert fed is not None
        outcome = pipeline.decide(fed.closed[0], [score], (), Decision())
        pipeline.finish(fed.closed[0])
        states.append(outcome.state)
    assert states == ["on", "off", "on"]


def test_the_decisions_state_outlives_a_restart() -> None:
    first = make()
    fed = first.feed(event(0))
    assert fed is not None
    first.decide(fed.closed[0], [0.9], (), Decision())
    first.finish(fed.closed[0])
    second = make()
    second.restore({"s": first.state("s")})
    fed = second.feed(event(1))
    assert fed is not None
    outcome = second.decide(fed.closed[0], [0.3], (), Decision())
    assert (outcome.state, outcome.changed) == ("on", False)


def test_one_sensor_too_many_is_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SENSORS", 2)
    pipeline = make()
    assert [pipeline.feed(event(position, str(position))) is None for position in range(3)] == [False, False, True]
    assert pipeline.feed(event(3, "0")) is not None


def test_a_mark_of_another_kind_of_window_holds_nothing_back() -> None:
    def build(**window: Any) -> Pipeline:
        return Pipeline(PipelineSettings(name="p", source=IngestSettings(topic="#"), window=WindowSettings(**window)))

    def feed(pipeline: Pipeline, position: int) -> int:
        fed = pipeline.feed(Event(position << 16, str(position), Sample("s", 1.7e9 + 100 * position, None, {}, {})))
        assert fed is not None
        for window in fed.closed:
            pipeline.finish(window)
        return len(fed.closed)

    by_time, by_count = build(kind=WindowKind.TIME, size=60), build(size=1)
    assert [feed(by_time, position) for position in range(2)] == [0, 1]
    by_count.restore({"s": by_time.state("s")})
    assert [feed(by_count, position) for position in range(2, 4)] == [1, 1]
    again = build(size=1)
    again.restore({"s": by_count.state("s")})
    assert [feed(again, position) for position in range(3, 5)] == [0, 1]
