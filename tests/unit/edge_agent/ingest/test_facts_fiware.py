"""What the description of format `fiware` promises, case by case."""

from typing import Any

import pytest

FORMAT = "fiware"
TOPIC = "/json/key/dev1/attrs"
DAY = "2024-07-01T10:00:00"
UNTIMED: dict[str, Any] = {"time": None, "quality": ["no_time"]}


def humidity(value: Any, code: str | None = None) -> dict[str, Any]:
    return {"relativeHumidity": {"type": "Property", "value": value} | ({"unitCode": code} if code else {})}


CASES: list[tuple[str, Any, list[tuple[Any, ...]]]] = [
    (
        "flat",
        '{"t":21.50,"ok":false,"zero":0,"none":null,"big":9007199254740993,"s":"21.5"}',
        [
            ("t", "t", 21.5, None, UNTIMED | {"device": "dev1"}),
            ("ok", "ok", False, None),
            ("zero", "zero", 0, None),
            ("big", "big", 2**53 + 1, None),
            ("s", "s", "21.5", None),
        ],
    ),
    (
        "several measures, each with its own time or none",
        [{"t": 1, "TimeInstant": f"{DAY}.120+02:00"}, {"t": 2, "TimeInstant": DAY}, {"t": 3}],
        [
            ("t", "t", 1, None, {"time": f"{DAY}.120+02:00", "quality": []}),
            ("t", "t", 2, None, {"time": f"{DAY}Z", "quality": ["naive_time"]}),
            ("t", "t", 3, None, UNTIMED),
        ],
    ),
    *(
        (f"a time that is no ISO 8601: {time!r}", {"t": 1, "TimeInstant": time}, [("t", "t", 1, None, UNTIMED)])
        for time in ("yesterday", "", 1719828000, {}, [], None, True, "2024-13-01T10:00:00Z")
    ),
    (
        "ISO 8601 in its basic form, with a comma and without seconds",
        [{"t": 1, "TimeInstant": time} for time in ("20240701T100000Z", f"{DAY},5Z", "2024-07-01T10:00Z")],
        [("t", "t", 1, None, {"time": time}) for time in (f"{DAY}Z", f"{DAY}.5Z", f"{DAY}Z")],
    ),
    ("a fraction by its code", humidity(0.45, "C62"), [("relativeHumidity", "relative_humidity", 45.0, "%RH")]),
    ("a fraction by the data model", humidity(0.45), [("relativeHumidity", "relative_humidity", 45.0, "%RH")]),
    ("a fraction in a flat measure", {"relativeHumidity": 0.45}, [("relativeHumidity", "relative_humidity", 45.0, "%RH")]),
    ("per cent already", humidity(0.45, "P1"), [("relativeHumidity", "relative_humidity", 0.45, "%RH")]),
    ("per cent already, flat", {"relativeHumidity": 45}, [("relativeHumidity", "relative_humidity", 45, "%RH")]),
    (
        "unit codes",
        {
            name: {"type": "Property", "value": 50, "unitCode": code}
            for name, code in {
                "temperature": "CEL",
                "airTemperature": "FAH",
                "atmosphericPressure": "A97",
                "pm25": "GQ",
                "so2": "GP",
                "batteryLevel": "P1",
                "soilMoisture": "P1",
                "odd": "ZZ9",
            }.items()
        },
        [
            ("temperature", "temperature", 50, "Cel"),
            ("airTemperature", "temperature", 10.0, "Cel"),
            ("atmosphericPressure", "pressure", 50, "hPa"),
            ("pm25", "pm25", 50, "ug/m3"),
            ("so2", "so2", 50, "mg/m3"),
            ("batteryLevel", "battery_level", 50, "%EL"),
            ("soilMoisture", "soil_moisture", 50, "/100"),
            ("odd", "odd", 50, None, {"attributes": {"unit_code": "ZZ9"}}),
        ],
    ),
    (
        "observedAt goes before TimeInstant, and a bad one is ignored",
        {
            "TimeInstant": f"{DAY}Z",
            "a": {"type": "Property", "value": 1, "observedAt": "2024-06-30T10:00:00Z"},
            "b": {"type": "Property", "value": 2, "observedAt": "x"},
        },
        [("a", "a", 1, None, {"time": "2024-06-30T10:00:00Z"}), ("b", "b", 2, None, {"time": f"{DAY}Z"})],
    ),
]


@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_measure_gives_these_readings(printed: Any, payload: Any, expected: Any) -> None:
    printed.check(expected, TOPIC, payload)


@pytest.mark.parametrize("topic", [TOPIC, TOPIC[1:], "/key/dev1/attrs", "key/dev1/attrs"])
@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("0", 0),
        ("false", False),
        ("-2.50", -2.5),
        ('"x"', "x"),
        ("hello", "hello"),
        ("+5", "+5"),
        (str(2**64), 2**64),
        (" 1 ", 1),
    ],
)
def test_a_bare_value_is_of_the_attribute_that_the_topic_names(printed: Any, topic: str, payload: str, value: Any) -> None:
    printed.check([("temperature", "temperature", value, None, {"device": "dev1"})], f"{topic}/temperature", payload)


@pytest.mark.parametrize("payload", ["null", "NaN", "Infinity", "-inf", ""])
def test_a_bare_value_that_is_none_gives_nothing(printed: Any, payload: str) -> None:
    assert printed(f"{TOPIC}/temperature", payload) == []


@pytest.mark.parametrize("topic", ["/json/key/dev1/cmd", "/json/key/dev1/cmdexe", "/json/key/dev1/configuration/values"])
def test_commands_and_configuration_hold_no_reading(printed: Any, topic: str) -> None:
    assert printed(topic, {"t": 1}) == []
