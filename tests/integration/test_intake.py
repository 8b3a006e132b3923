"""Intake over a real Mosquitto: what is durable is stored once and acknowledged, also over a kill in between."""

import json
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from fleet_contract import topics
from fleet_contract.messages import Ack, Command, decode
from fleet_controller.commands import Commands
from fleet_controller.demo.brokers import Broker, Role
from fleet_controller.desired import DesiredStates
from fleet_controller.intake.intake import Changes, Intake
from fleet_controller.intake.session import Session
from fleet_controller.settings import IntakeSettings, MqttSettings
from fleet_controller.store import tables
from fleet_controller.store.database import Database, open_database, sqlite_url

USERS = {"fleet-controller": "secret", "farm-1": "device-secret"}
PATIENCE = 15.0

# A controller's intake in a process of its own. With "die" it is killed after the first commit, before the acknowledgement.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from fleet_controller.intake.intake import Intake
from fleet_controller.intake.session import Session
from fleet_controller.settings import IntakeSettings, MqttSettings
from fleet_controller.store.database import open_database

url, port, password, mode = sys.argv[1:]
settings = MqttSettings(port=int(port), username="fleet-controller", password_file=Path(password))
def publish(*args, **more):
    if mode == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return session.publish(*args, **more)
intake = Intake(open_database(url), publish, IntakeSettings(), lambda changes: None)
session = Session(settings, intake.put, lambda: print("up", flush=True))
intake.start()
session.start()
time.sleep(600)
"""


class Device:
    """A device's client: sends what it is told, and collects what comes down."""

    def __init__(self, port: int) -> None:
        self.inbox: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        subscribed: queue.Queue[bool] = queue.Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="farm-1", protocol=mqtt.MQTTv5)
        self.client.username_pw_set("farm-1", USERS["farm-1"])
        self.reasons: queue.Queue[str] = queue.Queue()
        """Of the broker's acknowledgements."""
        self.client.on_publish = lambda _client, _data, _mid, reason, _properties: self.reasons.put(reason.getName())
        self.client.on_message = lambda _client, _data, message: self.inbox.put(message)
        self.client.on_subscribe = lambda *_args: subscribed.put(True)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe(topics.down_filter("farm-1"), qos=1)
        subscribed.get(timeout=PATIENCE)

    def send(self, channel: topics.Up, pipeline: str | None = None, **fields: Any) -> None:
        payload = json.dumps(fields).encode()
        self.client.publish(topics.up("farm-1", channel, pipeline), payload, qos=1).wait_for_publish(PATIENCE)

    def send_results(self, *seqs: int) -> None:
        for seq in seqs:
            self.send(topics.Up.RESULT, "frost", stream="s", seq=seq, result_id=f"r{seq}", source="x")

    def acknowledged(self, count: int) -> list[int]:
        """The sequence numbers of the acknowledgements, until there are `count`."""
        found: list[int] = []
        while len(found) < count:
            message = self.inbox.get(timeout=PATIENCE)
            if message.topic == topics.down("farm-1", topics.Down.ACK):
                for low, high in decode(message.payload, Ack).ranges:
                    found += range(low, high + 1)
        return found

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def fleet_broker(mosquitto: Callable[..., Broker]) -> Broker:
    return mosquitto(USERS, role=Role.FLEET)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(sqlite_url(tmp_path / "controller.db"))
    with made.write() as connection:
        connection.execute(sa.insert(tables.devices).values(device="farm-1", labels={}, created=1.0))
    yield made
    made.close()


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(USERS["fleet-controller"] + "\n")
    return path


@pytest.fixture
def device(fleet_broker: Broker) -> Iterator[Device]:
    made = Device(fleet_broker.port)
    yield made
    made.close()


class Running:
    """Session, intake, commands and desired states in this process."""

    def __init__(self, database: Database, port: int, password_file: Path) -> None:
        settings = MqttSettings(
            port=port, username="fleet-controller", password_file=password_file, backoff_min=0.05, backoff_max=0.2
        )
        self.session = Session(settings, lambda topic, payload: self.intake.put(topic, payload), lambda: None)
        self.commands = Commands(database, self.session.publish)
        self.desired = DesiredStates(database, self.session.publish)
        self.intake = Intake(database, self.session.publish, IntakeSettings(), self.changed)
        self.intake.start()
        self.session.start()
        assert self.session.wait_connected(PATIENCE)

    def changed(self, changes: Changes) -> None:
        self.commands.answered(changes.replies)

    def stop(self) -> None:
        assert self.session.stop(PATIENCE)
        assert self.intake.stop(PATIENCE)


