from typing import Any

import cbor2
import msgspec
import pytest
from cbor2 import CBORTag as Tag
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest.binary_document import parse_binary
from edge_agent.ingest.binary_scan import SCANNED_FROM, Shape, scan
from edge_agent.ingest.content_type import Encoding
from edge_agent.ingest.events import DeadLetter
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

CBOR, MSGPACK = Encoding.CBOR, Encoding.MSGPACK
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 2**60), inner))


def count(document: Any) -> int:
    if isinstance(document, dict | list) and document:
        return sum(map(count, document.values() if isinstance(document, dict) else document))
    return 1


def keys(document: Any) -> int:
    if isinstance(document, dict):
        return len(document) + sum(map(keys, document.values()))
    return sum(map(keys, document)) if isinstance(document, list) else 0


@given(document=DOCUMENTS)
def test_the_walk_counts_what_the_libraries_write(document: Any) -> None:
    shape = Shape(count(document) + keys(document), True)
    assert scan(msgspec.msgpack.encode(document), MSGPACK, 10**6) == shape
    assert scan(cbor2.dumps(document), CBOR, 10**6) == shape


@given(payload=st.binary())
def test_any_bytes_end_the_walk(payload: bytes) -> None:
    for encoding in (CBOR, MSGPACK):
        assert scan(payload, encoding, 10**6).values <= len(payload)


@pytest.mark.parametrize(
    ("payload", "encoding", "shape"),
    [
        ("9f0102ff", CBOR, Shape(2, True)),
        ("bf616101616202ff", CBOR, Shape(4, True)),
        ("7f6161ff", CBOR, Shape(1, True)),
        ("9f01", CBOR, Shape(1, True)),  # never ends
        ("ff", CBOR, Shape(0, True)),
        ("8201ff", CBOR, Shape(1, True)),  # a break where none belongs
        ("9bffffffffffffffff", CBOR, Shape(0, True)),
        ("c48221196ab3", CBOR, Shape(2, True)),
        ("a1810100", CBOR, Shape(0, False)),
        ("a1c2410100", CBOR, Shape(0, False)),  # a tag as a key
        ("a1f500", CBOR, Shape(0, False)),
        ("a2010281a10203a1810100", CBOR, Shape(2, False)),
        ("81910100", MSGPACK, Shape(0, False)),
        ("81c000", MSGPACK, Shape(0, False)),
        ("81d4050000", MSGPACK, Shape(0, False)),
        ("81ca0000000000", MSGPACK, Shape(0, False)),
        ("92c1", MSGPACK, Shape(0, True)),
    ],
)
def test_keys_and_ends(payload: str, encoding: Encoding, shape: Shape) -> None:
    assert scan(bytes.fromhex(payload), encoding, 10**6) == shape


@pytest.mark.parametrize("encoding", [CBOR, MSGPACK])
def test_a_large_payload_with_keys_that_could_collide_is_refused_before_it_is_built(encoding: Encoding) -> None:
    # in Python all of these arrays of -1 and -2 have one hash
    pairs = [[-1 - (number >> bit & 1) for bit in range(12)] for number in range(1 << 10)]
    dumps = cbor2.dumps if encoding is CBOR else msgspec.msgpack.encode
    head = bytes.fromhex("b90400") if encoding is CBOR else bytes.fromhex("de0400")
    payload = head + b"".join(dumps(pair) + b"\x00" for pair in pairs)
    assert len(payload) > SCANNED_FROM
    letter = parse_binary(IngestSettings(topic="#"), payload, encoding)
    assert letter == DeadLetter(Reason.WRONG_SHAPE, "a map's key is neither a text nor an integer")


def test_fractions_count_once() -> None:
    settings = IngestSettings(topic="#")
    assert len(parse_binary(settings, cbor2.dumps([Tag(4, [-1, 5])] * 10_000), CBOR)) == 10_000
    letter = parse_binary(settings, cbor2.dumps([Tag(4, [-1, 5])] * 10_001), CBOR)
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.TOO_MANY_VALUES
