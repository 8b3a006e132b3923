"""The bundle's bytes: resumed in a part file, bounded, checked against the signed hash, read as a bundle, then named."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError, LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from edge_agent.durable import fsync_file, move_file_durably
from edge_agent.updates.trust.fetcher import TokenFetcher
from edge_agent.updates.trust.job import Job
from edge_agent.updates.trust.refusal import Refusal
from fleet_contract.bundle import read_bundle
from fleet_contract.reasons import Reason
from fleet_contract.trust import Release

PROGRESS_INTERVAL: Final = 0.5
"""Seconds between two progress lines."""

Tell = Callable[[int, int], object]


def fetch_bundle(job: Job, fetcher: TokenFetcher, path: str, target: TargetFile, tell: Tell) -> Path:
    """Fetch all bytes of a signed target; returns the complete part file, its hash not yet checked.

    `tell(fetched, total)` reports progress. Other downloads' files in the folder are removed: one bundle at a time.
    Raises Refusal, DownloadError and OSError; what was fetched stays for the next attempt.
    """
    folder = Path(job.download_dir)
    part = folder / f"{target.hashes['sha256']}.part"
    for stale in (*folder.glob("*.part"), *folder.glob("*.tar")):
        if stale.stem != part.stem:
            stale.unlink()
    have = part.stat().st_size if part.exists() else 0
    if have > target.length:
        part.unlink()
        have = 0
    # The unpacked bundle needs the same again.
    needed = 2 * target.length - have
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Refusal(Reason.DISK_FULL, f"{needed} bytes are needed and {free} are free", temporary=True)
    if have < target.length:
        _fetch_into(part, fetcher, job.targets_url.rstrip("/") + "/" + path, have, target.length, tell)
    tell(target.length, target.length)
    return part


def _fetch_into(part: Path, fetcher: TokenFetcher, url: str, have: int, length: int, tell: Tell) -> None:
    try:
        start, chunks = fetcher.open_from(url, have)
    except DownloadHTTPError as error:
        if error.status_code == 416:  # the server has fewer bytes than the part file: it is no part of this target
            part.unlink(missing_ok=True)
            raise DownloadError("the server does not have the bytes to resume from") from error
        raise
    told = time.monotonic()
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        fetched = start
        try:
            for chunk in chunks:
                fetched += len(chunk)
                if fetched > length:
                    break
                file.write(chunk)
                if time.monotonic() - told >= PROGRESS_INTERVAL:
                    told = time.monotonic()
                    tell(fetched, length)
        finally:
            file.flush()
            tell(min(fetched, length), length)
    if fetched > length:
        part.unlink()
        raise Refusal(Reason.HASH_MISMATCH, f"{url} gives more than the {length} bytes that were signed")
    if fetched < length:
        raise DownloadError(f"{url} ended after {fetched} of {length} bytes")


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
        if (manifest.name, manifest.version) != (release.model, release.version):
            raise Refusal(
                Reason.MANIFEST_INVALID,
                f"the manifest says {manifest.name} {manifest.version}, signed is {release.model} {release.version}",
            )
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
