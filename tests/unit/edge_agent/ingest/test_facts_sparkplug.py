"""What the description of format `sparkplug` promises, case by case; the messages are written by their field numbers."""

import struct
from typing import Any

import pytest

FORMAT = "sparkplug"
GROUP = "spBv1.0/farm/"
NBIRTH, NDATA, NDEATH = f"{GROUP}NBIRTH/n1", f"{GROUP}NDATA/n1", f"{GROUP}NDEATH/n1"
DBIRTH, DDATA, DDEATH = f"{GROUP}DBIRTH/n1/d1", f"{GROUP}DDATA/n1/d1", f"{GROUP}DDEATH/n1/d1"
STAMP = 1719828000123
TIME = "2024-07-01T10:00:00.123Z"
FLOAT, DOUBLE, BOOLEAN, STRING = 9, 10, 11, 12
INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64 = range(1, 9)
_FIELDS = {"alias": 2, "timestamp": 3, "datatype": 4, "historical": 5, "transient": 6, "null": 7, "i": 10, "l": 11, "b": 14}


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    text = b""
    while number > 127:
        text += bytes([number & 127 | 128])
        number >>= 7
    return text + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def metric(
    name: str | None = None, *, f: float | None = None, d: float | None = None, s: str | None = None, **numbers: int
) -> bytes:
    """A metric; `i` and `l` are its int_value and long_value, which a negative number fills as two's complement."""
    text = b"" if name is None else field(1, name.encode())
    for key, number in numbers.items():
        text += field(_FIELDS[key], number & 0xFFFF_FFFF if key == "i" else number)
    if f is not None:
        text += varint(12 << 3 | 5) + struct.pack("<f", f)
    if d is not None:
        text += varint(13 << 3 | 1) + struct.pack("<d", d)
    return text if s is None else text + field(15, s.encode())


def message(*metrics: bytes, seq: int | None = 1, stamp: int | None = STAMP) -> bytes:
    text = b"" if stamp is None else field(1, stamp)
    text += b"".join(field(2, item) for item in metrics)
    return text if seq is None else text + field(3, seq)


def session(number: int) -> bytes:
    return metric("bdSeq", datatype=UINT64, l=number)


NODE = message(
    session(3),
    metric("Temp", alias=1, datatype=FLOAT, f=21.5),
    *(metric(f"m{datatype}", alias=10 + datatype, datatype=datatype, i=0) for datatype in range(INT8, UINT64 + 1)),
    seq=0,
)
DEVICE = message(metric("Soil/Moisture", alias=100, datatype=FLOAT, f=33.5), metric("low", alias=101, datatype=INT8, i=-5))
BORN = [(NBIRTH, NODE)]
BOTH = [*BORN, (DBIRTH, DEVICE)]
NODE_FACTS = {"device": "farm/n1", "time": TIME, "quality": []}
DEVICE_FACTS = {"device": "farm/n1/d1", "time": TIME, "quality": []}


def temp(value: Any, **facts: Any) -> tuple[Any, ...]:
    return "Temp", "temperature", value, None, NODE_FACTS | facts


