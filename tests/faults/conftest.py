"""A whole fleet of one device as real processes, each of which can be killed and started again, and a sensor with its log."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.commands.control import ControlError, request
from edge_agent.inference.bundle_store import BundleStore
from edge_agent.journal.batch import Batch
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from edge_agent.updates.ledger import Installed, Ledger
from edge_agent.updates.store import LEDGER_KEY
from fleet_contract.messages import DesiredModel
from fleet_controller.demo.brokers import Broker, Kind, Role
from fleet_controller.demo.evidence import ResultsDatabase
from fleet_controller.demo.reconcile import Reconciled, compare, expected_ids
from fleet_controller.enrolment.devices import Enrolment
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.registry.keys import create_key_file
from fleet_controller.registry.repository import create_repository
from fleet_controller.settings import load_settings
from fleet_controller.state_folder import StateFolder
from fleet_controller.store.database import open_database

DEVICE: Final = "farm-1"
MODEL: Final = "frost"
PATIENCE: Final = 30.0
IN_FLIGHT: Final = 20
PASSPHRASE: Final = b"a passphrase for tests"

SERVE: Final = """
import sys
from pathlib import Path
from fleet_controller.controller import run
from fleet_controller.settings import load_settings
sys.exit(run(load_settings(Path(sys.argv[1]))))
"""

PIPELINES: Final = """
[[pipelines]]
name = "echo"
durable = true
[pipelines.source]
topic = "farm/+/weather"
device_level = 1

[[pipelines]]
name = "frost"
model = "frost"
durable = true
[pipelines.source]
topic = "farm/+/weather"
device_level = 1
[pipelines.window]
size = 7
step = 1
"""


def until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """The first true value of `condition`; fails with `what` if there is none in time."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)
    return value


class Program:
    """A process of ours that can be killed and started again with the same command."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def kill(self) -> None:
        """As a power cut would (SIGKILL)."""
        process = self._process
        assert process is not None
        assert process.poll() is None, f"it had ended by itself: {self.log_tail()}"
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""


class Sensor:
    """Publishes events at QoS 1 from a thread of its own and logs each before it leaves; what it logs it delivers in the end.

    After a lost connection it sends nothing new until all that the broker had not acknowledged is acknowledged, so the order
    of first arrival is the order of its log.
    """

    def __init__(self, port: int, password: str, log: Path, rate: float) -> None:
        self.log = log
        self.sent = 0
        self._interval = 1.0 / rate
        self._stopping = threading.Event()
        self._lost = threading.Event()
        self._waiting: list[paho.MQTTMessageInfo] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="sensor", protocol=paho.MQTTv5)
        self._client.username_pw_set("sensor", password)
        self._client.max_inflight_messages_set(IN_FLIGHT)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_disconnect = lambda *_: self._lost.set()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._run, name="sensor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Stop making events and wait until the broker has acknowledged every one."""
        self._stopping.set()
        self._thread.join(PATIENCE)
        until(lambda: not self._unacknowledged(), "the site broker acknowledges what the sensor sent")

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        self._client.disconnect()
        self._client.loop_stop()

    def _unacknowledged(self) -> int:
        self._waiting = [info for info in self._waiting if not info.is_published()]
        return len(self._waiting)

    def _run(self) -> None:
        start = datetime(2022, 1, 1, tzinfo=UTC)
        due = time.monotonic()
        with self.log.open("a", encoding="utf-8") as log:
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                due = max(due + self._interval, time.monotonic() - 1.0)
                if self._lost.is_set() and (not self._client.is_connected() or self._unacknowledged()):
                    continue
                self._lost.clear()
                if self._unacknowledged() >= IN_FLIGHT:
                    continue
                number = self.sent
                topic = f"farm/field-{number % 3}/weather"
                payload = {
                    "id": f"e{number}",
                    "time": (start + timedelta(seconds=number)).isoformat(),
                    "temp_max": 10.0 + number % 7,
                    "temp_min": -3.0 + number % 11,
                    "wind": 1.0 + number % 5,
                    "precipitation": float(number % 3),
                }
                log.write(json.dumps({"topic": topic, "payload": payload, "time": payload["time"]}) + "\n")
                log.flush()
                body = json.dumps(payload, separators=(",", ":")).encode()
                self._waiting.append(self._client.publish(topic, body, qos=1))
                self.sent += 1


