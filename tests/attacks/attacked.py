"""A real agent at a real broker that takes its updates from a repository in an attacker's hands."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edge_agent.commands.control import ControlError, request
from tests.attacks.bundles import MODEL
from tests.attacks.repository import Signing
from tests.attacks.server import Server
from tests.faults.programs import Program, until
from tests.faults.world import UNDER_FAKETIME, faketime_environment
from tests.hostile_models.device import DEVICE, USERS, Farm

PATIENCE = 30.0
ROOT = Path(__file__).parents[2]
STATE = "state"


class Attacked:
    """A device, its folders, and what stands around it."""

    def __init__(self, folder: Path, socket: Path, port: int) -> None:
        self.folder, self._socket = folder, socket
        self.signing = Signing(folder / "repository")
        self.server = Server(folder / "repository")
        for name in ("home", "tmp", "cwd"):
            (folder / name).mkdir()
        (folder / "root.json").write_bytes(self.signing.registry.root())
        (folder / "password").write_text(USERS[DEVICE])
        (folder / "agent.toml").write_text(
            f'device = "{DEVICE}"\nstate_dir = "{folder}/{STATE}"\ncontrol_socket = "{socket}"\nlog_json = true\n'
            f'[mqtt]\nport = {port}\npassword_file = "{folder}/password"\nbackoff_min = "100ms"\nbackoff_max = "500ms"\n'
            f'[site]\npassword_file = "{folder}/password"\n[store]\ndrain_rate = 0\ndrain_jitter = 0\n'
            f'[updates]\nurl = "{self.server.url}"\ntoken_file = "{folder}/password"\nroot_file = "{folder}/root.json"\n'
            'max_attempts = 1\nmax_bundle_bytes = "1MB"\nkeep_free = "1MB"\n[updates.shadow]\ninputs = 0\n'
            '[updates.probation]\ninputs = 0\ntime = "0s"\n'
            f'[[pipelines]]\nname = "{MODEL}"\nmodel = "{MODEL}"\n[pipelines.source]\ntopic = "{MODEL}/in"\n'
        )
        environment = {"PYTHONPATH": str(ROOT), "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        command = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(folder / "agent.toml")]
        self._start = ["env", "-C", str(folder / "cwd")]
        self._command, self._environment = command, environment
        self.program = Program([*self._start, *command], folder / "agent.log", environment)
        self.farm = Farm(port)

    def boot_at(self, clock: float) -> None:
        """Start the agent with another clock (seconds since 1970), which goes on from there. Timers are not touched."""
        fake = faketime_environment() | {"FAKETIME": f"{clock - time.time():.0f}", "FAKETIME_DISABLE_SHM": "1"}
        command = [*self._start, sys.executable, "-c", UNDER_FAKETIME, *self._command[3:]]
        self.program = Program(command, self.folder / "agent.log", self._environment | fake)
        self.program.start()

    def status(self) -> dict[str, Any]:
        try:
            return request(self._socket, "status", timeout=5.0)
        except (OSError, ControlError):
            return {}

    def update(self) -> dict[str, Any]:
        return next(iter(self.status().get("updates", ())), {"state": "none", "release": 0, "reason": None})

    def run(self, release: int) -> None:
        """Desired names the release; until the device has decided."""
        self.farm.desire({MODEL: release})
        final = ("committed", "rejected", "rolled_back")

        def decided() -> bool:
            update = self.update()
            return update["release"] == release and update["state"] in final

        until(decided, lambda: f"{self.update()} {self.program.log_tail()}", PATIENCE)

    def answering(self) -> int:
        """Which release answers an event that is sent now."""
        event = self.farm.publish(MODEL, 1.0, 2.0)
        results = self.farm.results
        until(lambda: event in results.get(MODEL, {}), lambda: f"{self.status()}", PATIENCE)
        (answer,) = results[MODEL][event]
        assert answer.score == 3.0
        return answer.release

    def outside(self) -> dict[str, tuple[int, int, int]]:
        """Everything on the disk that is not the device's state and may not change: path to mode, size and time."""
        found = {}
        for top in (self.folder / name for name in ("home", "tmp", "cwd", "root.json", "password", "agent.toml")):
            for path in (top, *top.rglob("*")):
                stat = path.lstat()
                found[str(path)] = (stat.st_mode, stat.st_size, stat.st_mtime_ns)
        known = {STATE, "repository", "agent.log", "broker0"}
        others = [path.name for place in (self.folder, self.folder.parent) for path in place.iterdir()]
        return found | {name: (0, 0, 0) for name in others if name not in known}

    def children(self) -> list[str]:
        """What the agent has running: one worker, that of the incumbent."""
        command = ["ps", "-o", "args=", "--ppid", str(self.program.pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    def close(self) -> None:
        self.program.stop()
        self.farm.close()
        self.server.close()
