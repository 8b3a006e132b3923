"""What each format's own topics and payloads give when nobody names the format."""

from typing import Any

import cbor2
import msgspec
import pytest

FORMAT = "auto"
EVENT = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1", "data": {"x": 1}}
CASES: list[tuple[str, Any, str | None, list[tuple[str, Any]]]] = [
    ("farm/a", {"x": 1}, None, [("farm/a", 1)]),
    ("farm/a", cbor2.dumps({"x": 1}), "application/cbor", [("farm/a", 1)]),
    ("farm/a", msgspec.msgpack.encode({"x": 1}), "application/msgpack", [("farm/a", 1)]),
    ("farm/a", EVENT, "application/cloudevents+json", [("/s", 1)]),
    ("farm/a", EVENT, None, [("/s", 1)]),
    ("farm/a", [{"bn": "d:", "n": "x", "v": 1}], None, [("d", 1)]),
    ("farm/a", cbor2.dumps([{-2: "d:", 0: "x", 2: 1}]), "application/senml+cbor", [("d", 1)]),
    ("farm/a", cbor2.dumps([{-2: "d:", 0: "x", 2: 1}]), None, [("d", 1)]),
    ("application/a/device/01/event/up", {"deviceInfo": {"devEui": "01"}, "object": {"x": 1}}, None, [("01", 1)]),
    ("v3/a@t/devices/d/up", {"uplink_message": {"decoded_payload": {"x": 1}}}, None, [("d", 1)]),
    ("v3/a/devices/d/up", {"uplink_message": {"decoded_payload": {"x": 1}}}, None, [("d", 1)]),
    ("zigbee2mqtt/a/b", {"x": 1}, None, [("a/b", 1)]),
    ("zigbee2mqtt/a/availability", "online", None, []),
    ("tele/a/SENSOR", {"A": {"x": 1}}, None, [("a", 1)]),
    ("tele/a/LWT", "Online", None, []),
    ("p/events/rpc", {"src": "s", "method": "NotifyStatus", "params": {"switch:0": {"apower": 1}}}, None, [("s", 1)]),
    ("p/status/switch:0", {"apower": 1}, None, [("p", 1)]),
    ("shellyplus1pm-a8032ab12345/online", "true", None, []),
    ("shellyplus1pm-a8032ab12345/status/temperature:100", {"tC": 1}, None, [("shellyplus1pm-a8032ab12345", 1)]),
    ("/json/k/d/attrs", {"x": 1}, None, [("d", 1)]),
    ("json/k/d/attrs", {"x": 1}, None, [("d", 1)]),
    ("/k/d/attrs", {"x": 1}, None, [("d", 1)]),
    ("k/d/attrs", {"x": 1}, None, [("d", 1)]),
    ("/json/k/d/attrs/x", "1", None, [("d", 1)]),
    ("k/d/attrs/x", "1", None, [("d", 1)]),
    ("/json/k/d/cmd", {"x": 1}, None, []),
    ("spBv1.0/STATE/h", {"online": True}, None, []),
]


@pytest.mark.parametrize(("topic", "payload", "content_type", "expected"), CASES)
def test_a_message_is_read_as_its_format_reads_it(
    printed: Any, topic: str, payload: Any, content_type: str | None, expected: Any
) -> None:
    found = printed(topic, payload, content_type=content_type)
    assert [(row["device"], row["value"]) for row in found] == expected


def test_anything_else_is_a_text(printed: Any) -> None:
    assert printed("farm/a", "frost at dawn") == [
        {"device": "farm/a", "text": "frost at dawn", "time": None, "name": "text", "quality": ["no_time"]}
    ]


@pytest.mark.parametrize("payload", [b"\xff\x00", b'{"a":', b'{"a":NaN}', b"[" * 30_000])
def test_what_no_format_reads_is_a_dead_letter(printed: Any, payload: bytes) -> None:
    assert printed.refused("farm/a", payload)
