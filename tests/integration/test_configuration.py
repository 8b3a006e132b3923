"""A configuration from the operator's file to the device's results: real controller, real agent, real Mosquitto."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.commands.control import ControlError, request
from fleet_contract.configuration import ConfigurationRevision
from fleet_controller.configurations import store
from fleet_controller.configurations.store import Revision
from fleet_controller.demo.brokers import Broker, Role
from fleet_controller.founding import Founding, found
from fleet_controller.registry.keys import open_folder
from fleet_controller.registry.repository import Repository
from fleet_controller.state_folder import StateFolder
from fleet_controller.store.database import open_database, sqlite_url

PATIENCE = 60.0
FLEET = [sys.executable, "-c", "from fleet_controller.cli import main; main()"]
THRESHOLD = '[[pipelines]]\nname = "echo"\n[pipelines.decision]\nabove = {above}\n'
SILENT = '[[pipelines]]\nname = "echo"\n[pipelines.source]\ntopic = "farm/+/nobody"\ndevice_level = 1\n'


def until(condition: Callable[[], Any], what: Callable[[], str] | str) -> Any:
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {PATIENCE:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)
    return value


class Sensor:
    """Publishes numbered events without a pause, on a thread of its own; `stop` returns how many there were."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="sensor", protocol=paho.MQTTv5)
        self._client.username_pw_set("sensor", "sensor-password")
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.sent = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sensor")
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            body = {
                "id": f"e{self.sent}",
                "time": f"2026-01-01T{self.sent // 3600:02}:{self.sent // 60 % 60:02}:{self.sent % 60:02}Z",
            }
            body["t"] = 25.0  # type: ignore[assignment]
            self._client.publish("farm/north/weather", json.dumps(body), qos=1).wait_for_publish(PATIENCE)
            self.sent += 1

    def stop(self) -> int:
        self._ended.set()
        self._thread.join(PATIENCE)
        self._client.disconnect()
        self._client.loop_stop()
        return self.sent


