from decimal import Decimal
from typing import Any

import cbor2
import msgspec
import pytest
from cbor2 import CBORTag as Tag

from edge_agent.ingest.binary_document import parse_binary
from edge_agent.ingest.content_type import Encoding
from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.formats import Ingest
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

SETTINGS = IngestSettings(topic="#")


def cbor(payload: bytes) -> Any:
    return parse_binary(SETTINGS, payload, Encoding.CBOR)


def msgpack(payload: bytes) -> Any:
    return parse_binary(SETTINGS, payload, Encoding.MSGPACK)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (2**53 + 1, 9007199254740993),
        (2**64 + 1, 18446744073709551617),
        (-(2**64) - 1, -18446744073709551617),
        (0, 0),
        (False, False),
        (None, None),
        (cbor2.undefined, None),
        (cbor2.CBORSimpleValue(16), None),
        (21.5, Decimal("21.5")),
        (b"\xfb\xff", "-_8"),
        (Tag(4, [-2, 27315]), Decimal("273.15")),
        (Tag(4, [-20, 2**64 + 1]), Decimal("0.18446744073709551617")),
        (Tag(4, [2, 5]), 500),
        (Tag(5, [-1, 3]), Decimal("1.5")),
        (Tag(5, [3, 3]), 24),
        (Tag(0, "2024-01-01T00:00:00.123456789Z"), "2024-01-01T00:00:00.123456789Z"),
        (Tag(1, 1700000000.5), Decimal("1700000000.5")),
        (Tag(35, "(unclosed"), "(unclosed"),
        (Tag(258, [1, 2]), [1, 2]),
        (Tag(55799, 1), 1),
        (Tag(4711, "x"), "x"),
        ({1: 2, b"\xff": 3, "a": [4]}, {"1": 2, "_w": 3, "a": [4]}),
    ],
)
def test_cbor_becomes_what_json_could_say_and_keeps_every_digit(value: object, read: object) -> None:
    document = cbor(cbor2.dumps(value))
    assert document == read
    assert type(document) is type(read)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", Reason.NOT_CBOR),
        ("0000", Reason.NOT_CBOR),  # two documents
        ("9f9f9f", Reason.NOT_CBOR),  # indefinite lengths that never end
        ("9b7fffffffffffffff", Reason.NOT_CBOR),  # declares more than there is
        ("bb7fffffffffffffff", Reason.NOT_CBOR),
        ("5b7fffffffffffffff", Reason.NOT_CBOR),
        ("ff", Reason.NOT_CBOR),
        ("1c", Reason.NOT_CBOR),
        ("d81c81d81d00", Reason.NOT_CBOR),  # a list that holds itself
        ("d81c8101", Reason.NOT_CBOR),
        ("d9010082636161 61d81900".replace(" ", ""), Reason.NOT_CBOR),
        ("a1c24901000000000000000100", Reason.NOT_CBOR),  # a big integer as a key
        ("a2616101616102", Reason.NOT_CBOR),  # the same key twice
        ("a26131010102", Reason.WRONG_SHAPE),  # "1" and 1
        ("a1810100", Reason.WRONG_SHAPE),
        ("a1f600", Reason.WRONG_SHAPE),
        ("c483200102", Reason.NOT_CBOR),
        ("c482616101", Reason.NOT_CBOR),
        ("c2616101"[:6], Reason.NOT_CBOR),
        ("c4821a3b9aca0001", Reason.NOT_FINITE),  # 1E+1000000000
        ("c4823a3b9aca0001", Reason.NOT_FINITE),
        ("c5821a3b9aca0003", Reason.NOT_FINITE),
        ("61ff", Reason.NOT_UTF8),
        ("63eda080", Reason.NOT_UTF8),  # a surrogate
    ],
)
def test_cbor_that_cannot_be_read_is_a_dead_letter_with_its_reason(payload: str, reason: Reason) -> None:
    letter = cbor(bytes.fromhex(payload))
    assert isinstance(letter, DeadLetter), letter
    assert letter.reason is reason
    assert letter.detail


@pytest.mark.parametrize(
    ("payload", "encoding"),
    [
        ("83f97e0001f97c00", Encoding.CBOR),
        ("83fb7ff800000000000001fbfff0000000000000", Encoding.CBOR),
        ("93cb7ff800000000000001ca7f800000", Encoding.MSGPACK),
    ],
)
def test_a_number_that_is_none_is_null_and_spares_the_others(payload: str, encoding: Encoding) -> None:
    assert parse_binary(SETTINGS, bytes.fromhex(payload), encoding) == [None, 1, None]


