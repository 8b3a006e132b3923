"""Messages made to exhaust a decoder: nested too deeply, lengths that lie, and little that becomes much."""

import json
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any, Final

from edge_agent.ingest.port import Message
from tests.fuzz.seeds import seeds_of

CBOR: Final = "application/cbor"
MSGPACK: Final = "application/msgpack"
SENML_CBOR: Final = "application/senml+cbor"

MAX_PLACES: Final = 20
"""Of a format's documents in which `bombs_of` puts something: chosen at random, and always the same."""

_LONG: Final = "x" * 100_000
_MANY: Final = ",".join(["1"] * 9_000)


def _long_number(digits: int) -> bytes:
    return b"1" * digits


JSON_TEXTS: Final[dict[str, bytes]] = {
    "arrays nested 30,000 deep": b"[" * 30_000 + b"]" * 30_000,
    "arrays that never close": b"[" * 200_000,
    "objects nested 30,000 deep": b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
    "10 MB": b'{"a": "' + b"x" * 10_000_000 + b'"}',
    "1e400": b'{"a": 1e400}',
    "-1e400 in an array": b"[-1e400]",
    "an exponent of nine digits": b'{"a": 1e-999999999, "b": 1E+999999999}',
    "an integer of 10,000 digits": b'{"a": ' + _long_number(10_000) + b', "time": ' + _long_number(10_000) + b"}",
    "an integer of 4,000 digits": b'{"a": ' + _long_number(4_000) + b', "time": ' + _long_number(4_000) + b"}",
    "a fraction of 100,000 digits": b'{"a": 0.' + _long_number(100_000) + b', "time": 1.' + _long_number(100_000) + b"}",
    "30,000 times the same key": b"{" + b",".join([b'"a":1'] * 30_000) + b"}",
    "a long key over 9,000 values": f'{{"{_LONG}": [{_MANY}]}}'.encode(),
    "long keys over long keys": (('{"' + "y" * 8_000 + '": ') * 20 + f"[{_MANY}]" + "}" * 20).encode(),
    "a long device and time over 9,000 values": (
        f'{{"id": "{_LONG}", "d": "{_LONG[:50_000]}", "time": "2024-05-01T10:00:00.{"1" * 50_000}Z", "v": [{_MANY}]}}'
    ).encode(),
    "a long device over 9,000 values": f'{{"id": "{_LONG}", "d": "{_LONG[:50_000]}", "v": [{_MANY}]}}'.encode(),
    "senml: a long base name for 9,000 records": (
        f'[{{"bn": "{_LONG}", "n": "a", "v": 1}}' + ',{"n":"b","v":1}' * 9_000 + "]"
    ).encode(),
    "senml: a new base name in each of 5,000 records": (
        "[" + ",".join(['{"bn":"abcdefgh","n":"b","v":1}'] * 5_000) + "]"
    ).encode(),
    "senml: sums beyond all floats": (
        b'[{"bn": "a", "bv": 1e308, "bs": 1e308, "bt": 1e308, "n": "b", "v": 1e308, "s": 1e308, "t": 1e308}]'
    ),
    "a lone surrogate": rb'{"a": "\ud800", "time": "\udfff"}',
    "control characters": rb'{"\u0000": "\u0000", "id": "\u0000"}',
}
BINARY: Final[dict[str, tuple[str, bytes]]] = {
    "cbor: arrays nested deeply": (CBOR, b"\x81" * 200_000 + b"\x00"),
    "cbor: open arrays nested deeply": (CBOR, b"\x9f" * 200_000),
    "cbor: maps nested deeply": (CBOR, b"\xa1\x00" * 100_000 + b"\x00"),
    "cbor: tags nested deeply": (CBOR, b"\xc6" * 200_000 + b"\x00"),
    "cbor: an array of 2^64 elements": (CBOR, b"\x9b" + b"\xff" * 8),
    "cbor: an array of 2^31 elements": (CBOR, b"\x9a\x7f\xff\xff\xff\x00"),
    "cbor: a map of 2^31 pairs": (CBOR, b"\xba\x7f\xff\xff\xff\x00\x00"),
    "cbor: a text of 2^40 bytes": (CBOR, b"\x7b\x00\x00\x01\x00\x00\x00\x00\x00a"),
    "cbor: an integer of 100,000 bytes": (CBOR, b"\xa1\x61a\xc2\x5a\x00\x01\x86\xa0" + b"\xff" * 100_000),
    "cbor: an integer of 2,000 bytes": (CBOR, b"\xa1\x61a\xc3\x59\x07\xd0" + b"\xff" * 2_000),
    "cbor: a decimal with an exponent of 2^62": (CBOR, b"\xa1\x61a\xc4\x82\x1b\x3f" + b"\xff" * 7 + b"\x01"),
    "cbor: a decimal with an exponent of a million": (CBOR, b"\xa1\x61a\xc4\x82\x1a\x00\x0f\x42\x40\x01"),
    "cbor: a binary float with an exponent of 2^31": (CBOR, b"\xa1\x61a\xc5\x82\x1a\x7f\xff\xff\xff\x01"),
    "cbor: a fraction over zero": (CBOR, b"\xa1\x61a\xd8\x1e\x82\x01\x00"),
    "cbor: a pattern that never ends": (CBOR, b"\xa1\x61a\xd8\x23\x78\x18" + b"(((a+)+)+)+$(((a+)+)+)+$"),
    "cbor: shared references in a ring": (CBOR, b"\xd8\x1c\x81\xd8\x1d\x00"),
    "cbor: shared references that double": (CBOR, b"\x82" + b"\xd8\x1c\x82" * 30 + b"\x00" + b"\xd8\x1d\x18\x1d" * 31),
    "cbor: a date of the year ten to the nineteen": (CBOR, b"\xa1\x61a\xc1\x1b" + b"\xff" * 8),
    "cbor: a date that is not a number": (CBOR, b"\xa1\x61a\xc1\xf9\x7e\x00"),
    "cbor: keys of all kinds": (CBOR, b"\xa4\x80\x01\xf6\x02\xfb\x7f\xf8\0\0\0\0\0\0\x03\xa0\x04"),
    "cbor: break alone": (CBOR, b"\xff"),
    "cbor: a long text as key over 9,000 values": (
        CBOR,
        b"\xa1\x7a\x00\x01\x86\xa0" + b"k" * 100_000 + b"\x99\x23\x28" + b"\x01" * 9_000,
    ),
    "senml: a long base name in cbor": (
        SENML_CBOR,
        b"\x99\x23\x28\xa3\x21\x7a\x00\x01\x86\xa0" + b"k" * 100_000 + b"\x00\x61a\x02\x01" + b"\xa2\x00\x61b\x02\x01" * 8_999,
    ),
    "senml: an exponent of 2^62 in cbor": (SENML_CBOR, b"\x81\xa2\x00\x61a\x02\xc4\x82\x1b\x3f" + b"\xff" * 7 + b"\x01"),
    "senml: a time with an exponent of a million": (
        SENML_CBOR,
        b"\x81\xa3\x00\x61a\x02\x01\x06\xc4\x82\x1a\x00\x0f\x42\x40\x01",
    ),
    "msgpack: arrays nested deeply": (MSGPACK, b"\x91" * 200_000 + b"\x00"),
    "msgpack: maps nested deeply": (MSGPACK, b"\x81\x00" * 100_000 + b"\x00"),
    "msgpack: an array of 2^32 elements": (MSGPACK, b"\xdd\xff\xff\xff\xff\x00"),
    "msgpack: a map of 2^32 pairs": (MSGPACK, b"\xdf\xff\xff\xff\xff\x00\x00"),
    "msgpack: a text of 2^32 bytes": (MSGPACK, b"\xdb\xff\xff\xff\xffa"),
    "msgpack: a time beyond all years": (MSGPACK, b"\x81\xa1a\xc7\x0c\xff" + b"\x3b\x9a\xc9\xff" + b"\x7f" * 8),
    "msgpack: an unknown extension": (MSGPACK, b"\x81\xa1a\xd4\x05\x00"),
    "msgpack: keys of all kinds": (MSGPACK, b"\x83\xc0\x01\x90\x02\xcb\x7f\xf8\0\0\0\0\0\0\x03"),
}


