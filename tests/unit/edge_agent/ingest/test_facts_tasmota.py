"""What the description of format `tasmota` promises, case by case."""

from typing import Any

import pytest

FORMAT = "tasmota"
TOPIC = "tele/barn/SENSOR"
DAY = "2024-07-01T10:00:00"
CASES: list[tuple[str, str, list[tuple[Any, ...]]]] = [
    (
        "no zone",
        f'{{"Time":"{DAY}","A":{{"B":0}}}}',
        [("A.B", "B", 0, None, {"device": "barn", "time": f"{DAY}+02:00", "quality": ["naive_time"]})],
    ),
    (
        "a zone",
        f'{{"Time":"{DAY}-03:00","A":{{"B":false}}}}',
        [("A.B", "B", False, None, {"time": f"{DAY}-03:00", "quality": []})],
    ),
    ("no time", '{"A":{"B":1}}', [("A.B", "B", 1, None, {"time": None, "quality": ["no_time"]})]),
    (
        "°F",
        '{"A":{"Temperature":14,"DewPoint":32},"TempUnit":"F"}',
        [("A.Temperature", "temperature", -10.0, "Cel"), ("A.DewPoint", "dew_point", 0.0, "Cel")],
    ),
    ("°C", '{"A":{"Temperature":14.0},"TempUnit":"C"}', [("A.Temperature", "temperature", 14.0, "Cel")]),
    ("a temperature without a unit", '{"A":{"Temperature":14}}', [("A.Temperature", "temperature", 14, None)]),
    ("mmHg", '{"A":{"Pressure":760},"PressureUnit":"mmHg"}', [("A.Pressure", "pressure", 1013.250144, "hPa")]),
    ("inHg", '{"A":{"Pressure":30},"PressureUnit":"inHg"}', [("A.Pressure", "pressure", 1015.916592, "hPa")]),
    ("hPa", '{"A":{"Pressure":1009.6},"PressureUnit":"hPa"}', [("A.Pressure", "pressure", 1009.6, "hPa")]),
    ("speeds", '{"A":{"WindSpeed":10},"SpeedUnit":"mph"}', [("A.WindSpeed", "wind_speed", 4.4704, "m/s")]),
    (
        "two of a kind",
        '{"DS18B20-1":{"Id":"01","Temperature":1},"DS18B20-2":{"Id":"02","Temperature":null},"TempUnit":"C"}',
        [
            ("DS18B20-1.Temperature", "temperature", 1, "Cel", {"quality": ["no_time"]}),
            ("DS18B20-2.Temperature", "temperature", None, "Cel", {"quality": ["no_time", "null"]}),
        ],
    ),
    (
        "a battery over Zigbee",
        '{"ZbReceived":{"0x01":{"BatteryPercentage":0,"BatteryVoltage":3.1}}}',
        [
            ("ZbReceived.0x01.BatteryPercentage", "battery_level", 0, "%EL"),
            ("ZbReceived.0x01.BatteryVoltage", "battery_voltage", 3.1, "V"),
        ],
    ),
    (
        "energies",
        '{"ENERGY":{"Total":3.185,"Today":0,"Yesterday":1,"Period":7}}',
        [
            ("ENERGY.Total", "energy", 3.185, "kWh"),
            ("ENERGY.Today", "energy", 0, "kWh"),
            ("ENERGY.Yesterday", "energy", 1, "kWh"),
            ("ENERGY.Period", "energy", 7, "Wh"),
        ],
    ),
    (
        "three phases",
        '{"ENERGY":{"Voltage":[230,null,0],"Factor":[1,0.5,0]}}',
        [
            ("ENERGY.Voltage.0", "voltage", 230, "V", {"attributes": {"phase": 1}}),
            ("ENERGY.Voltage.1", "voltage", None, "V", {"attributes": {"phase": 2}, "quality": ["no_time", "null"]}),
            ("ENERGY.Voltage.2", "voltage", 0, "V", {"attributes": {"phase": 3}}),
            ("ENERGY.Factor.0", "power_factor", 1, None),
            ("ENERGY.Factor.1", "power_factor", 0.5, None),
            ("ENERGY.Factor.2", "power_factor", 0, None),
        ],
    ),
]


@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_telemetry_gives_these_readings(printed: Any, payload: str, expected: Any) -> None:
    printed.check(expected, TOPIC, payload, naive_zone="Europe/Rome")


@pytest.mark.parametrize("topic", ["tele/barn/LWT", "tele/a/b/LWT", "tele/barn/STATE", "stat/barn/RESULT", "cmnd/barn/Power"])
@pytest.mark.parametrize("payload", ["Online", "Offline", "", '{"A":{"Temperature":1}}', b"\xff"])
def test_other_topics_hold_no_reading(printed: Any, topic: str, payload: Any) -> None:
    assert printed(topic, payload) == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b"\xff", "not_utf8"),
        (b'{"A":{"B":nan}}', "not_json"),
        (b"[1]", "wrong_shape"),
        (b'{"a":' * 30_000, "too_deep"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(printed: Any, payload: bytes, reason: str) -> None:
    assert printed.refused(TOPIC, payload) == reason
