"""Tensors as golden samples and data sets write them: dtype, shape and the numbers, without numpy."""

import math
import struct
from typing import Any, Final

import msgspec
from msgspec import Struct

CODES: Final = {
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "bool": "?",
}
"""A tensor's dtype, as numpy names it, to how `struct` calls one of its elements."""
MAX_DIMENSIONS: Final = 8


def element_bytes(dtype: str) -> int:
    """The size of one element; raises ValueError for a dtype that is none of `CODES`."""
    if dtype not in CODES:
        raise ValueError(f"dtype {dtype!r} is none of {', '.join(CODES)}")
    return struct.calcsize("<" + CODES[dtype])


class TensorSample(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One tensor in JSON: either `data` (base64 of the elements, little-endian, in C order) or `values` (nested lists).

    Afterwards `data` holds the elements and `values` is None, whichever was given.
    """

    dtype: str
    shape: tuple[int, ...]
    """Of one item: without the batch."""
    data: bytes | None = None
    values: list[Any] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError, which decoding turns into a ValidationError, where the parts contradict each other."""
        size = element_bytes(self.dtype)
        if len(self.shape) > MAX_DIMENSIONS or any(extent < 1 for extent in self.shape):
            raise ValueError(f"shape {list(self.shape)}: up to {MAX_DIMENSIONS} dimensions, each at least 1")
        if (self.data is None) == (self.values is None):
            raise ValueError("a tensor has either `data` or `values`")
        if self.data is None:
            msgspec.structs.force_setattr(self, "data", _pack(self.values, self.dtype, self.shape))
            msgspec.structs.force_setattr(self, "values", None)
        elif len(self.data) != math.prod(self.shape) * size:
            wanted = f"{self.dtype} {list(self.shape)} takes {math.prod(self.shape) * size}"
            raise ValueError(f"data has {len(self.data)} bytes, {wanted}")


def misfit(dtype: str, shape: tuple[int, ...], wanted_dtype: str, wanted: tuple[int, ...]) -> str | None:
    """Why a tensor of one item is not what the manifest's tensor (whose shape has the batch in front) asks for, or None."""
    if dtype != wanted_dtype:
        return f"is {dtype}, the model takes {wanted_dtype}"
    own = wanted[1:]
    if len(shape) != len(own) or any(size not in (-1, given) for given, size in zip(shape, own, strict=True)):
        return f"has shape {list(shape)}, the model takes {list(own)}"
    return None


def _pack(values: Any, dtype: str, shape: tuple[int, ...]) -> bytes:
    flat = [values] if not shape else values
    for depth, size in enumerate(shape):
        if not all(isinstance(item, list) and len(item) == size for item in ([flat] if depth == 0 else flat)):
            raise ValueError(f"values are not nested as shape {list(shape)} says")
        if depth:
            flat = [inner for item in flat for inner in item]
    try:
        return struct.pack(f"<{len(flat)}{CODES[dtype]}", *flat)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"values: not all are {dtype} ({error})") from error
