"""A whole fleet of one device as real processes, and a sensor with its log: what the faults happen to."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from edge_agent.commands.control import ControlError, request
from edge_agent.inference.bundle_store import BundleStore
from edge_agent.journal.batch import Batch
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from edge_agent.updates.ledger import Installed, Ledger
from edge_agent.updates.store import LEDGER_KEY
from fleet_contract.messages import DesiredModel
from fleet_controller.demo.brokers import Kind, Role
from fleet_controller.demo.proxy import Proxy
from fleet_controller.enrolment.devices import Enrolment
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.registry.keys import create_key_file
from fleet_controller.registry.repository import create_repository
from fleet_controller.settings import load_settings
from fleet_controller.state_folder import StateFolder
from fleet_controller.store.database import open_database
from tests.faults.programs import PausableBroker, Program, Target, Worker, until
from tests.faults.sensor import Sensor

DEVICE: Final = "farm-1"
MODEL: Final = "frost"
PASSPHRASE: Final = b"a passphrase for tests"
KEEPALIVE: Final = 5.0
RATE: Final = 500.0
"""Events a second."""
WINDOW: Final = 7
"""Events of a station that the second pipeline looks at together,"""
STEP: Final = 3
"""and how many later the next window begins: each event is in two or three windows."""
LISTENING: Final = "connected to the fleet broker"
"""The controller's log line."""
DISK_BYTES: Final = 24 * 1024**2
"""Of the small disk."""

SERVE: Final = """
import sys
from pathlib import Path
from fleet_controller.controller import run
from fleet_controller.settings import load_settings
sys.exit(run(load_settings(Path(sys.argv[1]))))
"""
SOURCE: Final = '[pipelines.source]\ntopic = "farm/+/weather"\ndevice_level = 1\n'
_WINDOWS: Final = f"[pipelines.window]\nsize = {WINDOW}\nstep = {STEP}\n"
ECHO: Final = f'[[pipelines]]\nname = "echo"\ndurable = true\n{SOURCE}'
FROST: Final = f'[[pipelines]]\nname = "frost"\nmodel = "{MODEL}"\ndurable = true\n{SOURCE}{_WINDOWS}'
WEEK: Final = f'[[pipelines]]\nname = "week"\ndurable = true\n{SOURCE}{_WINDOWS}'
PIPELINES: Final = {"echo": ECHO, "frost": FROST, "week": WEEK}
_FAKETIME: Final = ("/usr/lib/{}/faketime/libfaketimeMT.so.1", ("x86_64-linux-gnu", "aarch64-linux-gnu"))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a world is like."""

    pipelines: tuple[str, ...] = ("echo", "frost")
    qos: int = 1
    """Of the sensor."""
    proxied: bool = False
    """Both links of the agent go through proxies."""
    small_disk: bool = False
    """The agent's state folder lies on a tmpfs of its own (as root)."""
    stepped_clock: bool = False
    """The agent runs under libfaketime."""
    max_outbox_rows: int = 1_000_000


