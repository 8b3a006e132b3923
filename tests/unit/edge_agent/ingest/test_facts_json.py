"""What the description of format `json` promises, case by case."""

from decimal import Decimal
from typing import Any

import cbor2
import msgspec
import pytest

FORMAT = "json"
TOPIC = "farm/north/weather"
DAY = "2024-07-01T10:00:00"


def time(text: str, *flags: str) -> dict[str, Any]:
    return {"time": text, "quality": list(flags)}


CASES: list[tuple[str, str, list[tuple[Any, ...]]]] = [
    (
        "arrays and objects by path",
        '{"a":{"b":[1,{"c":"x"}]},"switch:0":{"apower":2.5},"d":[[false]]}',
        [
            ("a.b.0", "b", 1, None),
            ("a.b.1.c", "c", "x", None),
            ("switch:0.apower", "power", 2.5, None),
            ("d.0.0", "d", False, None),
        ],
    ),
    (
        "integers of any size",
        '{"a":9007199254740993,"b":9223372036854775808,"c":-9223372036854775809,"d":18446744073709551616,"e":123456789012345678901234567890}',
        [
            ("a", "a", 2**53 + 1, None),
            ("b", "b", 2**63, None),
            ("c", "c", -(2**63) - 1, None),
            ("d", "d", 2**64, None),
            ("e", "e", 123456789012345678901234567890, None),
        ],
    ),
    (
        "0 and false",
        '{"temperature":0,"occupancy":false}',
        [("temperature", "temperature", 0, None), ("occupancy", "occupancy", False, None)],
    ),
    ("decimals", '{"x":0.1,"y":-0.0,"z":1e3}', [("x", "x", 0.1, None), ("y", "y", -0.0, None), ("z", "z", 1000.0, None)]),
    ("nulls", '{"x":null,"y":[null,1]}', [("y.1", "y", 1, None)]),
    ("texts", '{"x":"21.5","y":""}', [("x", "x", "21.5", None), ("y", "y", "", None)]),
    (
        "a bare number",
        "-5",
        [("value", "value", -5, None, {"device": TOPIC, "time": None, "quality": ["no_time"], "attributes": {}})],
    ),
    (
        "a unit that the quantity says",
        '{"humidity":40,"pH":7,"lux":3}',
        [("humidity", "relative_humidity", 40, "%RH"), ("pH", "ph", 7, "pH"), ("lux", "illuminance", 3, "lx")],
    ),
    ("an offset is kept", f'{{"time":"{DAY}.120+05:30","x":1}}', [("x", "x", 1, None, time(f"{DAY}.120+05:30"))]),
    ("no zone", f'{{"time":"{DAY}.5","x":1}}', [("x", "x", 1, None, time(f"{DAY}.5Z", "naive_time"))]),
    ("milliseconds", '{"time":1719828000007,"x":1}', [("x", "x", 1, None, time(f"{DAY}.007Z"))]),
    ("a leap second", '{"time":"2016-12-31T23:59:60Z","x":1}', [("x", "x", 1, None, time("2016-12-31T23:59:60Z"))]),
]


@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_payload_gives_these_readings(printed: Any, payload: str, expected: Any) -> None:
    printed.check(expected, TOPIC, payload)


DOCUMENT = {"a": [1, 2.5, False, "x", None], "n": float("nan"), "i": float("-inf"), "b63": 2**63, "time": f"{DAY}.120Z"}
LIKEWISE = [
    ("a.0", "a", 1, None, time(f"{DAY}.120Z")),
    ("a.1", "a", 2.5, None),
    ("a.2", "a", False, None),
    ("a.3", "a", "x", None),
    ("b63", "b63", 2**63, None),
]


@pytest.mark.parametrize(
    ("content_type", "encode"),
    [
        ("application/cbor", cbor2.dumps),
        ("Application/CBOR; x=1", cbor2.dumps),
        ("application/vnd.farm+cbor", cbor2.dumps),
        ("application/msgpack", msgspec.msgpack.encode),
        ("application/x-msgpack", msgspec.msgpack.encode),
        ("application/vnd.msgpack", msgspec.msgpack.encode),
    ],
)
def test_cbor_and_messagepack_are_read_likewise_and_what_is_no_number_spares_the_others(
    printed: Any, content_type: str, encode: Any
) -> None:
    printed.check(LIKEWISE, TOPIC, encode(DOCUMENT), content_type=content_type)
    assert printed.refused(TOPIC, encode(DOCUMENT)[:-1], content_type=content_type).startswith("not_")


@pytest.mark.parametrize(
    ("number", "value"),
    [(Decimal("273.15"), 273.15), (Decimal("1E+2"), 100), (2**70, 2**70), (-(2**64) - 1, -(2**64) - 1), (1.5, 1.5)],
)
def test_numbers_of_cbor_keep_their_digits(printed: Any, number: Any, value: Any) -> None:
    printed.check([("x", "x", value, None)], TOPIC, cbor2.dumps({"x": number}), content_type="application/cbor")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b" \n", "not_json"),
        (b'{"a":-Infinity}', "not_json"),
        (b"{'a':1}", "not_json"),
        (b'{"a":1,}', "not_json"),
        (b'{"a":01}', "not_json"),
        (b"\x00", "not_json"),
        (b'{"a":"\\ud800"}', "not_json"),
        (b'{"a":"\xed\xa0\x80"}', "not_utf8"),
        (b"\xff\xfe{}", "not_utf8"),
        (b'{"a":' * 30_000 + b"1" + b"}" * 30_000, "too_deep"),
        (b"[" * 30_000, "too_deep"),
    ],
)
def test_what_is_no_json_is_a_dead_letter(printed: Any, payload: bytes, reason: str) -> None:
    assert printed.refused(TOPIC, payload) == reason


def test_the_place_of_what_is_not_utf8_is_that_in_the_payload(printed: Any) -> None:
    assert printed(TOPIC, b'{"a":"\xff"}')[0]["detail"].startswith("byte 6:")
