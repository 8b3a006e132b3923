import json
from base64 import b64encode
from typing import Any

import cbor2
import msgspec
import pytest

from edge_agent.ingest.events import DeadLetter, Decoded, Reading, Text
from edge_agent.ingest.formats import Ingest
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

ATTRIBUTES = {
    "specversion": "1.0",
    "id": "A234",
    "source": "/farms/north",
    "type": "com.example.reading",
    "time": "2024-05-01T10:00:00.123456789Z",
}
STRUCTURED = "application/cloudevents+json"
DATA = {"temperature": 21.5, "open": False, "count": 9007199254740993, "lost": None, "soil": {"moisture": [0]}}
READ = {"temperature": 21.5, "open": False, "count": 9007199254740993, "soil.moisture.0": 0}


def decode(
    payload: Any, content_type: str | None = None, user: dict[str, str] | None = None, topic: str = "t/u", **settings: Any
) -> Decoded | DeadLetter:
    properties: dict[str, Any] = {}
    if content_type is not None:
        properties["content_type"] = content_type
    if user is not None:
        properties["user"] = list(user.items())
    ingest = Ingest(IngestSettings(topic="#", format="cloudevents", **settings))
    decoded = ingest.decode(topic, payload if isinstance(payload, bytes) else json.dumps(payload).encode(), properties)
    assert ingest.errors == 0, decoded
    return decoded


def event(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**ATTRIBUTES, "data": DATA, **changes}.items() if value is not ...}


def encoded(data: bytes) -> str:
    return b64encode(data).decode()


@pytest.mark.parametrize(
    ("payload", "content_type", "user"),
    [
        (event(), STRUCTURED, None),
        (event(), "Application/CloudEvents+JSON; charset=utf-8", None),
        (event(), "application/cloudevents", None),
        (event(), None, None),  # MQTT 3.1.1
        (event(datacontenttype="application/vnd.acme+json"), STRUCTURED, ATTRIBUTES),
        (event(data=..., data_base64=encoded(json.dumps(DATA).encode())), STRUCTURED, None),
        (event(data=..., data_base64=encoded(cbor2.dumps(DATA)), datacontenttype="application/cbor"), STRUCTURED, None),
        (DATA, "application/json", ATTRIBUTES),
        (DATA, None, ATTRIBUTES),
        (DATA, None, {**ATTRIBUTES, "datacontenttype": "application/json"}),
        (cbor2.dumps(DATA), "application/cbor", ATTRIBUTES),
        (msgspec.msgpack.encode(DATA), "application/msgpack", ATTRIBUTES),
    ],
)
def test_an_event_is_the_same_in_every_mode_and_encoding(payload: Any, content_type: str | None, user: Any) -> None:
    decoded = decode(payload, content_type, user)
    assert isinstance(decoded, Decoded), decoded
    assert {reading.name: reading.value for reading in decoded.events if isinstance(reading, Reading)} == READ
    assert {reading.device for reading in decoded.events} == {"/farms/north"}
    assert {reading.time for reading in decoded.events} == {"2024-05-01T10:00:00.123456789Z"}
    assert decoded.own_id == "/farms/north A234"
    assert decoded.events[0].attributes == {"source": "/farms/north", "type": "com.example.reading"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("payload", "content_type", "user"),
    [
        (event(data="40 °C im Stall", datacontenttype="text/plain"), STRUCTURED, None),
        (event(data=..., data_base64=encoded("40 °C im Stall".encode()), datacontenttype="text/plain"), STRUCTURED, None),
        ("40 °C im Stall".encode(), "text/plain; charset=utf-8", ATTRIBUTES),
    ],
)
def test_text_data_is_a_text(payload: Any, content_type: str, user: Any) -> None:
    decoded = decode(payload, content_type, user)
    assert isinstance(decoded, Decoded), decoded
    assert decoded.events == (Text("/farms/north", "40 °C im Stall", ATTRIBUTES["time"], "text", ()),)


@pytest.mark.parametrize(
    ("payload", "content_type", "user"),
    [
        (event(data=...), STRUCTURED, None),
        (event(data=None), STRUCTURED, None),
        (b"", None, ATTRIBUTES),
        (b"", "image/png", ATTRIBUTES),
        (b"null", "application/json", ATTRIBUTES),
    ],
)
def test_an_event_without_data_holds_no_reading(payload: Any, content_type: str | None, user: Any) -> None:
    decoded = decode(payload, content_type, user)
    assert isinstance(decoded, Decoded), decoded
    assert decoded.events == ()


