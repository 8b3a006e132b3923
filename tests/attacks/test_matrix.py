"""The attack matrix: one real agent at a real broker, really signed metadata, and every row refused with its own reason.

`python -m pytest -s tests/attacks` prints the table.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from edge_agent.commands.control import ControlError, request
from fleet_contract.messages import Desired, DesiredModel, encode
from fleet_contract.reasons import Reason
from fleet_contract.topics import Down, down
from fleet_contract.trust import MODELS_ROLE
from fleet_controller.demo.brokers import Broker
from tests.attacks.bundles import MODEL
from tests.attacks.repository import Signing
from tests.attacks.rows import INCUMBENT, ROWS, SOUND, TABLE, Row, Scene
from tests.attacks.server import Server
from tests.faults.programs import Program, until
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
        self.program = Program(["env", "-C", str(folder / "cwd"), *command], folder / "agent.log", environment)
        self.farm = Farm(port)

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
        until(lambda: event in results.get(MODEL, {}), self.program.log_tail, PATIENCE)
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


@pytest.fixture
def attacked(tmp_path: Path, mosquitto: Callable[..., Broker]) -> Iterator[Attacked]:
    broker = mosquitto(USERS)
    with TemporaryDirectory(prefix="sh") as sockets:
        made = Attacked(tmp_path, Path(sockets) / "c.sock", broker.port)
        yield made
        made.close()


def play(attacked: Attacked, scene: Scene, row: Row) -> str:
    """One attack, from an honest world to an honest world; returns the reason that the device gave."""
    row.act(scene)
    attacked.run(row.release)
    update = attacked.update()
    assert update["state"] == "rejected", (row.name, update)
    assert attacked.answering() == INCUMBENT, row.name
    until(lambda: len(attacked.children()) == 1, lambda: f"{row.name}: {attacked.children()}", PATIENCE)
    scene.server.be_honest()
    scene.signing.sign_again()
    attacked.run(INCUMBENT)
    return f"{update['reason']}" if update["reason"] == row.reason else f"{update['reason']} ({update['detail']})"


def test_every_attack_is_refused_with_its_reason_and_the_incumbent_answers(attacked: Attacked) -> None:
    signing, farm = attacked.signing, attacked.farm
    assert signing.publish("1.0.0") == INCUMBENT
    attacked.program.start()
    until(attacked.status, attacked.program.log_tail, PATIENCE)
    attacked.run(INCUMBENT)
    assert attacked.answering() == INCUMBENT
    scene = Scene(signing, attacked.server, signing.copy())
    assert signing.publish("2.0.0") == SOUND
    attacked.run(99)
    assert attacked.update()["reason"] == Reason.RELEASE_UNKNOWN
    attacked.run(INCUMBENT)
    before = attacked.outside()

    got = {row.name: play(attacked, scene, row) for row in ROWS}
    width = max(map(len, got)) + 2
    print("\n" + "\n".join(f"{row.name:{width}}{got[row.name]:22}{row.stops}" for row in ROWS))
    assert got == {row.name: str(row.reason) for row in ROWS}

    # All that kept the device from the sound release was the attacker.
    attacked.run(SOUND)
    assert attacked.update()["state"] == "committed"
    assert attacked.answering() == SOUND
    check_desired(attacked)
    assert attacked.outside() == before
    assert farm.unanswered(MODEL) == set()


def check_desired(attacked: Attacked) -> None:
    """What whoever has the broker can say; the sound release answers."""
    status = attacked.status()
    older = encode(Desired(revision=1, models=(DesiredModel(model=MODEL, release=INCUMBENT),)))
    for payload in (older, b"[" * 50_000, b'{"revision": 1e400, "models": [null]}', b"\x00"):
        attacked.farm.say(down(DEVICE, Down.DESIRED), payload)
    assert attacked.answering() == SOUND
    again = attacked.status()
    assert (again["revision"], again["updates"]) == (status["revision"], status["updates"])

    attacked.signing.revoke_below(SOUND)
    # The device learns of it with any look at the metadata; that there is no such release is of no matter.
    attacked.run(99)
    attacked.run(INCUMBENT)
    assert (attacked.update()["state"], attacked.update()["reason"]) == ("rejected", Reason.RELEASE_BELOW_FLOOR)
    # The metadata from before it was raised, with newer signatures of the online keys, on a device that has lost its own copy.
    shutil.rmtree(attacked.folder / STATE / "updates" / "metadata")
    for part in attacked.signing.lead_to({MODELS_ROLE: 2}):
        attacked.server.instead.update(part)
    attacked.run(98)
    assert attacked.update()["reason"] == Reason.RELEASE_UNKNOWN
    attacked.run(INCUMBENT)
    assert (attacked.update()["state"], attacked.update()["reason"]) == ("rejected", Reason.RELEASE_BELOW_FLOOR)
    assert attacked.answering() == SOUND


def test_the_table_of_attacks_in_the_documents_is_this_one() -> None:
    told = (ROOT / "docs" / "security.md").read_text()
    rows = "".join(f"| {name} | {reason} | {stops} |\n" for name, reason, stops in TABLE)
    assert f"| attack | the device says | what stops it |\n|---|---|---|\n{rows}" in told