class World:
    """Site broker, fleet broker, controller, agent, sensor. `close` ends them all."""

    def __init__(self, folder: Path, conditions: Conditions, seed: int, rate: float = RATE) -> None:
        self.folder = folder
        self.conditions = conditions
        self.state = folder / "agent"
        self.config = folder / "agent.toml"
        self.clock_file = folder / "clock"
        self.before_damage: Path | None = None
        """A copy of agent.db from before a fault damaged it."""
        self._endings: list[Callable[[], None]] = []
        self._ports = random.Random(f"{seed} {os.getpid()}")
        sockets = TemporaryDirectory(prefix="sh")
        self._endings.append(sockets.cleanup)
        self._control = Path(sockets.name) / "c.sock"
        try:
            self._build(seed, rate)
        except BaseException:
            self.close()
            raise

    def _build(self, seed: int, rate: float) -> None:
        folder = self.folder
        users = {"sensor": "sensor-password", f"{DEVICE}-site": "site-password"}
        self.site = PausableBroker(Kind.MOSQUITTO, folder / "site", self._free_port(), users, role=Role.SITE)
        controller = {"fleet-controller": "controller-password"}
        self.fleet = PausableBroker(Kind.MOSQUITTO, folder / "fleet", self._free_port(), controller, role=Role.FLEET)
        for broker in (self.site, self.fleet):
            self._endings.append(broker.stop)
            broker.start()
            broker.wait_ready()
        self.proxies: dict[str, Proxy] = {}
        if self.conditions.proxied:
            for name, broker in (("site", self.site), ("fleet", self.fleet)):
                self.proxies[name] = Proxy(broker.port, self._free_port())
                self._endings.append(self.proxies[name].close)
        self._set_up_controller(self._free_port())
        if self.conditions.small_disk and can_mount():
            self.state.mkdir()
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "smallhold-test", str(self.state)], check=True, timeout=10
            )
            self._endings.append(lambda: unmount(self.state))
        self._set_up_agent()
        self.controller = Program([sys.executable, "-c", SERVE, str(folder / "controller.toml")], folder / "controller.log")
        self.agent = Program(
            [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(self.config)], folder / "agent.log", self._clock()
        )
        self._endings.append(self.controller.stop)
        self.controller.start()
        # what an outbox sends while no controller listens waits for its first resend
        until(lambda: LISTENING in self.controller.log_tail(), self.controller.log_tail, 60.0)
        self._endings.append(self.agent.stop)
        self.agent.start()
        until(self.ready, lambda: f"agent and model are up; {self.agent.log_tail()}", 60.0)
        self.sensor = Sensor(self.site.port, "sensor-password", folder / "sensor.jsonl", rate, self.conditions.qos, seed)
        self._endings.append(self.sensor.close)
        self.targets: dict[str, Target] = {
            "agent": self.agent,
            "worker": Worker(self.worker_pid),
            "site broker": self.site,
            "fleet broker": self.fleet,
            "controller": self.controller,
        }

    def close(self) -> None:
        """End everything, in reverse order."""
        while self._endings:
            self._endings.pop()()

    def _free_port(self) -> int:
        """A port below those that the system gives to clients: one of these could take a broker's port while it is away."""
        while True:
            port = self._ports.randrange(12_000, 32_000)
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            return port

    def _set_up_controller(self, port: int) -> None:
        folder = self.folder
        (folder / "controller-password").write_text("controller-password")
        (folder / "controller.toml").write_text(
            f'state_dir = "{folder}/controller"\n'
            f'[mqtt]\nport = {self.fleet.port}\nusername = "fleet-controller"\npassword_file = "{folder}/controller-password"\n'
            f'backoff_max = "1s"\nkeepalive = {KEEPALIVE}\n'
            f'[http]\nport = {port}\n[enrolment]\nbroker_password_file = "{self.fleet.passwords}"\n'
        )
        settings = load_settings(folder / "controller.toml")
        state = StateFolder(settings.state_dir)
        state.online_keys.mkdir(parents=True)
        state.offline_keys.mkdir(parents=True)
        state.online_passphrase.write_bytes(PASSPHRASE)
        online, offline = state.online_keys, state.offline_keys
        create_repository(
            state.repository,
            root=[create_key_file(offline / f"root-{number}.pem", PASSPHRASE) for number in (1, 2)],
            targets=create_key_file(offline / "targets.pem", PASSPHRASE),
            models=create_key_file(offline / "models.pem", PASSPHRASE),
            snapshot=create_key_file(online / "snapshot.pem", PASSPHRASE),
            timestamp=create_key_file(online / "timestamp.pem", PASSPHRASE),
            now=datetime.now(UTC),
        )
        self.database_url = settings.database_url
        with closing(open_database(settings.database_url)) as database:
            credentials = Enrolment(settings, database, time.time).add(DEVICE, {}, "test")
        (folder / "agent-password").write_text(credentials.broker_password)
        self.fleet.reload()

    def _set_up_agent(self) -> None:
        folder, conditions = self.folder, self.conditions
        (folder / "site-password").write_text("site-password")
        link = f'backoff_min = "200ms"\nbackoff_max = "1s"\nkeepalive = {KEEPALIVE}\n'
        ports = {name: proxy.port for name, proxy in self.proxies.items()}
        self.config.write_text(
            f'device = "{DEVICE}"\nstate_dir = "{self.state}"\ncontrol_socket = "{self._control}"\nlog_json = true\n'
            f'[mqtt]\nport = {ports.get("fleet", self.fleet.port)}\npassword_file = "{folder}/agent-password"\n{link}'
            f'[site]\nport = {ports.get("site", self.site.port)}\npassword_file = "{folder}/site-password"\n{link}'
            f"[store]\nmax_outbox_rows = {conditions.max_outbox_rows}\nmin_free_bytes = 0\n"
            '[health]\ninterval = "5s"\n' + "".join(PIPELINES[name] for name in conditions.pipelines)
        )
        if "frost" in conditions.pipelines:
            bundle = folder / "frost.tar"
            facts = build_bundle(Path(str(files("fleet_controller.demo") / "models" / MODEL / "2.0.0")), bundle)
            put_in_state(self.state, bundle, facts.digest, facts.manifest.version)

    def _clock(self) -> dict[str, str]:
        """Environment in which `clock_file` says what the agent takes for the time."""
        if not self.conditions.stepped_clock:
            return {}
        self.step_clock(0)
        pattern, places = _FAKETIME
        library = next(path for path in map(pattern.format, places) if Path(path).exists())
        return {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def step_clock(self, seconds: int) -> None:
        """Set the agent's wall clock off by this much."""
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.clock_file)

    def ready(self) -> bool:
        """Whether both links are up and the model answers."""
        status = self.status()
        if status is None or not all(status["links"].values()):
            return False
        return bool(status["models"]) or "frost" not in self.conditions.pipelines

    def status(self) -> dict[str, Any] | None:
        """What the agent says of itself; None while it does not answer."""
        try:
            return request(self._control, "status", timeout=5.0)
        except (OSError, ControlError):
            return None

    def worker_pid(self) -> int | None:
        """The model's worker, once it answers."""
        status = self.status()
        return status["workers"][0]["pid"] if status and status["models"] else None


