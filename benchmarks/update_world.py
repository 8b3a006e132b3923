"""What an update's benchmark and the network's fault matrix share: the real controller, and a device's folders and children."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from edge_agent.loop import Loop
from edge_agent.updates.process import TrustProcesses
from edge_agent.updates.trust.job import Done, Failed, Job, Message
from fleet_contract.trust import DELTAS_PATH, METADATA_PATH, TARGETS_PATH
from fleet_controller.founding import Founding, found

PASSPHRASE: Final = b"correct horse battery"
PATIENCE: Final = 60.0
FLEET: Final = [sys.executable, "-c", "from fleet_controller.cli import main; main()"]


@dataclass(frozen=True)
class Controller:
    """The real service, with one device of the fleet."""

    port: int
    token: str
    """The device's."""
    root: bytes
    state: Path
    _url: str
    _passphrase: Path

    @property
    def deltas(self) -> Path:
        """Where its deltas lie."""
        return self.state / "repository" / "deltas"

    def publish(self, bundle: Path) -> None:
        """`fleet model add`. Raises RuntimeError."""
        key = self.state / "keys" / "offline" / "release.pem"
        command = [*FLEET, "--config", str(self.state / "fleet.toml"), "model", "add", str(bundle), "--key", str(key)]
        done = subprocess.run([*command, "--passphrase-file", str(self._passphrase), "-o", "json"], capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())


@contextlib.contextmanager
def controller(folder: Path, port: int, dead_port: int) -> Iterator[Controller]:
    """`fleet serve`. Its broker is a port where nobody listens."""
    founding = Founding(
        state_dir=folder / "controller",
        operator="admin",
        broker_host="127.0.0.1",
        broker_port=dead_port,
        broker_user="fleet-controller",
        broker_password_file=None,
        broker_pid_file=None,
        http_host="127.0.0.1",
        http_port=port,
        public_url=None,
    )
    found(founding, PASSPHRASE)
    passphrase = folder / "passphrase"
    passphrase.write_bytes(PASSPHRASE + b"\n")
    state = founding.state_dir
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*FLEET, "serve", "--config", str(founding.config)], stdout=log, stderr=log)
        try:
            wait_until(lambda: _answers(founding.url))
            asked = {"Authorization": f"Bearer {(state / 'operator.token').read_text().strip()}"}
            made = httpx.post(f"{founding.url}/api/v1/devices", json={"device": "dut"}, headers=asked, timeout=PATIENCE).json()
            yield Controller(port, made["token"], made["root"].encode(), state, founding.url, passphrase)
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(done: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


@dataclass
class Run:
    """One trust child from start to end."""

    lines: list[Message] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    @property
    def last(self) -> Message:
        """`Done` or `Failed`."""
        return self.lines[-1]

    @property
    def failed(self) -> Failed:
        """How it failed. Raises ValueError."""
        if not isinstance(self.last, Failed):
            raise ValueError(self.last)
        return self.last

    @property
    def done(self) -> Done:
        """What it brought. Raises ValueError."""
        if not isinstance(self.last, Done):
            raise ValueError(self.last)
        return self.last


class Device:
    """A device's folders, and children started as the daemon starts them."""

    def __init__(self, folder: Path, root: bytes, base: str, *, token: str, model: str) -> None:
        """`base`: URL of the artifacts' server."""
        self.folder = folder
        folder.mkdir()
        (folder / "root.json").write_bytes(root)
        self.base = base
        self._token, self._model = token, model

    def job(self, **changes: Any) -> Job:
        """The first release, unless `changes` say otherwise."""
        values: dict[str, Any] = {
            "metadata_url": self.base + METADATA_PATH,
            "targets_url": self.base + TARGETS_PATH,
            "deltas_url": self.base + DELTAS_PATH,
            "metadata_dir": str(self.folder / "metadata"),
            "download_dir": str(self.folder / "download"),
            "root_file": str(self.folder / "root.json"),
            "token": self._token,
            "model": self._model,
            "release": 1,
            "reference_time": time.time(),
            "max_bytes": 200_000_000,
            "timeout": 5.0,
        }
        return Job(**values | changes)

    def run(self, **changes: Any) -> Run:
        """One attempt, to its end."""
        run, loop = Run(), Loop()
        TrustProcesses(loop).start(self.job(**changes), run.lines.append, run.ends.append)
        ended = loop.run_until(lambda: bool(run.ends), 10 * PATIENCE)
        loop.close()
        if not ended:
            raise TimeoutError
        return run

    def part(self) -> int:
        """Bytes in the part file."""
        return sum(path.stat().st_size for path in (self.folder / "download").glob("*.part"))
