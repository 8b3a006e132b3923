from hashlib import sha256

from edge_agent.ingest.events import Sample
from edge_agent.ingest.identity import result_id
from edge_agent.pipeline.pipeline import Pipeline, readings
from edge_agent.pipeline.result import make_result
from edge_agent.pipeline.windows import ClosedWindow, Event
from edge_agent.settings import IngestSettings, PipelineSettings, WindowKind, WindowSettings
from fleet_contract.messages import Outcome, Result


def result(count: int, kind: WindowKind = WindowKind.COUNT) -> Result:
    pipeline = Pipeline(
        PipelineSettings(name="p", source=IngestSettings(topic="#"), window=WindowSettings(kind=kind, size=count))
    )
    windows: list[ClosedWindow] = []
    for number in range(count + (kind is WindowKind.TUMBLING)):
        quality = ("naive_time",) if number == 1 else ("retained",)
        time = f"1970-01-01T00:00:{number:02}Z"
        fed = pipeline.feed(Event(number, f"e{number}", Sample("s", float(number), time, {"x": number}, {}, None, quality)))
        assert fed is not None
        windows += fed.closed
    (window,) = windows
    return make_result(pipeline, window, readings(window), None)


def test_a_result_says_where_it_came_from() -> None:
    made = result(2)
    assert made.result_id == result_id("p", "s", "count", "e0", "e1")
    assert (made.pipeline, made.source, made.time) == ("p", "s", "1970-01-01T00:00:01Z")
    assert (made.window.kind, made.window.start, made.window.end, made.window.count) == (
        "count",
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:01Z",
        2,
    )
    assert made.quality == ("retained", "naive_time")
    assert made.outcome == Outcome(values={"x": [0, 1]})


def test_a_time_window_is_named_by_its_bounds() -> None:
    made = result(5, WindowKind.TUMBLING)
    assert made.result_id == result_id("p", "s", "tumbling", 0, 5_000_000)
    assert (made.window.start, made.window.end) == ("1970-01-01T00:00:00Z", "1970-01-01T00:00:05Z")


def test_sixteen_events_are_listed_and_more_are_digested() -> None:
    assert result(16).events.ids == tuple(f"e{number}" for number in range(16))
    many = result(17).events
    assert (many.ids, many.first, many.last, many.count) == ((), "e0", "e16", 17)
    ids = "\n".join(f"e{number}" for number in range(17))
    assert many.digest == f"sha256:{sha256(ids.encode()).hexdigest()}"


def test_one_reading_is_given_as_it_is() -> None:
    assert result(1).outcome == Outcome(values={"x": 0})
