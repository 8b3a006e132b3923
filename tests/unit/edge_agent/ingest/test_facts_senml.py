"""What the description of format `senml` promises, case by case."""

from decimal import Decimal
from typing import Any

import cbor2
import pytest

FORMAT = "senml"
TOPIC = "farm/a"
NAIVE: dict[str, Any] = {"time": None, "quality": ["no_time"]}


def relative(offset: float) -> dict[str, Any]:
    return {"time": None, "quality": ["no_time", "relative_time"], "attributes": {"seconds_from_now": offset}}


CASES: list[tuple[str, str, list[tuple[Any, ...]]]] = [
    (
        "every base field stands until another replaces it",
        '[{"bn":"d:","bt":1719828000,"bu":"V","bv":20,"bs":100,"n":"a","v":1,"s":5},{"n":"b","v":0},'
        '{"bn":"e:","bt":1719828100,"bu":"A","bv":0,"n":"c","v":2,"t":-0.5},{"n":"d","u":"W","v":3}]',
        [
            ("d:a", "a", 21, "V", {"device": "d", "time": "2024-07-01T10:00:00Z"}),
            ("d:a.sum", "a", 105, None),
            ("d:b", "b", 20, "V"),
            ("d:b.sum", "b", 100, None),
            ("e:c", "c", 2, "A", {"device": "e", "time": "2024-07-01T10:01:39.5Z"}),
            ("e:c.sum", "c", 100, "C"),
            ("e:d", "d", 3, "W", {"time": "2024-07-01T10:01:40Z"}),
            ("e:d.sum", "d", 100, "J"),
        ],
    ),
    (
        "it is the sum of the times that tells whether they are relative",
        '[{"bn":"d:","bt":268435455,"n":"a","v":1},{"n":"b","t":1,"v":2},{"bt":1719828000,"n":"c","t":-1719827990,"v":3},'
        '{"bt":0,"n":"d","t":-10,"v":4},{"n":"e","v":5}]',
        [
            ("d:a", "a", 1, None, relative(268435455)),
            ("d:b", "b", 2, None, {"time": "1978-07-04T21:24:16Z", "quality": []}),
            ("d:c", "c", 3, None, relative(10)),
            ("d:d", "d", 4, None, relative(-10)),
            ("d:e", "e", 5, None, NAIVE),
        ],
    ),
    (
        "values of every kind, false and 0 and nothing among them",
        '[{"bn":"d:","n":"a","v":0},{"n":"b","vb":false},{"n":"c","vs":""},{"n":"e","vd":"-_8"},{"n":"f","v":null}]',
        [
            ("d:a", "a", 0, None),
            ("d:b", "b", False, None),
            ("d:c", "c", "", None),
            ("d:e", "e", "-_8", None),
        ],
    ),
    (
        "digits",
        '[{"bn":"d:","bv":0.1,"n":"a","v":0.2},{"bv":9007199254740992,"n":"b","v":1}]',
        [("d:a", "a", 0.3, None), ("d:b", "b", 9007199254740993, None)],
    ),
    (
        "the units that are converted",
        '[{"bn":"d:","n":"humidity","u":"/","v":0.45},{"n":"humidity","u":"%","v":1},{"n":"humidity","u":"%RH","v":0.4},'
        '{"n":"temperature","u":"degF","v":50},{"n":"pressure","u":"mmHg","v":750},{"n":"battery","u":"%EL","v":80}]',
        [
            ("d:humidity", "relative_humidity", 45.0, "%RH"),
            ("d:humidity", "relative_humidity", 100.0, "%RH"),
            ("d:humidity", "relative_humidity", 0.4, "%RH"),
            ("d:temperature", "temperature", 10.0, "Cel"),
            ("d:pressure", "pressure", 999.917906, "hPa"),
            ("d:battery", "battery_level", 80, "%EL"),
        ],
    ),
    (
        "a ratio that is no humidity, or none of 0 to 1, stays one",
        '[{"bn":"d:","n":"valve","u":"%","v":0.5},{"n":"humidity","u":"/","v":45}]',
        [("d:valve", "valve", 0.5, "/"), ("d:humidity", "relative_humidity", 45, "/")],
    ),
    ("a label that nobody knows", '[{"n":"a","v":1,"foo":{"v":2},"_x":3}]', [("a", "a", 1, None, {"device": TOPIC})]),
]


@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_pack_gives_these_readings(printed: Any, payload: str, expected: Any) -> None:
    printed.check(expected, TOPIC, payload)


def test_cbor_has_labels_decimal_fractions_and_numbers_that_are_none(printed: Any) -> None:
    pack = [
        {-1: 10, -2: "d:", -3: Decimal("1719828000.001"), -4: "V", -5: Decimal("0.1"), 0: "a", 2: Decimal("0.2")},
        {0: "b", 2: float("nan")},
        {-5: 0, 0: "c", 1: "Cel", 2: Decimal("273.15"), 6: -1, 7: 60},
        {0: "d", 3: "x"},
        {0: "e", 4: False},
        {-6: 1, 0: "f", 5: Decimal("0.5")},
        {0: "g", 8: b"\xfb\xff"},
        {0: "h", 2: 2**70},
    ]
    expected = [
        ("d:a", "a", 0.3, "V", {"time": "2024-07-01T10:00:00.001Z"}),
        ("d:c", "c", 273.15, "Cel", {"time": "2024-07-01T09:59:59.001Z", "attributes": {"update_time": 60}}),
        ("d:d", "d", "x", None),
        ("d:e", "e", False, None),
        ("d:f", "f", 1.5, None, {"attributes": {"sum_of": "V"}}),
        ("d:g", "g", "-_8", None),
        ("d:g.sum", "g", 1, None),
        ("d:h", "h", 2**70, "V"),
        ("d:h.sum", "h", 1, None),
    ]
    for content_type in ("application/senml+cbor", "application/cbor", None):
        printed.check(expected, TOPIC, cbor2.dumps(pack), content_type=content_type)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'[{"bver":11,"n":"a","v":1}]', "unknown_version"),
        (b'[{"n":"a","v":1},{"bver":99,"n":"b","v":1}]', "unknown_version"),
        (cbor2.dumps([{-1: 11, 0: "a", 2: 1}]), "unknown_version"),
        (b'[{"n":"a","v":1,"must_":1}]', "wrong_shape"),
        (b'[{"bn":"d:","must_":1},{"n":"a","v":1}]', "wrong_shape"),
        (cbor2.dumps([{0: "a", 2: 1, "must_": 5}]), "wrong_shape"),
        (b'{"n":"a","v":1}', "wrong_shape"),
        (b'[{"n":"a","v":true}]', "wrong_shape"),
        (b'[{"n":"a","v":NaN}]', "not_json"),
        (b"[" * 30_000, "too_deep"),
        (b"\x81" * 30_000, "too_deep"),
        (b"", "not_json"),
        (b"\xff", "not_utf8"),
    ],
)
def test_what_breaks_the_rules_is_a_dead_letter(printed: Any, payload: bytes, reason: str) -> None:
    assert printed.refused(TOPIC, payload) == reason
