from typing import Any

import msgspec
import pytest

from edge_agent.ingest.events import Sample
from edge_agent.pipeline import pipeline as module
from edge_agent.pipeline.pipeline import Pipeline, reading_of
from edge_agent.pipeline.windows import ClosedWindow, Event
from edge_agent.settings import (
    AlarmSettings,
    DecisionSettings,
    IngestSettings,
    PipelineSettings,
    Statistic,
    WindowKind,
    WindowSettings,
)
from fleet_contract.manifest import Decision


def make() -> Pipeline:
    return Pipeline(
        PipelineSettings(name="p", source=IngestSettings(topic="#"), decision=DecisionSettings(threshold=0.5, hysteresis=0.3))
    )


def event(position: int, device: str = "s") -> Event:
    return Event(position, str(position), Sample(device, None, None, {}, {}))


def reading(position: int, value: float) -> Event:
    return Event(position, str(position), Sample("s", None, None, {"x": value}, {}))


def test_sensors_have_windows_and_states_of_their_own() -> None:
    pipeline = make()
    states = []
    for position, (device, score) in enumerate([("a", 0.9), ("b", 0.3), ("a", 0.3)]):
        fed = pipeline.feed(event(position, device))
        assert fed is not None
        outcome = pipeline.decide(fed.closed[0], [score], (), Decision()).outcome
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
    outcome = second.decide(fed.closed[0], [0.3], (), Decision()).outcome
    assert (outcome.state, outcome.changed) == ("on", False)


def test_a_state_that_the_first_release_stored_is_read() -> None:
    pipeline = make()
    pipeline.restore({"s": msgspec.msgpack.encode([0, True, "count"])})
    fed = pipeline.feed(event(1))
    assert fed is not None
    assert pipeline.decide(fed.closed[0], [0.3], (), Decision()).outcome.state == "on"


def test_an_alarm_outlives_a_restart_and_the_end_of_its_configuration() -> None:
    source = IngestSettings(topic="#")
    alarm = DecisionSettings(reading="x", above=1.0, alarm=AlarmSettings())
    first = Pipeline(PipelineSettings(name="p", source=source, decision=alarm))
    fed = first.feed(reading(0, 5.0))
    assert fed is not None
    raised = first.read(fed.closed[0]).outcome.alarm
    first.finish(fed.closed[0])
    assert raised is not None
    second = Pipeline(PipelineSettings(name="p", source=source))
    second.restore({"s": first.state("s")})
    seen = []
    for position in (1, 2):
        fed = second.feed(reading(position, 5.0))
        assert fed is not None
        seen.append(second.read(fed.closed[0]).outcome.alarm)
        second.finish(fed.closed[0])
    assert seen[0] is not None
    assert (seen[0].id, seen[0].state, seen[1]) == (raised.id, "cleared", None)


@pytest.mark.parametrize(("take", "value"), [("last", 3.0), ("mean", 2.5), ("min", 0.5), ("max", 4.0)])
def test_a_value_of_the_reading_stands_for_the_window(take: str, value: float) -> None:
    values: list[Any] = [4, None, 0.5, "wet", 3, {}]
    events = tuple(
        Event(number, "", Sample("s", None, None, {} if item == {} else {"x": item}, {})) for number, item in enumerate(values)
    )
    window = ClosedWindow("s", WindowKind.COUNT, events, 0, 0, 0)
    assert reading_of(window, "x", Statistic(take)) == value
    assert reading_of(window, "y", Statistic(take)) is None


def test_a_pipeline_that_decides_nothing_stores_no_decision() -> None:
    pipeline = Pipeline(PipelineSettings(name="p", source=IngestSettings(topic="#")))
    fed = pipeline.feed(event(0))
    assert fed is not None
    assert pipeline.read(fed.closed[0]).outcome.state is None
    pipeline.finish(fed.closed[0])
    assert msgspec.msgpack.decode(pipeline.state("s"))[1] is None


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

    by_time, by_count = build(kind=WindowKind.TUMBLING, size=60), build(size=1)
    assert [feed(by_time, position) for position in range(2)] == [0, 1]
    by_count.restore({"s": by_time.state("s")})
    assert [feed(by_count, position) for position in range(2, 4)] == [1, 1]
    again = build(size=1)
    again.restore({"s": by_count.state("s")})
    assert [feed(again, position) for position in range(3, 5)] == [0, 1]


def test_the_state_of_windows_of_time_that_the_first_release_stored_is_read() -> None:
    window = WindowSettings(kind=WindowKind.TUMBLING, size=10, max_jump=None)
    pipeline = Pipeline(PipelineSettings(name="p", source=IngestSettings(topic="#"), window=window))
    pipeline.restore({"s": msgspec.msgpack.encode((1_700_000_010_000_000, False, "time"))})
    fired = []
    for position, second in enumerate((5, 15, 25)):  # the first window is done, the second was not answered
        fed = pipeline.reattach(Event(position, str(position), Sample("s", 1.7e9 + second, None, {}, {})), 0)
        assert fed is not None
    for fed in pipeline.resume():
        fired += [[item.position for item in closed.events] for closed in fed.closed]
    assert fired == [[1]]


def test_a_revision_does_not_move_the_state() -> None:
    window = WindowSettings(kind=WindowKind.TUMBLING, size=10, lateness=100, max_jump=None)
    settings = PipelineSettings(
        name="p", source=IngestSettings(topic="#"), window=window, decision=DecisionSettings(threshold=0.5), model="m"
    )
    pipeline = Pipeline(settings)
    told = []
    for position, (second, score) in enumerate([(1, 0.0), (12, 0.0), (2, 0.9), (23, 0.2), (34, 0.9)]):
        fed = pipeline.feed(Event(position, str(position), Sample("s", float(second), None, {}, {})))
        assert fed is not None
        for closed in fed.closed:
            decided = pipeline.decide(closed, [score], (), Decision())
            told.append((closed.revision, decided.outcome.score, decided.outcome.state, decided.outcome.changed))
            pipeline.finish(closed)
    assert told == [(0, 0.0, "off", False), (1, 0.9, None, False), (0, 0.2, "off", False), (0, 0.9, "on", True)]


def test_the_backlog_decides_on_a_state_of_its_own_and_raises_no_alarm() -> None:
    decision = DecisionSettings(threshold=0.5, alarm=AlarmSettings())
    pipeline = Pipeline(PipelineSettings(name="p", source=IngestSettings(topic="#"), decision=decision, model="m"))
    told = []
    for position, (second, score) in enumerate([(5000, 0.0), (1, 0.9), (5001, 0.9)]):
        fed = pipeline.feed(Event(position, str(position), Sample("s", float(second), None, {}, {})))
        assert fed is not None
        (closed,) = fed.closed
        outcome = pipeline.decide(closed, [score], (), Decision()).outcome
        told.append((closed.timeliness, outcome.state, outcome.changed, outcome.alarm is not None))
        pipeline.finish(closed)
    assert told == [("live", "off", False, False), ("backlog", "on", True, False), ("live", "on", True, True)]
