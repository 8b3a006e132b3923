"""What the description of format `chirpstack` promises, case by case."""

from typing import Any

import pytest

FORMAT = "chirpstack"
EUI = "0102030405060708"
TOPIC = f"application/a1/device/{EUI}/event/"
TIME = "2024-07-01T10:00:00.523658123+00:00"
INFO = {"tenantId": "t", "applicationId": "a1", "deviceName": "Soil 1", "devEui": EUI}
LORA = {"frequency": 868100000, "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7}}}
FSK = {"frequency": 868800000, "modulation": {"fsk": {"datarate": 50000}}}
ABOUT = {"device": EUI, "time": TIME, "quality": []}


def up(**content: Any) -> dict[str, Any]:
    return {"deduplicationId": "x", "time": TIME, "deviceInfo": INFO, "fPort": 85, "data": "AQID"} | content


def status(**content: Any) -> dict[str, Any]:
    return {"deduplicationId": "x", "time": TIME, "deviceInfo": INFO} | content


UPLINKS: list[tuple[str, dict[str, Any], list[tuple[Any, ...]]]] = [
    (
        "the codec's object: what is missing or null was not measured",
        up(object={"temperature": 0, "leak": False, "none": None, "deep": {"a": [2**53 + 1]}, "rssi": 5}),
        [
            ("object.temperature", "temperature", 0, None, ABOUT | {"attributes": {"f_port": 85}}),
            ("object.leak", "water_leak", False, None),
            ("object.deep.a.0", "a", 2**53 + 1, None),
            ("object.rssi", "rssi", 5, "dBm"),
        ],
    ),
    ("no codec", up(), []),
    ("an empty object", up(object={}), []),
    (
        "the gateway with the best rssi; a LoRa snr that is missing is 0",
        up(rxInfo=[{"gatewayId": "a", "rssi": -100, "snr": 9.5}, {"gatewayId": "b", "rssi": -40}], txInfo=LORA),
        [
            ("rxInfo.1.rssi", "rssi", -40, "dBm", ABOUT | {"attributes": {"f_port": 85, "gateway": "b"}}),
            ("rxInfo.1.snr", "snr", 0, "dB"),
        ],
    ),
    (
        "a modulation that nothing tells is LoRa",
        up(rxInfo=[{"gatewayId": "a", "rssi": -40}]),
        [("rxInfo.0.rssi", "rssi", -40, "dBm"), ("rxInfo.0.snr", "snr", 0, "dB")],
    ),
    (
        "another modulation has no snr",
        up(rxInfo=[{"gatewayId": "a", "rssi": -40}], txInfo=FSK),
        [("rxInfo.0.rssi", "rssi", -40, "dBm")],
    ),
    (
        "a missing rssi is 0, and the best",
        up(rxInfo=[{"gatewayId": "a", "rssi": -40, "snr": 1}, {"gatewayId": "b", "snr": 2}], txInfo=LORA),
        [("rxInfo.1.rssi", "rssi", 0, "dBm"), ("rxInfo.1.snr", "snr", 2, "dB")],
    ),
    (
        "a null number is none",
        up(rxInfo=[{"gatewayId": "a", "rssi": None, "snr": None}], object={"x": 1}),
        [("object.x", "x", 1, None)],
    ),
    (
        "no time",
        {"deviceInfo": INFO, "object": {"x": 1}},
        [("object.x", "x", 1, None, {"time": None, "quality": ["no_time"], "attributes": {"f_port": 0}})],
    ),
]


@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in UPLINKS], ids=[case[0] for case in UPLINKS])
def test_an_uplink_gives_these_readings(printed: Any, payload: Any, expected: Any) -> None:
    printed.check(expected, f"{TOPIC}up", payload)


@pytest.mark.parametrize(
    ("content", "margin", "level"),
    [
        ({"margin": 7, "batteryLevel": 75.5}, 7, 75.5),
        ({"margin": -3}, -3, 0),
        ({}, 0, 0),
        ({"batteryLevel": 0, "batteryLevelUnavailable": False, "externalPowerSource": False}, 0, 0),
        ({"batteryLevelUnavailable": True}, 0, None),
        ({"externalPowerSource": True}, 0, None),
        ({"batteryLevel": 0, "externalPowerSource": True}, 0, None),
    ],
)
def test_a_status_tells_the_margin_and_the_battery_that_there_is(printed: Any, content: Any, margin: Any, level: Any) -> None:
    expected: list[tuple[Any, ...]] = [("margin", "margin", margin, "dB", ABOUT)]
    if level is not None:
        expected.append(("batteryLevel", "battery_level", level, "%EL", ABOUT))
    printed.check(expected, f"{TOPIC}status", status(**content))


@pytest.mark.parametrize("event", ["join", "ack", "txack", "log", "integration"])
def test_other_events_hold_no_reading(printed: Any, event: str) -> None:
    assert printed(TOPIC + event, status(acknowledged=True, level="ERROR", object={"temperature": 5}, margin=3)) == []


@pytest.mark.parametrize("event", ["up", "status"])
@pytest.mark.parametrize(
    "payload",
    [
        b"\x0a\x2457433366-50a6-4dc2-8145-2df1bbc70d9e\x12\x0c\x08\xa0\xbd\x89\xb4\x06\x10\x8b\xc5\xd9\xf9\x01",
        b"\x12\x02\x08\x01\x20\x07",
        b"\x1a\x03\x0a\x01t",
    ],
)
def test_protobuf_has_a_reason_of_its_own(printed: Any, event: str, payload: bytes) -> None:
    assert printed.refused(TOPIC + event, payload) == "protobuf_payload"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b'\n {"object":{"a":NaN}}', "not_json"),
        (b'{"object":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "too_deep"),
        (b"[]", "wrong_shape"),
        (b'{"time":"x"}', "bad_time"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(printed: Any, payload: bytes, reason: str) -> None:
    assert printed.refused(f"{TOPIC}up", payload) == reason
