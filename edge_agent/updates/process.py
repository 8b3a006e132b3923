"""The daemon's side of the trust child: start it, hand it the job, read its lines on the loop, end it."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.loop import Loop
from edge_agent.update_settings import UpdateSettings
from edge_agent.updates.conditions import EARLIEST
from edge_agent.updates.ledger import Floors, UpdateRecord
from edge_agent.updates.picking import Configured
from edge_agent.updates.trust.job import Base, Job, Message, decode_line, encode
from fleet_contract.trust import DELTAS_PATH, METADATA_PATH, TARGETS_PATH

MAX_LINE_BYTES: Final = 64 * 1024
_INHERITED: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)

log = logging.getLogger(__name__)


def make_job(
    settings: UpdateSettings,
    folder: Path,
    record: UpdateRecord,
    floors: Floors,
    now: float,
    *,
    have: str | None,
    budget: int | None = None,
    device: Configured | None = None,
    base: Base | None = None,
) -> Job:
    """The job of fetching the record's release into `folder`; the token is read now. Raises OSError and ValueError.

    `have`: digest of a bundle that is unpacked already. `budget`: bytes that may be received; None is no limit. `base`: what a
    delta may start from.
    """
    if settings.url is None or settings.root_file is None or settings.token_file is None:
        raise ValueError("updates.url, updates.root_file and updates.token_file are needed")
    url = settings.url.rstrip("/")
    return Job(
        metadata_url=url + METADATA_PATH,
        targets_url=url + TARGETS_PATH,
        deltas_url=url + DELTAS_PATH,
        metadata_dir=str(folder / "metadata"),
        download_dir=str(folder / "download"),
        root_file=settings.root_file,
        token=Path(settings.token_file).read_text(encoding="ascii").strip(),
        ca_file=settings.ca_file,
        model=record.model,
        release=record.release,
        timestamp_floor=floors.timestamp_version,
        timestamp_keys=floors.timestamp_keys,
        release_floor=floors.releases.get(record.model, 0),
        reference_time=max(now, floors.last_time, EARLIEST),
        max_bytes=settings.max_bundle_bytes,
        have=have,
        budget=budget,
        base=base,
        keep_free=settings.keep_free,
        device=device or Configured(),
    )


class TrustProcesses:
    """Starts trust children; the real `Trust` port."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def start(self, job: Job, on_line: Callable[[Message], None], on_end: Callable[[str], None]) -> "TrustProcess":
        """Start one. Raises OSError."""
        return TrustProcess(self._loop, job, on_line, on_end)


class TrustProcess:
    """One running child."""

    def __init__(self, loop: Loop, job: Job, on_line: Callable[[Message], None], on_end: Callable[[str], None]) -> None:
        self._loop = loop
        self._on_line = on_line
        self._on_end = on_end
        self._buffer = bytearray()
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent.updates.trust_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            close_fds=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            # A job is a few kilobytes at most and a fresh pipe holds 64, so this never blocks the loop.
            self._process.stdin.write(encode(job))
            self._process.stdin.close()
        except OSError:
            self._reap()
            raise
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        loop.add_reader(self._output.fileno(), self._read)

    def cancel(self) -> None:
        """Kill it; no call-back comes any more."""
        if not self._ended:
            self._process.kill()
            self._finish()

    def _read(self) -> None:
        try:
            data = os.read(self._output.fileno(), MAX_LINE_BYTES)
        except BlockingIOError:
            return
        if not data:
            status = self._finish()
            self._on_end(f"the fetching process ended with status {status}")
            return
        self._buffer += data
        while not self._ended and (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            try:
                message = decode_line(line)
            except msgspec.DecodeError as error:
                self._finish()
                self._on_end(f"the fetching process wrote a line that cannot be read: {error}")
                return
            self._on_line(message)
        if len(self._buffer) > MAX_LINE_BYTES:
            self._finish()
            self._on_end("the fetching process wrote a line that is too long")

    def _finish(self) -> int:
        self._ended = True
        self._loop.remove_reader(self._output.fileno())
        return self._reap()

    def _reap(self) -> int:
        """Its output is closed or nobody wants it, so it has nothing left to do; after SIGKILL the wait is short."""
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            return self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
