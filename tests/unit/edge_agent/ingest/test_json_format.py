from collections.abc import Mapping
from typing import Any

import pytest

from edge_agent.ingest.events import DeadLetter, Decoded, Reading
from edge_agent.ingest.formats import decode
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason


def read(payload: bytes | str, topic: str = "farm/north/weather", **settings: Any) -> list[Reading]:
    data = payload.encode() if isinstance(payload, str) else payload
    decoded = decode(IngestSettings(topic="#", **settings), topic, data)
    assert isinstance(decoded, Decoded), decoded
    assert all(isinstance(event, Reading) for event in decoded.events)
    return list(decoded.events)  # type: ignore[arg-type]


def refuse(payload: bytes | str, **settings: Any) -> Reason:
    data = payload.encode() if isinstance(payload, str) else payload
    letter = decode(IngestSettings(topic="#", **settings), "t", data)
    assert isinstance(letter, DeadLetter), letter
    return letter.reason


def by_name(readings: list[Reading]) -> Mapping[str, Any]:
    return {reading.name: reading.value for reading in readings}


def test_every_leaf_is_a_reading_named_by_its_path() -> None:
    readings = read('{"a": {"b": [1, {"c": "x"}], "d": true}, "switch:0": {"apower": 2.5}, "e": 0}')
    assert by_name(readings) == {"a.b.0": 1, "a.b.1.c": "x", "a.d": True, "switch:0.apower": 2.5, "e": 0}
    assert [reading.name for reading in readings] == ["a.b.0", "a.b.1.c", "a.d", "switch:0.apower", "e"]


def test_false_and_zero_are_values_and_null_is_none() -> None:
    assert by_name(read('{"a": false, "b": 0, "c": null, "d": [null]}')) == {"a": False, "b": 0}


def test_an_integer_beyond_the_floats_keeps_its_last_digit() -> None:
    assert by_name(read('{"total": 9007199254740993, "huge": 123456789012345678901234567890}')) == {
        "total": 9007199254740993,
        "huge": 123456789012345678901234567890,
    }


def test_id_time_and_device_are_no_readings() -> None:
    payload = '{"id": 7, "time": "2024-05-01T10:00:00Z", "sensor": "s1", "temperature": 3.5}'
    (reading,) = read(payload, device_path="sensor")
    assert reading == Reading("s1", "temperature", 3.5, None, "2024-05-01T10:00:00Z", "temperature")


def test_configured_paths_alone_are_read_under_their_names() -> None:
    readings = read(
        '{"object": {"temp": 21.5, "hum": 40}, "x.y": {"z": 5}, "list": [1, 2]}',
        values={"air": "object.temp", "dotted": "x.y.z", "second": "list.1", "gone": "object.nothing", "whole": "object"},
        units={"air": "Cel"},
    )
    assert by_name(readings) == {"air": 21.5, "dotted": 5, "second": 2}
    assert (readings[0].quantity, readings[0].unit) == ("temperature", "Cel")


@pytest.mark.parametrize(
    ("name", "quantity", "unit"),
    [
        ("humidity", "relative_humidity", "%RH"),
        ("soilMoisture", "soil_moisture", None),
        ("BME280.Temperature", "temperature", None),
        ("nitrateLevel", "nitrateLevel", None),
    ],
)
def test_known_words_become_the_fields_quantities(name: str, quantity: str, unit: str | None) -> None:
    outer, _, inner = name.rpartition(".")
    payload = f'{{"{outer}": {{"{inner}": 1}}}}' if outer else f'{{"{inner}": 1}}'
    (reading,) = read(payload)
    assert (reading.name, reading.quantity, reading.unit) == (name, quantity, unit)


def test_the_device_comes_from_path_or_topic_level_or_topic() -> None:
    assert read('{"x": 1}')[0].device == "farm/north/weather"
    assert read('{"x": 1}', device_level=1)[0].device == "north"
    assert read('{"x": 1}', device_level=9)[0].device == "farm/north/weather"
    assert read('{"x": 1, "dev": 12}', device_path="dev")[0].device == "12"
    assert read('{"x": 1}', device_path="dev")[0].device == "farm/north/weather"


def test_a_payload_without_a_time_is_flagged() -> None:
    (reading,) = read('{"x": 1, "time": null}')
    assert (reading.time, reading.quality) == (None, ("no_time",))


def test_a_time_without_a_zone_is_read_in_the_configured_one() -> None:
    (reading,) = read('{"x": 1, "time": "2024-07-01T10:00:00.5"}', naive_zone="Europe/Rome")
    assert (reading.time, reading.quality) == ("2024-07-01T10:00:00.5+02:00", ("naive_time",))


def test_the_digits_of_a_fractional_epoch_time_are_kept() -> None:
    (reading,) = read('{"x": 1, "time": 1700000000.123456789}')
    assert reading.time == "2023-11-14T22:13:20.123456789Z"


@pytest.mark.parametrize("time", ['"yesterday"', "true", "{}", "[1]", '""', "1e300", '"2024-13-01T00:00:00Z"', "1e16"])
def test_a_time_that_cannot_be_read_is_a_dead_letter(time: str) -> None:
    assert refuse(f'{{"x": 1, "time": {time}}}') is Reason.BAD_TIME


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"a": NaN}', Reason.NOT_JSON),
        (b"", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b"1 2", Reason.NOT_JSON),
        (b"[" * 30_000 + b"]" * 30_000, Reason.TOO_DEEP),
        (b"[" * 33 + b"]" * 33, Reason.TOO_DEEP),
        (b'{"a": "\xff"}', Reason.NOT_UTF8),
        (b'{"a": 1e999}', Reason.NOT_FINITE),
        (b"[" + b"1," * 10_000 + b"1]", Reason.TOO_MANY_VALUES),
        (b"[" + b"[]," * 10_000 + b"{}]", Reason.TOO_MANY_VALUES),
        (b'"' + b"x" * (256 * 1024) + b'"', Reason.TOO_LARGE),
        (b'{"%s": [%s1]}' % (b"k" * 100_000, b"1," * 9_000), Reason.TOO_LARGE),  # each reading would repeat the key
    ],
)
def test_what_cannot_be_read_is_a_dead_letter_with_its_reason(payload: bytes, reason: Reason) -> None:
    assert refuse(payload) is reason


def test_the_limits_themselves_are_allowed() -> None:
    assert read(b"[" * 32 + b"]" * 32) == []
    assert len(read(b"[" + b"1," * 9_999 + b"1]")) == 10_000


def test_brackets_inside_texts_are_not_nesting() -> None:
    assert by_name(read('{"a": "%s"}' % ("[" * 100))) == {"a": "[" * 100}


def test_a_bare_value_is_one_reading() -> None:
    assert by_name(read("21.5")) == {"value": 21.5}
    assert read("null") == []