class World:
    """One fleet of one device."""

    def __init__(self, folder: Path, control: Path, founding: Founding, fleet: Broker, site: Broker) -> None:
        self.folder, self.socket, self.founding, self.site = folder, control, founding, site
        self.log = folder / "agent.log"
        self.config = folder / "agent.toml"
        self.results: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.health: list[dict[str, Any]] = []
        self._programs: list[subprocess.Popen[bytes]] = []
        self._start([*FLEET, "serve", "--config", str(founding.config)], folder / "controller.log")
        until(lambda: self.fleet("health").returncode == 0, "the controller answers")
        out = folder / "device"
        assert self.fleet("device", "add", "farm-1", "--out", out).returncode == 0
        fleet.reload()
        (folder / "site-password").write_text("site-password")
        self.config.write_text(
            f'device = "farm-1"\nstate_dir = "{folder}/state"\ncontrol_socket = "{control}"\nlog_json = true\n'
            f'[mqtt]\nport = {fleet.port}\npassword_file = "{out}/broker-password"\nbackoff_min = "100ms"\n'
            'backoff_max = "500ms"\n'
            f'[site]\nport = {site.port}\npassword_file = "{folder}/site-password"\n'
            f'[updates]\nurl = "{founding.url}"\ntoken_file = "{out}/token"\nroot_file = "{out}/root.json"\n'
            'retry_min = "200ms"\nretry_max = "1s"\nrefresh_interval = "0s"\n'
            '[updates.configuration]\ntime = "2s"\nreach = "20s"\nlongest = "5s"\n[health]\ninterval = "500ms"\n'
            '[[pipelines]]\nname = "echo"\ndurable = true\n[pipelines.source]\ntopic = "farm/+/weather"\ndevice_level = 1\n'
            '[pipelines.decision]\nreading = "t"\nabove = 30.0\n'
            '[[pipelines]]\nname = "trio"\ndurable = true\n[pipelines.source]\ntopic = "farm/+/weather"\ndevice_level = 1\n'
            "[pipelines.window]\nsize = 3\n"
        )
        self._ear = paho.Client(CallbackAPIVersion.VERSION2, client_id="ear", protocol=paho.MQTTv5)
        self._ear.username_pw_set("fleet-controller", (founding.state_dir / "broker-password").read_text().strip())
        self._ear.on_message = lambda _client, _data, message: self._hear(message)
        self._ear.on_connect = lambda client, *_more: client.subscribe("sh/v1/+/up/#", qos=1)
        self._ear.connect("127.0.0.1", fleet.port)
        self._ear.loop_start()
        self.agent = self.start_agent()
        until(lambda: (links := self.status().get("links")) and all(links.values()), self.log.read_text)
        self.sensor = Sensor(site.port)
        until(lambda: len(self.of("echo")) > 20, self.log.read_text)

    def _hear(self, message: paho.MQTTMessage) -> None:
        places = {"note": self.notes, "health": self.health}
        place = self.results if "/up/result/" in message.topic else places.get(message.topic.rpartition("/")[2])
        if place is not None:
            place.append(json.loads(message.payload))

    def _start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._programs.append(program)
        return program

    def start_agent(self) -> subprocess.Popen[bytes]:
        return self._start([sys.executable, "-m", "edge_agent.cli", "run", "--config", str(self.config)], self.log)

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent.wait(PATIENCE)

    def fleet(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SMALLHOLD_")}
        command = [*FLEET, "--config", str(self.founding.operator_config), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)

    def publish(self, text: str) -> None:
        file = self.folder / "farm.toml"
        file.write_text(text)
        done = self.fleet("config", "set", "farm", file)
        assert done.returncode == 0, done.stderr

    def publish_unchecked(self, revision: int, text: str) -> None:
        """As whoever holds the online key could: past the service's own check."""
        state = StateFolder(self.founding.state_dir)
        passphrase = state.online_passphrase.read_bytes().strip()
        repository = Repository(state.repository, online=lambda: open_folder(state.online_keys, passphrase))
        digest = repository.publish_configuration(ConfigurationRevision(name="farm", revision=revision), text.encode())
        row = Revision(
            name="farm", revision=revision, digest=digest, content=text.encode(), contract_low=1, contract_high=None, agent="",
            operator=None, created=0.0,
        )  # fmt: skip
        url = sqlite_url(self.founding.state_dir / "controller.db")
        with closing(open_database(url)) as database, database.write() as connection:
            store.add(connection, row)

    def assign(self, what: str) -> int:
        done = self.fleet("config", "assign", what, "--device", "farm-1", "--canary", "0", "--soak", "0s", "-o", "json")
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["id"])

    def rollout(self, number: int) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.fleet("rollout", "show", number, "-o", "json").stdout)
        return shown

    def status(self) -> dict[str, Any]:
        """As the agent says it locally; empty while it does not answer."""
        try:
            return request(self.socket, "status")
        except (OSError, ControlError):
            return {}

    def configuration(self) -> dict[str, Any]:
        return self.status().get("configuration") or {}

    def reaches(self, state: str, revision: int) -> dict[str, Any]:
        found: dict[str, Any] = until(
            lambda: (said := self.configuration()) and (said["state"], said["revision"]) == (state, revision) and said,
            lambda: f"{self.configuration()} is not {state} {revision}\n{self.log.read_text()[-3000:]}",
        )
        return found

    def of(self, pipeline: str) -> list[dict[str, Any]]:
        return [result for result in list(self.results) if result["pipeline"] == pipeline]

    def states(self) -> list[str]:
        """Of `echo`'s newest results."""
        return [result["outcome"]["state"] for result in self.of("echo")[-5:]]

    def settle(self) -> int:
        """Stop the sensor and wait for its last event; checks that each has one result, whatever happened in between."""
        sent = self.sensor.stop()

        def answers() -> set[str]:
            return {event for result in self.of("echo") for event in result["events"]["ids"]}

        until(lambda: len(answers()) == sent, lambda: f"{len(answers())} of {sent} events are answered")
        until(lambda: len(self.windows()) == sent // 3, lambda: f"{len(self.windows())} of {sent // 3} windows")
        assert len({result["result_id"] for result in self.of("echo")}) == sent
        assert self.windows() == {
            tuple(f"e{number}" for number in range(first, first + 3)) for first in range(0, sent - sent % 3, 3)
        }
        return sent

    def windows(self) -> set[tuple[str, ...]]:
        return {tuple(result["events"]["ids"]) for result in self.of("trio")}

    def close(self) -> None:
        self.sensor.stop()
        self._ear.disconnect()
        self._ear.loop_stop()
        for program in reversed(self._programs):
            if program.poll() is None:
                program.send_signal(signal.SIGTERM)
                program.wait(PATIENCE)


@pytest.fixture
def world(tmp_path: Path, mosquitto: Callable[..., Broker], free_port: Callable[[], int]) -> Iterator[World]:
    fleet = mosquitto({"fleet-controller": "replaced"}, role=Role.FLEET)
    site = mosquitto({"sensor": "sensor-password", "farm-1-site": "site-password"})
    founding = Founding(
        state_dir=tmp_path / "controller", operator="admin", broker_host="127.0.0.1", broker_port=fleet.port,
        broker_user="fleet-controller", broker_password_file=fleet.passwords, broker_pid_file=None, http_host="127.0.0.1",
        http_port=free_port(), public_url=None,
    )  # fmt: skip
    found(founding, b"correct horse battery")
    fleet.reload()
    with TemporaryDirectory(prefix="sh") as sockets:
        made = World(tmp_path, Path(sockets) / "c.sock", founding, fleet, site)
        try:
            yield made
        finally:
            made.close()


def test_a_new_threshold_reaches_the_results_and_no_event_is_lost_or_answered_twice(world: World) -> None:
    assert set(world.states()) == {"off"}
    world.publish(THRESHOLD.format(above=20.0))
    rollout = world.assign("farm")
    report = world.reaches("committed", 1)
    assert (report["running_name"], report["running_revision"], report["restart"]) == ("farm", 1, [])
    until(lambda: set(world.states()) == {"on"}, "the new threshold decides")
    until(lambda: world.rollout(rollout)["state"] == "done", lambda: str(world.rollout(rollout)))
    assert world.agent.poll() is None  # the same process all the time
    fetched = [message["update_bytes"] for message in world.health]
    assert fetched[0] == 0 < fetched[-1] < 100_000  # also after the restart
    world.settle()


def test_a_log_level_is_changed_while_running(world: World) -> None:
    starts = world.log.read_text().count('"message": "starting"')
    world.publish('log_level = "debug"\n')
    world.assign("farm")
    world.reaches("committed", 1)
    assert world.log.read_text().count('"message": "starting"') == starts
    assert world.fleet("config", "unassign", "--device", "farm-1").returncode == 0
    until(lambda: world.configuration().get("running_name") == "", "the own file alone is used")
    world.settle()


def test_a_broker_in_a_configuration_is_refused_by_the_device_too(world: World) -> None:
    world.publish_unchecked(1, '[mqtt]\nhost = "evil.example"\n')
    rollout = world.assign("farm@1")
    report = world.reaches("rejected", 1)
    assert report["reason"] == "key_not_allowed"
    assert "mqtt.host" in report["detail"]
    until(lambda: world.rollout(rollout)["state"] == "paused", lambda: str(world.rollout(rollout)))
    assert world.rollout(rollout)["members"][0]["reason"] == "key_not_allowed"
    until(lambda: [note for note in world.notes if note["reason"] == "key_not_allowed"], "a note tells of it")
    world.settle()


def test_one_that_silences_a_pipeline_is_taken_back_by_the_device_and_the_events_are_answered(world: World) -> None:
    world.publish(SILENT)
    rollout = world.assign("farm")
    report = world.reaches("rolled_back", 1)
    assert report["reason"] == "pipeline_silent"
    until(lambda: world.configuration().get("running_name") == "", "the own file alone is used")
    until(lambda: world.rollout(rollout)["state"] == "paused", lambda: str(world.rollout(rollout)))
    before = len(world.of("echo"))
    until(lambda: len(world.of("echo")) > before + 20, "the pipeline answers again")
    until(lambda: [note for note in world.notes if note["reason"] == "pipeline_silent"], "a note tells of it")


@pytest.mark.parametrize("state", ["fetching", "checking", "applying", "probation"])
def test_killed_in_the_middle_it_ends_as_if_nothing_had_been(world: World, state: str) -> None:
    record = world.folder / "state" / "configuration" / "state.json"
    world.publish(THRESHOLD.format(above=20.0))
    world.assign("farm")
    # the record is looked at without a pause: some states last for a moment only, and the next one will do then
    order = ["fetching", "checking", "applying", "probation"]
    wanted = set(order[order.index(state) :])
    end = time.monotonic() + PATIENCE
    while not record.exists() or json.loads(record.read_bytes())["state"] not in wanted:
        assert time.monotonic() < end
    world.kill_agent()
    world.agent = world.start_agent()
    world.reaches("committed", 1)
    until(lambda: set(world.states()) == {"on"}, "the new threshold decides")
    world.settle()


def test_a_boot_loop_ends_with_what_was_there_before(world: World) -> None:
    world.publish(THRESHOLD.format(above=20.0))
    world.assign("farm")
    for _ in range(2):
        world.reaches("probation", 1)
        world.kill_agent()
        world.agent = world.start_agent()
    report = world.reaches("rolled_back", 1)
    assert report["reason"] == "start_failed"
    until(lambda: set(world.states()) == {"off"}, "the own file decides")
    world.settle()