def _varint(number: int) -> bytes:
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _nested(levels: int, *numbers: int) -> bytes:
    data = b""
    for _ in range(levels):
        for number in numbers:
            data = _field(number, data)
    return data


PROTOBUF: Final[dict[str, bytes]] = {
    "templates nested 2,000 deep": _nested(2_000, 18, 2),
    "templates nested 20 deep with long names": _field(2, _nested(20, 2, 18)),
    "property sets nested 2,000 deep": _field(2, _field(9, _nested(2_000, 9, 2))),
    "property sets nested 20 deep": _field(2, _field(9, _nested(20, 9, 2))),
    "a metric of 2^31 bytes": b"\x12\xff\xff\xff\xff\x07abc",
    "a length of ten bytes": b"\x12" + b"\xff" * 9 + b"\x01abc",
    "a group that never ends": b"\x13" * 100_000,
    "130,000 empty metrics": b"\x12\x00" * 130_000,
    "9,000 times one alias": b"".join(_field(2, b"\x10\x01\x65\x00\x00\x80\x3f") for _ in range(9_000)),
    "a data set of 100,000 empty rows": _field(2, b"\x0a\x01t" + _field(17, b"\x22\x00" * 100_000)),
    "a data set with a long column of 9,000 rows": _field(
        2, b"\x0a\x01t" + _field(17, _field(2, b"c" * 100_000) + _field(4, _field(1, b"\x28\x01")) * 9_000)
    ),
    "a template with a long name over 9,000 members": _field(
        2, _field(1, b"t" * 100_000) + _field(18, _field(2, b"\x0a\x01m\x70\x01") * 9_000)
    ),
    "2 million booleans": _field(2, b"\x0a\x01b\x20\x20" + _field(16, (2_000_000).to_bytes(4, "little") + bytes(250_000))),
    "200,000 empty texts": _field(2, b"\x0a\x01b\x20\x21" + _field(16, bytes(200_000))),
    "a long name under an alias": _field(2, _field(1, b"n" * 200_000) + b"\x10\x01\x20\x09\x65\x00\x00\x80\x3f"),
}


