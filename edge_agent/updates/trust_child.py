"""`python -m edge_agent.updates.trust_child`: fetch and verify one release, or the metadata alone, then end.

Reads a job (`trust/job.py`) from standard input and writes JSON lines to standard output, the last of them `done` or `error`.
It never opens agent.db and writes nothing outside the job's two folders. Hostile bytes are parsed here, not in the daemon.
"""

import fcntl
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from tuf.api.metadata import TargetFile

from edge_agent.updates.picking import Choice
from edge_agent.updates.trust.configuration import fetch_configuration
from edge_agent.updates.trust.delta import DeltaMissing, fetch_by_delta
from edge_agent.updates.trust.download import check_bundle, check_disk, clear_stale, fetch_bundle, find_complete
from edge_agent.updates.trust.fetcher import TokenFetcher
from edge_agent.updates.trust.job import (
    Base,
    Done,
    Failed,
    Fetched,
    Job,
    Message,
    MetadataValid,
    Progress,
    Verified,
    WholeInstead,
    decode_job,
    encode,
)
from edge_agent.updates.trust.metadata import check_release, refresh
from edge_agent.updates.trust.refusal import Refusal, judge
from fleet_contract.delta import DeltaError
from fleet_contract.reasons import Reason

MEMORY_BYTES: Final = 1024**3
"""Address space: metadata is bounded by megabytes and bundles are streamed, so more is an attack or a defect."""

LOCK_SECONDS: Final = 15.0
LOCK_POLL: Final = 0.05


def run(job: Job, fetcher: TokenFetcher, tell: Callable[[Message], object]) -> Done:
    """Do the job. Raises Refusal."""
    what = "state folders"
    try:
        folder = Path(job.download_dir)
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
        try:
            what = "metadata"
            facts = refresh(job, fetcher)
            tell(
                MetadataValid(
                    timestamp_version=facts.timestamp_version,
                    timestamp_keys=facts.timestamp_keys,
                    release_floor=facts.release_floor,
                    floors=facts.floors,
                    expires=facts.expires,
                    reference_time=job.reference_time,
                )
            )
            if job.configuration is not None:
                what = "configuration"
                return fetch_configuration(job, job.configuration, facts, fetcher)
            if not job.model:
                return Done(received=fetcher.received)
            target, release = check_release(job, facts)
            digest = f"sha256:{target.hashes['sha256']}"
            choice = facts.choice or Choice(picked=None)
            tell(
                Verified(
                    version=release.version,
                    digest=digest,
                    length=target.length,
                    variant=release.variant,
                    why=choice.why,
                    rejected=choice.rejected,
                )
            )
            if job.have == digest:
                return Done(path=None, digest=digest, version=release.version, received=fetcher.received)
            what = "bundle"
            final = find_complete(job, target)
            if final is not None:
                tell(Fetched())
                return Done(path=str(final), digest=digest, version=release.version, received=fetcher.received)
            sha256 = target.hashes["sha256"]
            clear_stale(folder, sha256)
            part = folder / f"{sha256}.part"
            resumed = part.exists()
            if job.base is None or resumed or not _by_delta(job, job.base, fetcher, target, tell):

                def progress(have: int, total: int) -> None:
                    tell(Progress(fetched=have, total=total, received=fetcher.received))

                part = fetch_bundle(job, fetcher, facts.path, target, progress)
            tell(Fetched())
            final = check_bundle(job, part, target, release, resumed=resumed)
            return Done(path=str(final), digest=digest, version=release.version, received=fetcher.received)
        finally:
            os.close(lock)
    except BrokenPipeError:
        raise
    except Exception as error:  # the child's boundary: every failure becomes one line with a reason code
        raise judge(error, what) from error


def _by_delta(job: Job, base: Base, fetcher: TokenFetcher, target: TargetFile, tell: Callable[[Message], object]) -> bool:
    """Whether the part file is whole now. Where it is not, the daemon was told why, and only the delta's bytes are lost."""
    check_disk(job, Path(job.download_dir), target.length, 0)

    def progress(have: int, total: int) -> None:
        tell(Progress(fetched=have, total=total, received=fetcher.received, delta=True))

    try:
        fetch_by_delta(job, base, fetcher, target, progress)
    except DeltaError as error:
        tell(WholeInstead(detail=str(error), offered=not isinstance(error, DeltaMissing)))
        return False
    return True


def _lock(folder: Path, seconds: float = LOCK_SECONDS) -> int:
    """Wait for the folders to be this child's own.

    A daemon starts one child at a time, but one whose daemon was killed may still be writing; it ends at its next line.
    """
    end = time.monotonic() + seconds
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() >= end:
                os.close(descriptor)
                raise Refusal(Reason.DOWNLOAD_FAILED, "another download is still running here", temporary=True) from error
            time.sleep(LOCK_POLL)
        else:
            return descriptor


def main() -> int:
    """Returns 0 after `done`, 1 after `error`, 2 if the job cannot be read or nobody listens."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    def tell(line: Message) -> None:
        sys.stdout.buffer.write(encode(line) + b"\n")
        sys.stdout.buffer.flush()

    try:
        job = decode_job(sys.stdin.buffer.read())
    except msgspec.DecodeError as error:
        sys.stderr.write(f"the job cannot be read: {error}\n")
        return 2
    fetcher = TokenFetcher(job.token, timeout=job.timeout, ca_file=job.ca_file, budget=job.budget)
    try:
        tell(run(job, fetcher, tell))
    except BrokenPipeError:
        # Nobody listens any more; keep the interpreter from complaining while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except Refusal as refusal:
        tell(
            Failed(
                reason=refusal.reason,
                detail=str(refusal),
                temporary=refusal.temporary,
                retry_after=refusal.retry_after,
                received=fetcher.received,
                needed=refusal.needed,
            )
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