@pytest.mark.parametrize(
    ("payload", "content_type", "user", "reason"),
    [
        (event(specversion="0.3"), STRUCTURED, None, Reason.UNKNOWN_VERSION),
        (DATA, None, {**ATTRIBUTES, "specversion": "1.1"}, Reason.UNKNOWN_VERSION),
        (event(specversion=...), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(specversion=1.0), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(id=...), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(id=""), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(id=7), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(source=None), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(type=...), STRUCTURED, None, Reason.WRONG_SHAPE),
        (DATA, None, {"specversion": "1.0", "id": "1", "source": "s"}, Reason.WRONG_SHAPE),
        (event(time="yesterday"), STRUCTURED, None, Reason.BAD_TIME),
        (event(time=1700000000), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(subject=5), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(data_base64="AAAA"), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(data=..., data_base64="not base64"), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(data=..., data_base64=5), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(data="<a/>", datacontenttype="application/xml"), STRUCTURED, None, Reason.UNKNOWN_CONTENT_TYPE),
        (event(data={}, datacontenttype="text/plain"), STRUCTURED, None, Reason.WRONG_SHAPE),
        (event(data="x", datacontenttype="application/cbor"), STRUCTURED, None, Reason.WRONG_SHAPE),
        (b"\x89PNG", "image/png", ATTRIBUTES, Reason.UNKNOWN_CONTENT_TYPE),
        (b"\xff", "text/plain", ATTRIBUTES, Reason.NOT_UTF8),
        (b"x" * 300_000, "text/plain", ATTRIBUTES, Reason.TOO_LARGE),
        (b"{", "application/json", ATTRIBUTES, Reason.NOT_JSON),
        (b"\x9f", "application/cbor", ATTRIBUTES, Reason.NOT_CBOR),
        ([event()], None, None, Reason.WRONG_SHAPE),
        ([event()], "application/cloudevents-batch+json", None, Reason.UNKNOWN_CONTENT_TYPE),
        (b"\xa0", "application/cloudevents+cbor", None, Reason.UNKNOWN_CONTENT_TYPE),
        ({"temperature": 1}, None, None, Reason.WRONG_SHAPE),
        (b"{", STRUCTURED, None, Reason.NOT_JSON),
    ],
)
def test_what_is_no_event_is_a_dead_letter(payload: Any, content_type: str | None, user: Any, reason: Reason) -> None:
    letter = decode(payload, content_type, user)
    assert isinstance(letter, DeadLetter), letter
    assert letter.reason is reason
    assert letter.detail


@pytest.mark.parametrize(
    ("changes", "settings", "device"),
    [
        ({}, {}, "/farms/north"),
        ({"subject": "probe-3"}, {}, "probe-3"),
        ({"subject": None}, {}, "/farms/north"),
        ({"subject": "probe-3"}, {"device_level": 1}, "u"),
        ({"subject": "probe-3", "data": {"sensor": 12, "x": 1}}, {"device_path": "sensor", "device_level": 1}, "12"),
        ({"subject": "probe-3"}, {"device_path": "gone"}, "probe-3"),
    ],
)
def test_the_device_is_configured_or_the_subject_or_the_source(changes: Any, settings: Any, device: str) -> None:
    decoded = decode(event(**changes), **settings)
    assert isinstance(decoded, Decoded)
    assert decoded.events[0].device == device


@pytest.mark.parametrize(
    ("payload", "content_type", "user", "time", "quality"),
    [
        (event(time=..., data={"x": 1, "time": 1700000000.123456789}), None, None, "2023-11-14T22:13:20.123456789Z", ()),
        (b'{"x": 1, "time": 1700000000.123456789}', None, {**ATTRIBUTES, "time": ""}, None, None),
        (event(time="2024-05-01T10:00:00"), None, None, "2024-05-01T10:00:00+02:00", ("naive_time",)),
        (event(time=None), None, None, None, ("no_time",)),
    ],
)
def test_the_time_is_the_events_own_or_else_that_in_the_data(
    payload: Any, content_type: Any, user: Any, time: str | None, quality: Any
) -> None:
    if isinstance(payload, dict):
        payload = json.dumps(payload).replace("1700000000.1234567", "1700000000.123456789").encode()
    decoded = decode(payload, content_type, user, naive_zone="Europe/Rome")
    if quality is None:
        assert isinstance(decoded, DeadLetter)
        assert decoded.reason is Reason.BAD_TIME
        return
    assert isinstance(decoded, Decoded), decoded
    assert (decoded.time, decoded.events[0].quality) == (time, quality)


def test_configured_values_are_paths_inside_the_data() -> None:
    decoded = decode(event(), values={"air": "temperature", "soil": "soil.moisture.0"}, units={"air": "Cel"})
    assert isinstance(decoded, Decoded)
    assert [(e.name, e.value, e.unit) for e in decoded.events if isinstance(e, Reading)] == [
        ("air", 21.5, "Cel"),
        ("soil", 0, None),
    ]
