"""A CBOR or MessagePack payload parsed within limits into what JSON could have said, its numbers exact.

cbor2 is imported with the first CBOR payload. Its own readings of tags are replaced: they would cut the digits of times,
compile regular expressions and resolve shared references, by which a small payload becomes a large or an endless one. What
JSON has no form for becomes what RFC 8949 (section 6.1) advises: bytes are base64url text, `undefined` and simple values null.
"""

import math
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from edge_agent.ingest.binary_scan import SCANNED_FROM, scan
from edge_agent.ingest.content_type import Encoding
from edge_agent.ingest.events import DeadLetter
from edge_agent.ingest.json_document import PATHS_FIT, check_limits
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

MAX_INTEGER_BYTES: Final = 1700
"""Of one CBOR integer: as text it stays below the 4,300 digits to which Python reads and writes integers."""
MAX_EXPONENT: Final = 1200
"""Of a fraction: more than any float needs, in either base."""
_LIBRARY_DEPTH: Final = 400
_REFUSED_TAGS: Final = {25: "string references", 256: "string references", 28: "shared values", 29: "shared values"}
_PLAIN_TAGS: Final = (0, 1, 30, 35, 36, 37, 52, 54, 100, 258, 260, 261, 1004, 43000, 55799)
"""Tags that the library would make objects of, where the tagged value itself is what was measured."""


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.letter = DeadLetter(reason, detail)


class _Exact:
    """A number that the library must not see: unlike an int it can be no key of a map, where hostile ones would collide."""

    __slots__ = ("number",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: int | Decimal) -> None:
        self.number = number


def parse_binary(settings: IngestSettings, payload: bytes, encoding: Encoding) -> Any:
    """The document with fractions as Decimals, integers among the keys as text, or a DeadLetter.

    NaN and infinite numbers, which these encodings have and JSON has not, are null: they cost the other values nothing.
    """
    if len(payload) > settings.max_bytes:
        return DeadLetter(Reason.TOO_LARGE, f"{len(payload)} bytes, allowed are {settings.max_bytes}")
    if len(payload) > SCANNED_FROM:
        # a fraction has two values of its own, which are one afterwards
        shape = scan(payload, encoding, 2 * settings.max_values)
        if not shape.plain_keys:
            return DeadLetter(Reason.WRONG_SHAPE, "a map's key is neither a text nor an integer")
        if shape.values > 2 * settings.max_values:
            return DeadLetter(Reason.TOO_MANY_VALUES, f"more than {settings.max_values} values")
    read, malformed = (_read_cbor, Reason.NOT_CBOR) if encoding is Encoding.CBOR else (_read_msgpack, Reason.NOT_MSGPACK)
    try:
        document = _Plain(settings).document(read(settings, payload), 0)
        return check_limits(settings, document) if len(payload) > PATHS_FIT else document
    except _Refused as refused:
        return refused.letter
    except RecursionError:
        return DeadLetter(Reason.TOO_DEEP, f"nested more than {settings.max_depth} levels deep")
    except UnicodeDecodeError as error:
        return DeadLetter(Reason.NOT_UTF8, f"byte {error.start} of a text: {error.reason}")
    except (ValueError, TypeError) as error:
        return DeadLetter(malformed, str(error))


def with_floats(document: Any) -> Any:
    """The same document with floats for its Decimals, as a JSON reader would have given it."""
    kind = type(document)
    if kind is dict:
        return {key: with_floats(value) for key, value in document.items()}
    if kind is list:
        return [with_floats(value) for value in document]
    return float(document) if kind is Decimal else document


class _Plain:
    """One document's way into plain values, counting them."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._values = 0

    def document(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is dict or kind is list or kind is tuple:
            depth += 1
            if depth > self._settings.max_depth:
                raise _Refused(Reason.TOO_DEEP, f"nested more than {self._settings.max_depth} levels deep")
            if not value:
                self._count()
            if kind is not dict:
                return [self.document(item, depth) for item in value]
            plain = {_key(key): self.document(item, depth) for key, item in value.items()}
            if len(plain) != len(value):
                raise _Refused(Reason.WRONG_SHAPE, "a map has two keys that are the same as text")
            return plain
        self._count()
        if kind is str or kind is int or kind is bool or value is None:
            return value
        if kind is float:
            return Decimal(repr(value)) if math.isfinite(value) else None
        if kind is _Exact:
            return value.number
        if kind is bytes:
            return base64url(value)
        if kind is datetime:  # MessagePack's timestamp
            return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
        if kind.__name__ in ("UndefinedType", "CBORSimpleValue"):
            return None
        raise _Refused(Reason.WRONG_SHAPE, f"a value of type {kind.__name__} is no reading")

    def _count(self) -> None:
        self._values += 1
        if self._values > self._settings.max_values:
            raise _Refused(Reason.TOO_MANY_VALUES, f"more than {self._settings.max_values} values")


def base64url(value: bytes) -> str:
    """Bytes as text: RFC 4648 section 5, without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _key(key: object) -> str:
    if type(key) is str:
        return key
    if type(key) is int:
        return str(key)
    if type(key) is bytes:
        return base64url(key)
    raise _Refused(Reason.WRONG_SHAPE, f"a map's key is a text or an integer, not {type(key).__name__}")


