"""Values of Sparkplug B: what a metric, a cell of a data set or a property holds, by its datatype and the field it came in."""

import struct
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

BOOLEAN: Final = 11
DATE_TIME: Final = 13
_INTEGERS: Final[dict[int, tuple[int, int]]] = {
    1: (0xFF, 0x80),
    2: (0xFFFF, 0x8000),
    3: (0xFFFF_FFFF, 0x8000_0000),
    4: (0xFFFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000),
    5: (0xFF, 0),
    6: (0xFFFF, 0),
    7: (0xFFFF_FFFF, 0),
    8: (0xFFFF_FFFF_FFFF_FFFF, 0),
    DATE_TIME: (0xFFFF_FFFF_FFFF_FFFF, 0),
}
"""Datatype (Int8 to UInt64, DateTime in milliseconds) to the bits that count and, of them, the one that means minus."""
_INT64: Final = 4
_PACKED: Final = {22: "b", 23: "h", 24: "i", 25: "q", 26: "B", 27: "H", 28: "I", 29: "Q", 30: "f", 31: "d", 34: "Q"}
"""Datatype of an array to the code of its little-endian elements."""
DATE_TIME_ARRAY: Final = 34
_BOOLEAN_ARRAY: Final = 32
_STRING_ARRAY: Final = 33
ARRAYS: Final = frozenset((*_PACKED, _BOOLEAN_ARRAY, _STRING_ARRAY))

_single = struct.Struct("<f")
_QUARTER: Final = 2.0**25


class Unreadable(Exception):
    """Why a metric gives no value; its message is for a reader."""


class DatatypeUnknown(Unreadable):
    """An integer whose datatype neither the message nor a birth says: it may be signed or not."""


def shorten(value: float) -> float:
    """The number with the fewest digits that is the same float of 32 bits: 21.3, not 21.299999237060547."""
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        # within a quarter of the distance to its neighbours it is surely the same float, and most are
        if abs(short - value) * _QUARTER < abs(value) or short == value:
            return short
        try:
            if _single.unpack(_single.pack(short))[0] == value:
                return short
        except OverflowError:  # rounded up beyond the largest float of 32 bits
            continue
    return float(f"{value:.9g}")


def read_integer(datatype: int, value: int, *, wide: bool) -> int | bool:
    """An `int_value`, or with `wide` a `long_value`, as its datatype means it; raises Unreadable."""
    masks = _INTEGERS.get(datatype)
    if masks is None:
        if datatype == BOOLEAN and value <= 1:
            return value == 1
        if datatype == 0:
            raise DatatypeUnknown("its datatype is not known before a birth")
        raise Unreadable(f"an integer under datatype {datatype}")
    mask, minus = masks
    if datatype == _INT64 and not wide:
        mask, minus = 0xFFFF_FFFF, 0x8000_0000
    value &= mask
    return value - mask - 1 if value & minus else value


def read_scalar(holder: Any, field: str | None, datatype: int) -> float | int | bool | str:
    """The value of a metric, cell or property, which came in `field`; raises Unreadable where there is none to give.

    Numbers, booleans and texts that are not of their datatype are taken as they are: they say themselves what they are.
    """
    reader = SCALARS.get(field)
    if reader is None:
        raise Unreadable("it has no value" if field is None else f"{field} is not read")
    return reader(holder, datatype)


def _read_float(holder: Any, _datatype: int) -> float:
    value: float = holder.float_value
    if not isfinite(value):
        raise Unreadable(f"{value} is no number")
    return shorten(value)


def _read_double(holder: Any, _datatype: int) -> float:
    value: float = holder.double_value
    if not isfinite(value):
        raise Unreadable(f"{value} is no number")
    return value


def _read_string(holder: Any, _datatype: int) -> str:
    value = holder.string_value
    if type(value) is not str:  # what the library gives for other bytes than UTF-8
        raise Unreadable("the text is not valid UTF-8")
    return value


SCALARS: Final[dict[str | None, Callable[[Any, int], float | int | bool | str]]] = {
    "int_value": lambda holder, datatype: read_integer(datatype, holder.int_value, wide=False),
    "long_value": lambda holder, datatype: read_integer(datatype, holder.long_value, wide=True),
    "float_value": _read_float,
    "double_value": _read_double,
    "boolean_value": lambda holder, _datatype: bool(holder.boolean_value),
    "string_value": _read_string,
}
"""Field to what reads its value from a metric, cell or property of a datatype, as `read_scalar` does."""


def count_elements(datatype: int, packed: bytes) -> int:
    """How many elements a packed array holds at most, without unpacking it."""
    code = _PACKED.get(datatype)
    if code is not None:
        return len(packed) // struct.calcsize(f"<{code}")
    return packed.count(b"\0") + 1 if datatype == _STRING_ARRAY else 8 * len(packed)


def read_array(datatype: int, packed: bytes) -> list[Any]:
    """The elements of an array, None for those that are NaN or infinite; raises Unreadable if the bytes are none such."""
    code = _PACKED.get(datatype)
    if code is not None:
        size = struct.calcsize(f"<{code}")
        if len(packed) % size:
            raise Unreadable(f"{len(packed)} bytes are no array of elements of {size}")
        elements: list[Any] = list(struct.unpack(f"<{len(packed) // size}{code}", packed))
        if code == "f":
            return [shorten(element) if isfinite(element) else None for element in elements]
        return [element if isfinite(element) else None for element in elements] if code == "d" else elements
    if datatype == _STRING_ARRAY:
        try:
            return packed.decode().removesuffix("\0").split("\0") if packed else []
        except UnicodeDecodeError as error:
            raise Unreadable("the texts are not valid UTF-8") from error
    bits = packed[4:]
    count = int.from_bytes(packed[:4], "little")
    if len(packed) < 4 or len(bits) != (count + 7) // 8:
        raise Unreadable(f"{len(packed)} bytes are no array of {count} booleans")
    return [bool(bits[place >> 3] & (0x80 >> (place & 7))) for place in range(count)]
