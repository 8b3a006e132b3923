"""`python -m fleet_controller.registry.delta_making OLD NEW DELTA`: make one delta, in a process of its own, and end.

A piece of the new bundle is compared with the same place of the same tar entry in the old one, a margin on either side: the
tar's offsets shift when an entry before it changes its size, and a margin alone would not bear a manifest that grew by more.
"""

import hashlib
import os
import sys
from io import BufferedReader
from pathlib import Path
from typing import Final

from fleet_contract.bundle import BundleIndex, read_bundle
from fleet_contract.delta import (
    MARGIN_BYTES,
    PIECE_BYTES,
    WINDOW_LOG,
    DeltaHeader,
    Frame,
    encode_header,
)
from fleet_controller.durable import move_file_durably

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL: Final = 12
"""From here on a match inside a changed weight is found; 19 takes ten times as long and gives the same."""
LEAST_PREFIX: Final = 8
"""Bytes; Zstandard takes no shorter dictionary."""


def source_of(start: int, length: int, old: BundleIndex, new: BundleIndex, old_size: int) -> tuple[int, int]:
    """Start and length of the old bundle's part for the new one's bytes from `start` on."""
    shift = 0
    middle = start + length // 2
    for name, entry in new.entries.items():
        if entry.offset <= middle < entry.offset + entry.size:
            before = old.entries.get(old.manifest.file if name == new.manifest.file else name)
            if before is not None:
                shift = before.offset - entry.offset
            break
    first = min(max(start + shift - MARGIN_BYTES, 0), old_size)
    last = min(max(start + shift + length + MARGIN_BYTES, first), old_size)
    return first, last - first


def make_delta(old_path: Path, new_path: Path, out: Path) -> None:
    """Write the delta from one bundle to another at `out`. Raises BundleError and OSError; then nothing is there."""
    temporary = out.with_name(f".{out.name}.tmp")
    frames: list[Frame] = []
    with old_path.open("rb") as old, new_path.open("rb") as new, temporary.open("w+b") as packed:
        try:
            indexes = read_bundle(old), read_bundle(new)
            old_size, new_size = old.seek(0, os.SEEK_END), new.seek(0, os.SEEK_END)
            for start in range(0, new_size, PIECE_BYTES):
                length = min(PIECE_BYTES, new_size - start)
                first, count = source_of(start, length, *indexes, old_size)
                frame = _pack(_read(old, first, count), _read(new, start, length))
                packed.write(frame)
                frames.append(Frame(length, first, count, len(frame)))
            header = DeltaHeader(base=_sha256(old), target=_sha256(new), length=new_size, frames=tuple(frames))
            whole = temporary.with_suffix(".whole")
            with whole.open("wb") as file:
                file.write(encode_header(header))
                packed.seek(0)
                while block := packed.read(PIECE_BYTES):
                    file.write(block)
        finally:
            temporary.unlink(missing_ok=True)
    whole.chmod(0o644)
    move_file_durably(whole, out)


def _pack(prefix: bytes, piece: bytes) -> bytes:
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: LEVEL,
        zstd.CompressionParameter.window_log: WINDOW_LOG,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    given = zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= LEAST_PREFIX else None
    compressor = zstd.ZstdCompressor(options=options, zstd_dict=given)
    compressor.set_pledged_input_size(len(piece))
    return compressor.compress(piece, zstd.ZstdCompressor.FLUSH_FRAME)


def _read(file: BufferedReader, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _sha256(file: BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    os.nice(19)
    make_delta(*map(Path, sys.argv[1:4]))
