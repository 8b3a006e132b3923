from edge_agent.pipeline.chain import chained_id, to_sample
from fleet_contract.messages import EventsRef, Outcome, Result, WindowRef


def result(**fields: object) -> Result:
    return Result(
        **{
            "result_id": "r",
            "pipeline": "p",
            "source": "s",
            "time": "1970-01-01T00:00:05Z",
            "outcome": Outcome(),
            "window": WindowRef(kind="count", start=None, end=None, count=1),
            "events": EventsRef(count=1),
            **fields,
        }
    )


def test_a_result_becomes_readings_of_its_sensor_at_its_time() -> None:
    outcome = Outcome(label="frost", score=0.9, scores={"frost": 0.9, "none": 0.1}, state="on", values={"t": 3, "l": [1, 2]})
    sample = to_sample(result(outcome=outcome, quality=("retained",)))
    assert sample.values == {
        "label": "frost",
        "score": 0.9,
        "state": "on",
        "scores.frost": 0.9,
        "scores.none": 0.1,
        "values.t": 3,
    }
    assert (sample.device, sample.time, sample.time_text, sample.quality) == ("s", 5.0, "1970-01-01T00:00:05Z", ("retained",))


def test_a_result_without_a_time_gives_an_event_without_one() -> None:
    assert to_sample(result(time=None)).time is None


def test_a_result_of_a_backlog_is_historical() -> None:
    assert to_sample(result(timeliness="backlog")).quality == ("historical",)
    assert to_sample(result(timeliness="backlog", quality=("historical",))).quality == ("historical",)


def test_each_revision_is_an_event_of_its_own() -> None:
    assert [chained_id(result(revision=number)) for number in (0, 1)] == ["r.0", "r.1"]