def _positions(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _positions(value, (*path, key))


def _put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(document))
    _get(copy, path[:-1])[path[-1]] = value
    return copy


def bombs_of(name: str) -> Iterator[tuple[str, Message]]:
    """The format's own documents with one value, at each place in turn, that is large or makes the others large."""
    values: dict[str, Any] = {
        "a long text": "z" * 20_000,
        "a long key over many values": {"k" * 20_000: [1] * 2_000},
        "many values": [1.5] * 500,
        "a deep array": json.loads("[" * 25 + "]" * 25),
        "a huge integer": 10**400,
        "a number near the largest": 1.7e308,
        "a long time": "2024-05-01T10:00:00." + "1" * 20_000 + "Z",
    }
    places = [(message, document, path) for message, document in _documents(name) for path in _positions(document)]
    for message, document, path in Random(name).sample(places, min(len(places), MAX_PLACES)):
        for label, value in values.items():
            payload = json.dumps(_put(document, path, value)).encode()
            yield f"{label} as {'.'.join(map(str, path))}", message._replace(payload=payload)


def pairs_of(name: str) -> Iterator[tuple[str, Message]]:
    """As `bombs_of`, with a long text in the place of another one and many values elsewhere, which all might repeat it."""
    many = {f"k{number}": 1 for number in range(3_000)}
    for message, document in _documents(name):
        places = list(_positions(document))
        texts = [path for path in places if isinstance(_get(document, path), str)]
        pairs = [(text, path) for text in texts for path in places if not _overlap(text, path)]
        for text, path in Random(name).sample(pairs, min(len(pairs), MAX_PLACES)):
            payload = json.dumps(_put(_put(document, text, "z" * 60_000), path, many)).encode()
            yield f"a long text as {'.'.join(map(str, text))}, many values as {path}", message._replace(payload=payload)


def _overlap(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[: len(other)] == other or other[: len(one)] == one


def _get(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _documents(name: str) -> Iterator[tuple[Message, Any]]:
    for message in seeds_of(name):
        with suppress(ValueError):
            yield message, json.loads(message.payload)


def cases_of(name: str) -> Iterator[tuple[str, Message]]:
    """Label and message of each case that fits the topics of a format."""
    topics = list(dict.fromkeys(message.topic for message in seeds_of(name)))[:2]
    for topic in topics:
        for label, payload in JSON_TEXTS.items():
            yield label, Message(topic, payload)
        for label, (content_type, payload) in BINARY.items():
            yield label, Message(topic, payload, {"content_type": content_type})
        for label, payload in PROTOBUF.items():
            yield label, Message(topic, payload)
        yield "an empty payload", Message(topic, b"")
