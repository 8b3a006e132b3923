"""A bundle from the one that this device runs and a delta: fetched, applied in bounded memory, believed by its hash alone."""

import hashlib
import sys
from pathlib import Path
from typing import BinaryIO, Final

from tuf.api.exceptions import DownloadError
from tuf.api.metadata import TargetFile

from edge_agent.updates.trust.download import Tell, fetch_file
from edge_agent.updates.trust.fetcher import BeyondBudget, RefusedByServer, TokenFetcher
from edge_agent.updates.trust.job import Base, Job
from edge_agent.updates.trust.refusal import Refusal
from fleet_contract.delta import WINDOW_LOG, DeltaError, DeltaHeader, Frame, delta_name, read_header

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

WORTHWHILE: Final = 0.9
"""Of the whole file's bytes: a delta of more saves nothing."""
LEAST_PROGRESS: Final = 64 * 1024
"""Bytes that a second attempt at a delta has to bring."""
LATER: Final = frozenset({429, 503})
"""A server that is busy is no better off with the whole file asked of it."""
_OUT_BYTES: Final = 256 * 1024
_LEAST_PREFIX: Final = 8


class DeltaMissing(DeltaError):
    """The controller has none for these two bundles."""


def fetch_by_delta(job: Job, base: Base, fetcher: TokenFetcher, target: TargetFile, tell: Tell) -> Path:
    """Make the target's part file, whole and of the signed hash; the bundle at `base` is only read.

    Raises DeltaError if there is no way to it by a delta: the whole file is to be fetched then. Raises DownloadError where a
    second attempt may go on, and OSError.
    """
    sha256 = target.hashes["sha256"]
    part = Path(job.download_dir) / f"{sha256}.part"
    made = part.with_suffix(".patched")
    delta = part.with_name(f"{sha256}.{base.digest.removeprefix('sha256:')}.delta")
    try:
        if not _is_whole(delta):
            _fetch(job, base, fetcher, target, delta, tell)
        with delta.open("rb") as packed, _open_base(base) as old, made.open("wb", buffering=0) as new:
            header = read_header(packed)
            if (header.base, header.target) != (base.digest.removeprefix("sha256:"), sha256) or header.length != target.length:
                raise DeltaError("it is of other bundles than asked for")
            if apply_delta(header, packed, old, new) != sha256:
                raise DeltaError("what it makes has not the signed hash")
    except DeltaError:
        for path in (delta, made):
            path.unlink(missing_ok=True)
        raise
    made.replace(part)
    delta.unlink()
    return part


def _open_base(base: Base) -> BinaryIO:
    try:
        return Path(base.path).open("rb")
    except OSError as error:
        raise DeltaError(f"the bundle to start from cannot be read: {error.strerror}") from error


def _is_whole(delta: Path) -> bool:
    """Whether an earlier attempt has fetched it to its end."""
    try:
        with delta.open("rb") as file:
            header = read_header(file)
            return file.tell() + sum(frame.packed for frame in header.frames) == delta.stat().st_size
    except (FileNotFoundError, DeltaError):
        return False


def _fetch(job: Job, base: Base, fetcher: TokenFetcher, target: TargetFile, delta: Path, tell: Tell) -> None:
    """A server that only keeps us waiting for its delta gets one more attempt, and then the whole file is asked for."""
    begun = delta.exists()
    before = delta.stat().st_size if begun else 0
    delta.touch()
    url = job.deltas_url.rstrip("/") + "/" + delta_name(base.digest, target.hashes["sha256"])
    try:
        fetch_file(delta, fetcher, url, None, int(target.length * WORTHWHILE), tell)
    except Refusal as error:
        raise DeltaError(str(error)) from error
    except BeyondBudget:
        raise  # the whole file would be all the more
    except DownloadError as error:
        status = error.status_code if isinstance(error, RefusedByServer) else None
        if status == 404:
            raise DeltaMissing("there is no delta from this device's bundle") from error
        refused = status is not None and status not in LATER
        stuck = begun and (not delta.exists() or delta.stat().st_size < before + LEAST_PROGRESS)
        if refused or stuck:
            raise DeltaError(str(error)) from error
        raise


def apply_delta(header: DeltaHeader, packed: BinaryIO, old: BinaryIO, new: BinaryIO) -> str:
    """Write the new file piece by piece; returns its SHA-256 in hex.

    `packed` is at the first frame. Whatever the frames hold, no more than the header's bytes are written, and no more memory is
    taken than for a piece, its part of the old file and its frame. Raises DeltaError and OSError.
    """
    digest = hashlib.sha256()
    for number, frame in enumerate(header.frames):
        try:
            _apply_frame(frame, packed, old, new, digest)
        except (zstd.ZstdError, DeltaError, MemoryError) as error:
            raise DeltaError(f"piece {number}: {error}") from error
    if packed.read(1):
        raise DeltaError("there is more behind the last piece")
    return digest.hexdigest()


def _apply_frame(frame: Frame, packed: BinaryIO, old: BinaryIO, new: BinaryIO, digest: "hashlib._Hash") -> None:
    try:
        old.seek(frame.source_start)
        prefix = old.read(frame.source_length)
    except OSError as error:
        raise DeltaError(f"the bundle to start from cannot be read: {error.strerror}") from error
    if len(prefix) != frame.source_length:
        raise DeltaError("it asks for more than the old file holds")
    given = zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= _LEAST_PREFIX else None
    unpacking = zstd.ZstdDecompressor(zstd_dict=given, options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})
    data, left = packed.read(frame.packed), frame.length
    while not unpacking.eof:
        # one more than is left, so that a frame that holds more is seen
        out = unpacking.decompress(data, min(_OUT_BYTES, left + 1))
        data = b""
        if len(out) > left:
            raise DeltaError(f"its frame holds more than {frame.length} bytes")
        if not out and not unpacking.eof:
            raise DeltaError("its frame ends early")
        digest.update(out)
        new.write(out)
        left -= len(out)
    if left or unpacking.unused_data:
        raise DeltaError(f"its frame ends {left} bytes early")