class World:
    """Site broker, fleet broker, controller, agent."""

    def __init__(self, folder: Path, sockets: Path, free_port: Callable[[], int], start: list[Callable[[], None]]) -> None:
        self._folder = folder
        self._config = folder / "agent.toml"
        self._control = sockets / "c.sock"
        users = {"sensor": "sensor-password", f"{DEVICE}-site": "site-password"}
        self.site = Broker(Kind.MOSQUITTO, folder / "site", free_port(), users, role=Role.SITE)
        self.fleet = Broker(
            Kind.MOSQUITTO, folder / "fleet", free_port(), {"fleet-controller": "controller-password"}, role=Role.FLEET
        )
        for broker in (self.site, self.fleet):
            start.append(broker.stop)
            broker.start()
            broker.wait_ready()
        self._set_up_controller(free_port())
        self._set_up_agent()
        self.controller = Program([sys.executable, "-c", SERVE, str(folder / "controller.toml")], folder / "controller.log")
        self.agent = Program(
            [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(self._config)], folder / "agent.log"
        )
        for program in (self.controller, self.agent):
            start.append(program.stop)
            program.start()
        until(self._ready, "agent and model are up", 60.0)
        self.sensor = Sensor(self.site.port, "sensor-password", folder / "sensor.jsonl", 150.0)
        start.append(self.sensor.close)

    def _set_up_controller(self, port: int) -> None:
        folder = self._folder
        (folder / "controller-password").write_text("controller-password")
        (folder / "controller.toml").write_text(
            f'state_dir = "{folder}/controller"\n'
            f'[mqtt]\nport = {self.fleet.port}\nusername = "fleet-controller"\npassword_file = "{folder}/controller-password"\n'
            f'backoff_max = "1s"\n[http]\nport = {port}\n[enrolment]\nbroker_password_file = "{self.fleet.passwords}"\n'
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
        folder = self._folder
        (folder / "site-password").write_text("site-password")
        backoff = 'backoff_min = "200ms"\nbackoff_max = "1s"\n'
        self._config.write_text(
            f'device = "{DEVICE}"\nstate_dir = "{folder}/agent"\ncontrol_socket = "{self._control}"\nlog_json = true\n'
            f'[mqtt]\nport = {self.fleet.port}\npassword_file = "{folder}/agent-password"\n{backoff}'
            f'[site]\nport = {self.site.port}\npassword_file = "{folder}/site-password"\n{backoff}'
            '[health]\ninterval = "5s"\n' + PIPELINES
        )
        self._bundle = folder / "frost.tar"
        facts = build_bundle(Path(str(files("fleet_controller.demo") / "models" / MODEL / "2.0.0")), self._bundle)
        put_in_state(folder / "agent", self._bundle, facts.digest, facts.manifest.version)

    def _ready(self) -> bool:
        status = self.status()
        return status is not None and all(status["links"].values()) and bool(status["models"])

    def status(self) -> dict[str, Any] | None:
        """What the agent says of itself; None while there is no agent."""
        try:
            return request(self._control, "status")
        except (OSError, ControlError):
            return None

    def worker_pid(self) -> int | None:
        """The model's worker, once it answers."""
        status = self.status()
        return status["workers"][0]["pid"] if status and status["models"] else None

    def wait_for_stream(self) -> None:
        """Wait until the sensor publishes (again)."""
        before = self.sensor.sent
        until(lambda: self.sensor.sent >= before + 50, "the sensor publishes")

    def settle(self) -> None:
        """Wait until nothing is on its way: everything sent was acknowledged, and the agent's outbox is empty."""
        self.sensor.finish()
        quiet = 0

        def is_quiet() -> bool:
            nonlocal quiet
            status = self.status()
            now = status is not None and self._ready() and status["outbox_rows"] == 0 and status["workers"][0]["queue"] == 0
            rows = self._count() if now else -1
            quiet = quiet + 1 if now and rows == self._rows else 0
            self._rows = rows
            return quiet >= 25

        self._rows = -1
        until(is_quiet, f"the outbox is empty; {self.status()}", 90.0)

    def _count(self) -> int:
        with closing(ResultsDatabase(self.database_url)) as database:
            return database.count_results()

    def reconcile(self, pipeline: str) -> Reconciled:
        """What the sensor's log demands against what the controller's database holds."""
        with closing(ResultsDatabase(self.database_url)) as database:
            rows = database.results()
        expected = expected_ids(self._config, pipeline, self.sensor.log)
        return compare(DEVICE, pipeline, self.sensor.sent, expected, rows)


def put_in_state(state: Path, bundle: Path, digest: str, version: str) -> None:
    """Make a bundle the active release 1, as an update leaves it: the tar in its place and the ledger in agent.db."""
    state.mkdir()
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
    until(lambda: bool(done), "the ledger is stored")
    assert done == [None]
    assert database.close(10.0)


@pytest.fixture
def world(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[World]:
    """A fleet that runs; ended after the test, in reverse order."""
    started: list[Callable[[], None]] = []
    with TemporaryDirectory(prefix="sh") as sockets:
        try:
            yield World(tmp_path, Path(sockets), free_port, started)
        finally:
            for stop in reversed(started):
                stop()
