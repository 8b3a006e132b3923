"""What the description of format `zigbee2mqtt` promises, case by case."""

from typing import Any

import pytest

FORMAT = "zigbee2mqtt"
CASES: list[tuple[str, str, list[tuple[Any, ...]]]] = [
    (
        "a device on a battery gives mV",
        '{"battery":0,"voltage":2975,"contact":false,"linkquality":120}',
        [
            ("battery", "battery_level", 0, "%EL"),
            ("voltage", "battery_voltage", 2.975, "V"),
            ("contact", "contact", False, None),
            ("linkquality", "link_quality", 120, None),
        ],
    ),
    (
        "a battery that only says whether it is low",
        '{"battery_low":true,"voltage":2100}',
        [("battery_low", "battery_low", True, None), ("voltage", "battery_voltage", 2.1, "V")],
    ),
    (
        "a plug gives V",
        '{"state":"OFF","power":0,"voltage":230.5}',
        [("state", "state", "OFF", None), ("power", "power", 0, "W"), ("voltage", "voltage", 230.5, "V")],
    ),
    (
        "phases of a meter",
        '{"voltage_phase_b":229,"current_phase_b":0.5}',
        [("voltage_phase_b", "voltage", 229, "V"), ("current_phase_b", "current", 0.5, "A")],
    ),
    (
        "objects, and what tells about the device",
        '{"color":{"x":0.3},"update":{"state":"idle"},"device":{"model":"M"}}',
        [("color.x", "x", 0.3, None), ("update.state", "state", "idle", None)],
    ),
    ("nulls", '{"temperature":null,"humidity":0}', [("humidity", "relative_humidity", 0, "%RH")]),
    (
        "time as text",
        '{"temperature":1,"last_seen":"2024-07-01T10:00:00.5+02:00"}',
        [("temperature", "temperature", 1, "Cel", {"time": "2024-07-01T10:00:00.5+02:00", "quality": []})],
    ),
    (
        "time in ms",
        '{"temperature":1,"last_seen":1719828000120}',
        [("temperature", "temperature", 1, "Cel", {"time": "2024-07-01T10:00:00.12Z", "quality": []})],
    ),
    ("no time", '{"temperature":1}', [("temperature", "temperature", 1, "Cel", {"time": None, "quality": ["no_time"]})]),
]


@pytest.mark.parametrize("device", ["sensor", "north barn/sensor 1", "a/b/c"])
@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_state_gives_these_readings(printed: Any, device: str, payload: str, expected: Any) -> None:
    with_device = [(*row[:4], (row[4] if len(row) > 4 else {}) | {"device": device}) for row in expected]
    printed.check(with_device, f"zigbee2mqtt/{device}", payload)


@pytest.mark.parametrize(
    "level", ["a/availability", "a/b/availability", "a/set", "a/get", "a/set/state", "bridge/state", "bridge/devices"]
)
@pytest.mark.parametrize("payload", ["online", '{"state":"online"}', "", '{"temperature":1}', b"\xff"])
def test_availability_commands_and_the_bridge_hold_no_reading(printed: Any, level: str, payload: Any) -> None:
    assert printed(f"zigbee2mqtt/{level}", payload) == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"ON", "not_json"),
        (b"\xff", "not_utf8"),
        (b'{"a":NaN}', "not_json"),
        (b"[1]", "wrong_shape"),
        (b"[" * 30_000, "too_deep"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(printed: Any, payload: bytes, reason: str) -> None:
    assert printed.refused("zigbee2mqtt/a", payload) == reason