@pytest.fixture
def running(database: Database, fleet_broker: Broker, password_file: Path) -> Iterator[Running]:
    made = Running(database, fleet_broker.port, password_file)
    yield made
    made.stop()


def stored(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(connection.execute(sa.select(tables.results.c.result_id)).scalars())


def test_durable_results_sent_twice_are_stored_once_and_acknowledged_twice(
    database: Database, running: Running, device: Device
) -> None:
    device.send_results(1, 2, 3)
    assert sorted(device.acknowledged(3)) == [1, 2, 3]
    device.send_results(1, 2, 3)
    assert sorted(device.acknowledged(3)) == [1, 2, 3]
    assert stored(database) == ["r1", "r2", "r3"]


def test_a_kill_between_commit_and_acknowledgement_loses_nothing_and_repeats_nothing(
    database: Database, fleet_broker: Broker, password_file: Path, device: Device
) -> None:
    def start(mode: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PROGRAM, database.url, str(fleet_broker.port), str(password_file), mode]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        return process

    dying = start("die")
    try:
        device.send_results(1)
        assert dying.wait(PATIENCE) == -signal.SIGKILL
    finally:
        dying.kill()
        dying.communicate()
    assert stored(database) == ["r1"]
    assert device.inbox.empty()
    successor = start("live")
    try:
        device.send_results(1, 2)
        assert sorted(set(device.acknowledged(2))) == [1, 2]
    finally:
        successor.kill()
        successor.communicate()
    assert stored(database) == ["r1", "r2"]


def test_after_the_broker_was_away_the_session_comes_back_by_itself(
    database: Database, running: Running, fleet_broker: Broker
) -> None:
    fleet_broker.kill()
    _until(lambda: not running.session.connected)
    fleet_broker.start()
    fleet_broker.wait_ready()
    _until(lambda: running.session.connected)
    device = Device(fleet_broker.port)
    try:
        device.send_results(1)
        assert device.acknowledged(1) == [1]
    finally:
        device.close()
    assert stored(database) == ["r1"]


def test_a_controller_that_stops_in_order_leaves_no_session_that_would_take_what_the_next_one_is_to_get(
    running: Running, device: Device
) -> None:
    device.send_results(1)
    assert device.reasons.get(timeout=PATIENCE) == "Success"
    running.stop()
    device.send_results(2)
    assert device.reasons.get(timeout=PATIENCE) == "No matching subscribers"


def test_a_command_carries_its_properties_and_its_reply_is_kept(running: Running, device: Device) -> None:
    correlation = running.commands.send("farm-1", "ping", {"x": 1}, expiry=30.0)
    message = device.inbox.get(timeout=PATIENCE)
    properties = message.properties
    assert properties is not None
    assert properties.CorrelationData == correlation.encode()
    assert properties.ResponseTopic == "sh/v1/farm-1/up/reply"
    assert 0 < properties.MessageExpiryInterval <= 30
    assert decode(message.payload, Command).arguments == {"x": 1}
    assert running.commands.wait(correlation, 0.0).status is None  # type: ignore[union-attr]
    device.send(topics.Up.REPLY, correlation=correlation, command="ping", status="ok", time="t", result={"y": 2})
    record = running.commands.wait(correlation, PATIENCE)
    assert record is not None
    assert record.reply is not None
    assert record.reply.result == {"y": 2}


def test_the_desired_state_is_retained_for_a_device_that_comes_later(
    database: Database, running: Running, fleet_broker: Broker
) -> None:
    with database.write() as connection:
        running.desired.assign(connection, "farm-1", "frost", 3)
    running.desired.publish(["farm-1"])
    _until(lambda: running.session.counters["published"] == 1)
    late = Device(fleet_broker.port)
    try:
        message = late.inbox.get(timeout=PATIENCE)
        assert message.retain
        assert json.loads(message.payload)["models"][0]["release"] == 3
    finally:
        late.close()


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)