def can_mount() -> bool:
    """Whether this user may mount a tmpfs. Without, a file size limit stands in for the small disk."""
    return os.geteuid() == 0


def unmount(folder: Path) -> None:
    """Take the small disk away, if there is one; what it holds is copied beside it first, for whoever looks at a failure."""
    if os.path.ismount(folder):
        subprocess.run(["cp", "-a", str(folder), f"{folder}-disk"], check=False, timeout=30)
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def put_in_state(state: Path, bundle: Path, digest: str, version: str) -> None:
    """Make a bundle the active release 1, as an update leaves it: the tar in its place and the ledger in agent.db."""
    state.mkdir(exist_ok=True)
    store = BundleStore(state / "models")
    incoming = store.incoming() / "frost.tar"
    incoming.write_bytes(bundle.read_bytes())
    store.add(incoming, digest)
    digest = f"sha256:{digest.removeprefix('sha256:')}"
    installed = Installed(model=MODEL, release=1, version=version, digest=digest, since="2022-01-01T00:00:00Z")
    # also desired: a model that is not would be removed
    ledger = Ledger(revision=1, desired={MODEL: DesiredModel(model=MODEL, release=1)}, active={MODEL: installed})
    done: list[Exception | None] = []
    database = Store(state / "agent.db", StoreSettings(), lambda call, *arguments: call(*arguments))
    batch = Batch()
    batch.values[LEDGER_KEY] = msgspec.msgpack.encode(ledger)
    database.submit(batch, done.append)
    until(lambda: bool(done), "the ledger is stored", 10.0)
    assert done == [None]
    assert database.close(10.0)