CASES: list[tuple[str, list[tuple[str, bytes]], str, bytes, list[tuple[Any, ...]]]] = [
    ("a name and a datatype need no birth", [], NDATA, message(metric("Temp", datatype=FLOAT, f=1)), [temp(1.0)]),
    ("a name alone is known from the birth", BORN, NDATA, message(metric("m1", i=0xFB)), [("m1", "m1", -5, None)]),
    ("a float of 32 bits", BORN, NDATA, message(metric(alias=1, f=21.1)), [temp(21.1)]),
    (
        "false and 0",
        [],
        NBIRTH,
        message(session(1), metric("on", datatype=BOOLEAN, b=0), metric("x", datatype=INT32, i=0)),
        [("on", "on", False, None), ("x", "x", 0, None)],
    ),
    (
        "null",
        BORN,
        NDATA,
        message(metric(alias=1, null=1), metric(alias=11, i=1)),
        [temp(None, quality=["null"]), ("m1", "m1", 1, None)],
    ),
    ("null beside a value", BORN, NDATA, message(metric(alias=1, null=1, f=9)), [temp(None, quality=["null"])]),
    (
        "NaN and infinity spare the others",
        BORN,
        NDATA,
        message(metric(alias=1, f=float("nan")), metric("y", datatype=DOUBLE, d=float("-inf")), metric(alias=11, i=1)),
        [("m1", "m1", 1, None)],
    ),
    (
        "historical",
        BORN,
        NDATA,
        message(metric(alias=1, f=1, historical=1, timestamp=1719820000000), metric(alias=1, f=2)),
        [temp(1.0, quality=["historical"], time="2024-07-01T07:46:40Z"), temp(2.0)],
    ),
    ("transient", BORN, NDATA, message(metric(alias=1, f=1, transient=1)), [temp(1.0, attributes={"is_transient": True})]),
    ("no time", BORN, NDATA, message(metric(alias=1, f=1), stamp=None), [temp(1.0, time=None, quality=["no_time"])]),
    (
        "the last birth counts",
        [
            *BORN,
            (
                NBIRTH,
                message(
                    session(4), metric("Hum", alias=1, datatype=FLOAT, f=1), metric("Temp", alias=2, datatype=FLOAT, f=1), seq=0
                ),
            ),
        ],
        NDATA,
        message(metric(alias=1, f=51), metric(alias=2, f=2)),
        [("Hum", "relative_humidity", 51.0, "%RH"), temp(2.0)],
    ),
    (
        "a device",
        BOTH,
        DDATA,
        message(metric(alias=100, f=34), metric(alias=101, i=0xFF), seq=2),
        [("Soil/Moisture", "soil_moisture", 34.0, None, DEVICE_FACTS), ("low", "low", -1, None, DEVICE_FACTS)],
    ),
    ("a device's birth leaves the node's aliases", BOTH, NDATA, message(metric(alias=1, f=1), seq=2), [temp(1.0)]),
    (
        "a second device",
        [*BOTH, (f"{GROUP}DBIRTH/n1/d2", message(metric("Y", alias=200, datatype=FLOAT, f=1), seq=2))],
        f"{GROUP}DDATA/n1/d2",
        message(metric(alias=200, f=7), seq=3),
        [("Y", "Y", 7.0, None, {"device": "farm/n1/d2"})],
    ),
    (
        "the death of an earlier session",
        [*BORN, (NDEATH, message(session(2), seq=None))],
        NDATA,
        message(metric(alias=1, f=1)),
        [temp(1.0)],
    ),
    (
        "a birth after a death",
        [
            *BORN,
            (NDEATH, message(session(3), seq=None)),
            (NBIRTH, message(session(4), metric("Hum", alias=1, datatype=FLOAT, f=1), seq=7)),
        ],
        NDATA,
        message(metric(alias=1, f=1), seq=8),
        [("Hum", "relative_humidity", 1.0, "%RH")],
    ),
    (
        "a birth that knows no value yet",
        [(NBIRTH, message(session(1), metric("Temp", alias=1, datatype=FLOAT, null=1), seq=255))],
        NDATA,
        message(metric(alias=1, f=1), seq=0),
        [temp(1.0)],
    ),
    (
        "alias 0",
        [(NBIRTH, message(session(0), metric("Temp", alias=0, datatype=FLOAT, f=1), seq=0))],
        NDATA,
        message(metric(alias=0, f=2)),
        [temp(2.0)],
    ),
    (
        "an alias that the birth does not have spares the others",
        BORN,
        NDATA,
        message(metric(alias=99, f=2), metric(alias=1, f=1)),
        [temp(1.0, quality=["partial"])],
    ),
]


