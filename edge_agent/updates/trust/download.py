"""The bundle's bytes: resumed in a part file, bounded, checked against the signed hash, read as a bundle, then named."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError, LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from edge_agent.durable import fsync_file, move_file_durably
from edge_agent.updates.trust.fetcher import Body, TokenFetcher
from edge_agent.updates.trust.job import Job
from edge_agent.updates.trust.refusal import Refusal
from fleet_contract.bundle import read_bundle
from fleet_contract.reasons import Reason
from fleet_contract.trust import Release, find_contradiction

PROGRESS_INTERVAL: Final = 0.5
"""Seconds between two progress lines."""

FILES: Final = frozenset({".part", ".tar", ".delta", ".patched"})

Tell = Callable[[int, int], object]


def clear_stale(folder: Path, sha256: str) -> None:
    """Remove other downloads' files: one bundle at a time."""
    for path in folder.iterdir():
        if path.suffix in FILES and not path.name.startswith(sha256):
            path.unlink()


def check_disk(job: Job, folder: Path, length: int, have: int) -> None:
    """Raises Refusal where a bundle of `length` bytes, of which `have` are there, does not fit."""
    # The unpacked bundle needs the same again. Older bundles stay until the new one is committed.
    needed = 2 * length - have + job.keep_free
    free = shutil.disk_usage(folder).free
    if free < needed:
        text = f"{needed} bytes are needed, of which {job.keep_free} are left to others, and {free} are free"
        raise Refusal(Reason.DISK_FULL, text, temporary=True)


def fetch_bundle(job: Job, fetcher: TokenFetcher, path: str, target: TargetFile, tell: Tell) -> Path:
    """Fetch all bytes of a signed target; returns the complete part file, its hash not yet checked.

    `tell(fetched, total)` reports progress. Raises Refusal, DownloadError and OSError; what was fetched stays for the next
    attempt.
    """
    folder = Path(job.download_dir)
    part = folder / f"{target.hashes['sha256']}.part"
    have = part.stat().st_size if part.exists() else 0
    if have > target.length:
        part.unlink()
        have = 0
    check_disk(job, folder, target.length, have)
    fetcher.check_budget(target.length - have)
    if have < target.length:
        fetch_file(part, fetcher, job.targets_url.rstrip("/") + "/" + path, target.length, target.length, tell)
    tell(target.length, target.length)
    return part


def fetch_file(part: Path, fetcher: TokenFetcher, url: str, length: int | None, limit: int, tell: Tell) -> int:
    """Bring a part file to its whole length, going on where it stops; returns that length.

    `length`: what was signed; None where nothing was, then the server has to say it. More than `limit` bytes are not taken.
    Raises Refusal, DownloadError and OSError; what was fetched stays for the next attempt.
    """
    have = part.stat().st_size if part.exists() else 0
    try:
        body = fetcher.open_from(url, have)
    except DownloadHTTPError as error:
        if error.status_code == 416 and have:  # the server has fewer bytes than the part file: it is no part of this file
            part.unlink(missing_ok=True)
            raise DownloadError("the server does not have the bytes to resume from") from error
        raise
    try:
        total = _agree(url, length, limit, body.total)
        fetcher.check_budget(total - have)
        fetched = _write(part, body, have, total, tell)
    except Refusal:
        part.unlink(missing_ok=True)
        raise
    if fetched < total:
        raise DownloadError(f"{url} ended after {fetched} of {total} bytes")
    return total


def _agree(url: str, length: int | None, limit: int, offered: int | None) -> int:
    """The length of the file, from what was signed and what the server says."""
    if length is None and offered is None:
        raise DownloadError(f"{url}: the server does not say how long it is")
    if length is not None and offered is not None and offered < length:
        raise DownloadError(f"{url} has {offered} bytes at the server, signed are {length}")
    total = length if length is not None else offered or 0
    if (offered or 0) > total or total > limit:
        raise Refusal(Reason.HASH_MISMATCH, f"{url} has {offered} bytes at the server, allowed are {min(total, limit)}")
    return total


def _write(part: Path, body: Body, have: int, total: int, tell: Tell) -> int:
    """Append what the part file does not hold; returns how much it holds then."""
    told = time.monotonic()
    place = body.start
    # Unbuffered: what has arrived stays, however this process ends.
    with part.open("ab", buffering=0) as file:
        try:
            for chunk in body.chunks:
                # A server without ranges begins anew; what is there already is not written twice.
                fresh = memoryview(chunk)[max(0, have - place) :]
                place += len(chunk)
                if place > total:
                    raise Refusal(Reason.HASH_MISMATCH, f"the server gives more than {total} bytes")
                file.write(fresh)
                if time.monotonic() - told >= PROGRESS_INTERVAL:
                    told = time.monotonic()
                    tell(max(have, place), total)
        finally:
            tell(min(max(have, place), total), total)
    return max(have, place)


def check_bundle(job: Job, part: Path, target: TargetFile, release: Release, *, resumed: bool) -> Path:
    """Check the bytes and what they hold, and give the file its final name. Raises Refusal, BundleError and OSError.

    A mismatch in a download that was `resumed` may be the part file's fault, so it is temporary. A refused file is removed.
    """
    fsync_file(part)
    try:
        with part.open("rb") as file:
            try:
                target.verify_length_and_hashes(file)
            except LengthOrHashMismatchError as error:
                raise Refusal(Reason.HASH_MISMATCH, str(error), temporary=resumed) from error
            manifest = read_bundle(file, max_bytes=job.max_bytes).manifest
        contradiction = find_contradiction(release, manifest)
        if contradiction is not None:
            raise Refusal(Reason.MANIFEST_INVALID, contradiction)
    except Exception:
        part.unlink()
        raise
    final = part.with_suffix(".tar")
    move_file_durably(part, final)
    return final


def find_complete(job: Job, target: TargetFile) -> Path | None:
    """The checked bundle that an earlier attempt left, if its bytes are still the signed ones."""
    final = Path(job.download_dir) / f"{target.hashes['sha256']}.tar"
    try:
        with final.open("rb") as file:
            target.verify_length_and_hashes(file)
    except FileNotFoundError:
        return None
    except LengthOrHashMismatchError:
        final.unlink()
        return None
    return final