def _read_msgpack(_settings: IngestSettings, payload: bytes) -> Any:
    return msgspec.msgpack.decode(payload, ext_hook=lambda _code, data: bytes(data))


def _read_cbor(settings: IngestSettings, payload: bytes) -> Any:
    from io import BytesIO

    import cbor2  # only a device that gets CBOR holds it in memory

    stream = BytesIO(payload)
    decoder = cbor2.CBORDecoder(
        stream,
        tag_hook=lambda tag, _immutable: tag.value,
        semantic_decoders=_TAGS,
        # a tag is a level of its own for the library; what is nested too deeply for us is told afterwards
        max_depth=min(settings.max_depth + 8, _LIBRARY_DEPTH),
        allow_duplicate_keys=False,
        read_size=1,
    )
    try:
        document = decoder.decode()
    except cbor2.CBORDecodeError as error:
        cause = error.__cause__
        if isinstance(cause, _Refused | UnicodeDecodeError):
            raise cause from error
        if "nesting depth" in str(error):
            raise _Refused(Reason.TOO_DEEP, f"nested more than {settings.max_depth} levels deep") from error
        raise _Refused(Reason.NOT_CBOR, str(error)) from error
    if stream.tell() != len(payload):
        raise _Refused(Reason.NOT_CBOR, f"{len(payload) - stream.tell()} bytes follow the document")
    return document


def _integer(value: Any, sign: int) -> _Exact:
    if type(value) is not bytes:
        raise _Refused(Reason.NOT_CBOR, "a big integer is not given as bytes")
    if len(value) > MAX_INTEGER_BYTES:
        raise _Refused(Reason.NOT_FINITE, f"an integer of {len(value)} bytes")
    number = int.from_bytes(value, "big")
    return _Exact(number if sign > 0 else -1 - number)


def _fraction(value: Any, base: int) -> _Exact:
    """Tag 4 (base 10) and tag 5 (base 2): an array of exponent and mantissa."""
    if type(value) not in (list, tuple) or len(value) != 2:
        raise _Refused(Reason.NOT_CBOR, "a decimal fraction is an array of exponent and mantissa")
    exponent, mantissa = (item.number if type(item) is _Exact else item for item in value)
    if type(exponent) is not int or type(mantissa) is not int:
        raise _Refused(Reason.NOT_CBOR, "exponent and mantissa of a decimal fraction are integers")
    if abs(exponent) > MAX_EXPONENT:
        raise _Refused(Reason.NOT_FINITE, f"a number with the exponent {exponent}")
    if exponent >= 0:
        number = mantissa * base**exponent
        if number.bit_length() > 8 * MAX_INTEGER_BYTES:
            raise _Refused(Reason.NOT_FINITE, f"a number with the exponent {exponent}")
        return _Exact(number)
    if base == 2:
        try:
            return _Exact(Decimal(repr(mantissa / 2**-exponent)))
        except OverflowError as error:
            raise _Refused(Reason.NOT_FINITE, f"a number with the exponent {exponent}") from error
    fraction = Decimal(mantissa).as_tuple()
    exact = Decimal((fraction.sign, fraction.digits, exponent))
    if math.isinf(float(exact)):
        raise _Refused(Reason.NOT_FINITE, f"a number with the exponent {exponent}")
    return _Exact(exact)


def _refuse(name: str) -> Any:
    def refuse(_value: Any, _immutable: bool) -> Any:
        raise _Refused(Reason.NOT_CBOR, f"{name} are not read: a small payload could become an endless one")

    return refuse


_TAGS: Final[dict[int, Any]] = {
    **dict.fromkeys(_PLAIN_TAGS, lambda value, _immutable: value),
    **{tag: _refuse(name) for tag, name in _REFUSED_TAGS.items()},
    2: lambda value, _immutable: _integer(value, 1),
    3: lambda value, _immutable: _integer(value, -1),
    4: lambda value, _immutable: _fraction(value, 10),
    5: lambda value, _immutable: _fraction(value, 2),
}