@pytest.mark.parametrize(
    ("prior", "topic", "payload", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_message_gives_these_readings(printed: Any, prior: Any, topic: str, payload: bytes, expected: Any) -> None:
    printed.check(expected, topic, payload, prior=prior)


@pytest.mark.parametrize(
    ("datatype", "sent", "value"),
    [
        (INT8, {"i": 0xFB}, -5),
        (INT8, {"i": -5}, -5),
        (INT8, {"l": -5}, -5),
        (INT8, {"l": 0xFB}, -5),
        (INT8, {"i": 127}, 127),
        (INT16, {"i": 0xFE0C}, -500),
        (INT16, {"i": -500}, -500),
        (INT16, {"l": -500}, -500),
        (INT32, {"i": -7}, -7),
        (INT32, {"l": -7}, -7),
        (INT32, {"l": 2**32 - 7}, -7),
        (INT64, {"l": -9}, -9),
        (INT64, {"i": -9}, -9),
        (INT64, {"l": 2**53 + 1}, 2**53 + 1),
        (UINT8, {"i": 255}, 255),
        (UINT16, {"i": 65535}, 65535),
        (UINT32, {"i": 2**32 - 1}, 2**32 - 1),
        (UINT32, {"l": 2**32 - 1}, 2**32 - 1),
        (UINT64, {"l": 2**64 - 1}, 2**64 - 1),
        (UINT64, {"l": 2**63}, 2**63),
    ],
)
def test_an_integer_of_either_width_is_read_by_the_datatype_of_the_birth(
    printed: Any, datatype: int, sent: Any, value: int
) -> None:
    expected = [(f"m{datatype}", f"m{datatype}", value, None, NODE_FACTS)]
    printed.check(expected, NDATA, message(metric(alias=10 + datatype, **sent)), prior=BORN)
    printed.check(expected, NBIRTH, message(session(9), metric(f"m{datatype}", datatype=datatype, **sent), seq=0))


@pytest.mark.parametrize(
    ("prior", "topic", "payload"),
    [
        ([], NDATA, message(metric(alias=1, f=1))),
        (BORN, f"{GROUP}NDATA/n2", message(metric(alias=1, f=1))),
        (BORN, "spBv1.0/other/NDATA/n1", message(metric(alias=1, f=1))),
        ([*BORN, (NDEATH, message(session(3), seq=None))], NDATA, message(metric(alias=1, f=1))),
        ([*BOTH, (DDEATH, message(seq=2))], DDATA, message(metric(alias=100, f=1), seq=3)),
        ([*BOTH, (NBIRTH, NODE)], DDATA, message(metric(alias=100, f=1))),
        (
            [*BORN, (NBIRTH, message(session(4), metric("Temp", alias=2, datatype=FLOAT, f=1), seq=0))],
            NDATA,
            message(metric(alias=1, f=1)),
        ),
    ],
)
def test_data_that_no_birth_explains_is_a_dead_letter(printed: Any, prior: Any, topic: str, payload: bytes) -> None:
    assert printed.refused(topic, payload, prior=prior) == "unknown_alias"


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (NDEATH, message(session(3), seq=None)),
        (DDEATH, message(seq=2)),
        (f"{GROUP}NCMD/n1", message(metric("Node Control/Rebirth", datatype=BOOLEAN, b=1), seq=None)),
        (f"{GROUP}DCMD/n1/d1", message(metric("Temp", datatype=FLOAT, f=1), seq=None)),
        ("spBv1.0/STATE/host", b'{"online":true,"timestamp":1719828000123}'),
        ("STATE/host", b"ONLINE"),
    ],
)
def test_deaths_commands_and_states_hold_no_reading(printed: Any, topic: str, payload: bytes) -> None:
    assert printed(topic, payload, prior=BOTH) == []


@pytest.mark.parametrize("payload", [b"\xff", b'{"a":1}', NODE[:-4], b"\x12\xff\xff\xff\x0f"])
def test_what_is_no_protobuf_is_a_dead_letter(printed: Any, payload: bytes) -> None:
    for topic in (NBIRTH, NDATA, DDATA, NDEATH):
        assert printed.refused(topic, payload, prior=BOTH) == "not_protobuf"
