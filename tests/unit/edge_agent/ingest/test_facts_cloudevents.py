"""What the description of format `cloudevents` promises, case by case."""

import base64
from typing import Any

import cbor2
import msgspec
import pytest

FORMAT = "cloudevents"
TOPIC = "ce/a"
SOURCE = "/farm/s1"
TIME = "2024-07-01T10:00:00.123456789+02:00"
USER = [("specversion", "1.0"), ("type", "farm.reading"), ("source", SOURCE), ("id", "7"), ("time", TIME), ("custom", "x")]
ABOUT = {"device": SOURCE, "time": TIME, "quality": [], "attributes": {"source": SOURCE, "type": "farm.reading"}}
DATA = {"temperature": 21.5, "on": False, "none": None, "list": [0]}
READ = [("temperature", "temperature", 21.5, None, ABOUT), ("on", "on", False, None, ABOUT), ("list.0", "list", 0, None, ABOUT)]
PACK = [
    {"bn": "d:", "bt": 1719828000, "n": "a", "u": "Cel", "v": 0.1},
    {"bt": 0, "n": "b", "vb": False},
    {"n": "c", "t": -5, "v": 1},
]
PACK_READ = [
    ("d:a", "a", 0.1, "Cel", {**ABOUT, "device": "d", "time": "2024-07-01T10:00:00Z"}),
    ("d:b", "b", False, None, {**ABOUT, "device": "d"}),
    ("d:c", "c", 1, None, {"time": None, "quality": ["no_time", "relative_time"]}),
]
ENCODED: list[tuple[str | None, bytes, list[Any]]] = [
    ("application/json", msgspec.json.encode(DATA), READ),
    ("application/vnd.farm+json; charset=utf-8", msgspec.json.encode(DATA), READ),
    (None, msgspec.json.encode(DATA), READ),
    ("application/cbor", cbor2.dumps(DATA), READ),
    ("application/msgpack", msgspec.msgpack.encode(DATA), READ),
    ("application/senml+json", msgspec.json.encode(PACK), PACK_READ),
    ("application/senml+cbor", cbor2.dumps(PACK), PACK_READ),
    ("application/sensml+json", msgspec.json.encode(PACK), PACK_READ),
]


@pytest.mark.parametrize(("content_type", "data", "expected"), ENCODED)
def test_data_is_read_by_its_content_type_in_both_modes(
    printed: Any, content_type: str | None, data: bytes, expected: Any
) -> None:
    printed.check(expected, TOPIC, data, content_type=content_type, user=USER)
    event: dict[str, Any] = dict(USER) | ({"datacontenttype": content_type} if content_type else {})
    encoded = event | {"data_base64": base64.b64encode(data).decode()}
    printed.check(expected, TOPIC, encoded, content_type="application/cloudevents+json")
    if content_type is None or content_type.partition(";")[0].endswith("json"):
        plain = event | {"data": msgspec.json.decode(data)}
        printed.check(expected, TOPIC, plain, content_type="application/cloudevents+json; charset=utf-8")
        printed.check(expected, TOPIC, plain)


def test_a_pack_without_a_name_is_of_the_events_source(printed: Any) -> None:
    printed.check([("t", "t", 1, None, ABOUT)], TOPIC, '[{"n":"t","v":1}]', content_type="application/senml+json", user=USER)


def test_text_data_is_a_text(printed: Any) -> None:
    text = {"device": SOURCE, "text": "12.50", "time": TIME, "name": "text", "quality": []}
    assert printed(TOPIC, b"12.50", content_type="text/plain", user=USER) == [text]
    assert printed(TOPIC, dict(USER) | {"datacontenttype": "text/plain", "data": "12.50"}) == [text]


@pytest.mark.parametrize(
    ("payload", "content_type", "user", "reason"),
    [
        (b'{"a":NaN}', "application/json", USER, "not_json"),
        (b'[{"v":1}]', "application/senml+json", USER, "wrong_shape"),
        (b"\xff", "text/plain", USER, "not_utf8"),
        (b"x", "application/xml", USER, "unknown_content_type"),
        (b"{}", None, USER[1:], "wrong_shape"),
        (b"{}", None, [("specversion", "0.3"), *USER[1:]], "unknown_version"),
        (b"{}", None, USER[:3], "wrong_shape"),
        (b"{}", None, [*USER[:4], ("time", "yesterday")], "bad_time"),
        (b"[" * 30_000, "application/cloudevents+json", (), "too_deep"),
        (b"", None, (), "not_json"),
    ],
)
def test_what_is_no_event_is_a_dead_letter(
    printed: Any, payload: bytes, content_type: str | None, user: Any, reason: str
) -> None:
    assert printed.refused(TOPIC, payload, content_type=content_type, user=user) == reason