@pytest.mark.parametrize("encoding", [Encoding.CBOR, Encoding.MSGPACK])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda one, _: one * 33 + b"\x00", Reason.TOO_DEEP),
        (lambda one, _: one * 30_000 + b"\x00", Reason.TOO_DEEP),
        (lambda _, dumps: dumps([0] * 10_001), Reason.TOO_MANY_VALUES),
        (lambda _, dumps: dumps("x" * (256 * 1024)), Reason.TOO_LARGE),
        (lambda _, dumps: dumps({"k" * 5_000: ["y" * 12_000, 1]}), Reason.TOO_LARGE),
    ],
)
def test_the_limits_are_those_of_json(encoding: Encoding, make: Any, reason: Reason) -> None:
    one, dumps = (b"\x81", cbor2.dumps) if encoding is Encoding.CBOR else (b"\x91", msgspec.msgpack.encode)
    letter = parse_binary(SETTINGS, make(one, dumps), encoding)
    assert isinstance(letter, DeadLetter)
    assert letter.reason is reason
    assert not isinstance(parse_binary(SETTINGS, one * 32 + b"\x00", encoding), DeadLetter)
    assert len(parse_binary(SETTINGS, dumps([0] * 10_000), encoding)) == 10_000


def test_tags_are_no_nesting() -> None:
    assert cbor(b"\x81" * 31 + cbor2.dumps([Tag(4, [-1, 5])])) != []
    assert isinstance(cbor(b"\xd8\x7f" * 30_000 + b"\x00"), DeadLetter)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", Reason.NOT_MSGPACK),
        ("c1", Reason.NOT_MSGPACK),
        ("0000", Reason.NOT_MSGPACK),
        ("ddffffffff", Reason.NOT_MSGPACK),
        ("dfffffffff", Reason.NOT_MSGPACK),
        ("c6ffffffff", Reason.NOT_MSGPACK),
        ("d7ffffffffffffffffff", Reason.NOT_MSGPACK),  # an impossible timestamp
        ("a1ff", Reason.NOT_UTF8),
        ("81910102", Reason.WRONG_SHAPE),
    ],
)
def test_messagepack_that_cannot_be_read_is_a_dead_letter_with_its_reason(payload: str, reason: Reason) -> None:
    letter = msgpack(bytes.fromhex(payload))
    assert isinstance(letter, DeadLetter), letter
    assert letter.reason is reason


@pytest.mark.parametrize(
    ("payload", "read"),
    [
        ("cfffffffffffffffff", 2**64 - 1),
        ("cb4035800000000000", Decimal("21.5")),
        ("c402fbff", "-_8"),
        ("d405ff", "_w"),  # an extension type
        ("d6ff6553f100", "2023-11-14T22:13:20Z"),  # the timestamp type
        ("8101c2", {"1": False}),
    ],
)
def test_messagepack_becomes_what_json_could_say(payload: str, read: object) -> None:
    assert msgpack(bytes.fromhex(payload)) == read


@pytest.mark.parametrize(
    ("content_type", "payload"),
    [
        ("application/cbor", cbor2.dumps({"t": 21.5, "n": 2**64 + 1, "time": Tag(1, 1700000000)})),
        ("Application/CBOR; version=1", cbor2.dumps({"t": Tag(4, [-1, 215]), "n": 2**64 + 1, "time": 1700000000})),
        ("application/vnd.acme+cbor", cbor2.dumps({"t": 21.5, "n": 2**64 + 1, "time": 1700000000.0})),
        ("application/msgpack", msgspec.msgpack.encode({"t": 21.5, "n": 2**53 + 1, "time": 1700000000})),
        ("APPLICATION/X-MSGPACK;a=b", msgspec.msgpack.encode({"t": 21.5, "n": 2**53 + 1, "time": 1700000000})),
        ("application/json", b'{"t": 21.5, "n": 18446744073709551617, "time": 1700000000}'),
        ("nonsense", b'{"t": 21.5, "n": 18446744073709551617, "time": 1700000000}'),
    ],
)
def test_the_json_format_reads_them_by_content_type(content_type: str, payload: bytes) -> None:
    decoded = Ingest(SETTINGS).decode("farm/a", payload, {"content_type": content_type})
    assert isinstance(decoded, Decoded), decoded
    temperature, number = decoded.events
    assert (temperature.name, temperature.value, type(temperature.value)) == ("t", 21.5, float)  # type: ignore[union-attr]
    assert number.value in (2**64 + 1, 2**53 + 1)  # type: ignore[union-attr]
    assert decoded.time == "2023-11-14T22:13:20Z"


def test_the_device_comes_from_a_path_as_in_json() -> None:
    settings = IngestSettings(topic="#", device_path="1.2", values={"x": "3.0"})
    decoded = Ingest(settings).decode("t", cbor2.dumps({1: {2: "s7"}, 3: [False]}), {"content_type": "application/cbor"})
    assert isinstance(decoded, Decoded)
    (reading,) = decoded.events
    assert (reading.device, reading.name, reading.value) == ("s7", "x", False)  # type: ignore[union-attr]


def test_a_time_in_cbor_keeps_its_digits() -> None:
    payload = cbor2.dumps({"x": 1, "time": Tag(4, [-9, 1700000000123456789])})
    decoded = Ingest(SETTINGS).decode("t", payload, {"content_type": "application/cbor"})
    assert isinstance(decoded, Decoded)
    assert decoded.time == "2023-11-14T22:13:20.123456789Z"
