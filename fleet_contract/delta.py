"""The format of a delta: how one bundle is made from another, frame by frame. Pure.

    8 bytes   magic and version: SHDELTA and 1
    4 bytes   length of the header, big-endian
    header    msgpack of `DeltaHeader`
    frames    one Zstandard frame for each piece of the new file, one behind the other

Each piece is compressed with a part of the old file as its prefix (raw content), so whoever applies it never holds more than a
piece and that part. Nothing here is signed: what a delta makes counts only if it has the whole hash that was signed.
"""

from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

MAGIC: Final = b"SHDELTA\x01"
PIECE_BYTES: Final = 4 * 1024**2
"""Of the new file, but for its last piece."""
MARGIN_BYTES: Final = 1024**2
"""Of the old file on either side of the place that a piece is compared with."""
MAX_SOURCE_BYTES: Final = PIECE_BYTES + 2 * MARGIN_BYTES
WINDOW_LOG: Final = 24
"""Zstandard's window: 16 MiB hold a piece and its part of the old file. A frame that asks for more is refused."""
MAX_HEADER_BYTES: Final = 256 * 1024
DELTA_SUFFIX: Final = ".delta"


class DeltaError(ValueError):
    """The delta is of no use; the text says why."""


class Frame(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One piece of the new file. Numbers are bytes."""

    length: int
    """Of the piece."""
    source_start: int
    """Where its part of the old file begins."""
    source_length: int
    packed: int
    """Of the frame."""


class DeltaHeader(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a delta leads from and to; hashes are SHA-256 in hex."""

    base: str
    target: str
    length: int
    """Of the new file."""
    frames: tuple[Frame, ...]


def delta_name(base: str, target: str) -> str:
    """The name of a delta's file, from the digests of two bundles (with or without `sha256:`)."""
    return f"{base.removeprefix('sha256:')}-{target.removeprefix('sha256:')}{DELTA_SUFFIX}"


def encode_header(header: DeltaHeader) -> bytes:
    """All that stands before the frames."""
    body = msgspec.msgpack.encode(header)
    return MAGIC + len(body).to_bytes(4, "big") + body


def read_header(file: BinaryIO) -> DeltaHeader:
    """Read and check what stands before the frames; `file` is at the first frame then. Raises DeltaError."""
    start = file.read(len(MAGIC) + 4)
    if len(start) < len(MAGIC) + 4 or not start.startswith(MAGIC):
        raise DeltaError("not a delta of version 1")
    size = int.from_bytes(start[len(MAGIC) :], "big")
    if size > MAX_HEADER_BYTES:
        raise DeltaError(f"a header of {size} bytes, allowed are {MAX_HEADER_BYTES}")
    try:
        header = msgspec.msgpack.decode(file.read(size), type=DeltaHeader)
    except msgspec.DecodeError as error:
        raise DeltaError(f"the header cannot be read: {error}") from error
    _check(header)
    return header


def _check(header: DeltaHeader) -> None:
    left = header.length
    for number, frame in enumerate(header.frames):
        if frame.length != min(PIECE_BYTES, left) or frame.length < 1:
            raise DeltaError(f"piece {number} has {frame.length} bytes, {left} are left")
        if not 0 <= frame.source_length <= MAX_SOURCE_BYTES or frame.source_start < 0:
            raise DeltaError(f"piece {number} asks for {frame.source_length} bytes of the old file at {frame.source_start}")
        if not 0 < frame.packed <= frame.length + 64 * 1024:
            raise DeltaError(f"piece {number} is packed into {frame.packed} bytes")
        left -= frame.length
    if left:
        raise DeltaError(f"the pieces lack {left} of {header.length} bytes")
