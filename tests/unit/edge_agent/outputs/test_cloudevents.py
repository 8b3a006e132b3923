import json
from collections.abc import Callable

from edge_agent.outputs.cloudevents import to_event
from edge_agent.settings import EventMode
from fleet_contract.messages import Result, encode


def test_a_structured_event_is_one_json_with_the_result_as_its_data(result: Callable[..., Result]) -> None:
    made = result()
    event = to_event("farm-1", made, encode(made), EventMode.STRUCTURED)
    assert (event.content_type, event.user) == ("application/cloudevents+json", ())
    assert json.loads(event.payload) == {
        "specversion": "1.0",
        "type": "smallhold.result",
        "source": "/farm-1/p",
        "id": "r1",
        "subject": "north",
        "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": json.loads(encode(made)),
    }


def test_a_binary_event_is_the_result_itself_with_its_attributes_as_user_properties(result: Callable[..., Result]) -> None:
    made = result()
    event = to_event("farm-1", made, encode(made), EventMode.BINARY)
    assert (event.payload, event.content_type) == (encode(made), "application/json")
    assert dict(event.user) == {
        "specversion": "1.0",
        "type": "smallhold.result",
        "source": "/farm-1/p",
        "id": "r1",
        "subject": "north",
        "time": "2026-01-01T00:00:00Z",
    }


def test_a_revision_is_an_event_of_its_own_and_a_repeat_is_not(result: Callable[..., Result]) -> None:
    ids = [
        json.loads(to_event("d", made, b"{}", EventMode.STRUCTURED).payload)["id"]
        for made in (result(), result(), result(revision=2))
    ]
    assert ids == ["r1", "r1", "r1.2"]


def test_without_an_event_time_there_is_no_time(result: Callable[..., Result]) -> None:
    assert "time" not in json.loads(to_event("d", result(time=None), b"{}", EventMode.STRUCTURED).payload)
