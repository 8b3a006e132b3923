"""The agent as a process and a Sparkplug node: data that it cannot read makes it ask the node for its births."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.commands.control import ControlError, request
from edge_agent.ingest.sparkplug_schema import Payload
from fleet_controller.demo.brokers import Broker

USERS = {"farm-1": "secret-1", "farm-1-site": "secret-1", "tester": "secret-2"}
PATIENCE = 20.0


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.02)
    return value


class Node:
    """`spBv1.0/farm/…/n1`, which sends its birth when it is told to; it also hears the agent's results."""

    def __init__(self, port: int) -> None:
        self.asked = 0
        self.results: list[dict[str, Any]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="n1", protocol=paho.MQTTv5)
        self._client.username_pw_set("tester", USERS["tester"])
        self._client.on_message = lambda _client, _data, message: self._hear(message)
        subscribed: list[bool] = []
        self._client.on_subscribe = lambda *_: subscribed.append(True)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([("spBv1.0/farm/NCMD/n1", 1), ("sh/v1/+/up/result/#", 1)])
        self._client.loop_start()
        until(lambda: subscribed, "the node has subscribed")

    def _hear(self, message: paho.MQTTMessage) -> None:
        if message.topic.startswith("sh/"):
            self.results.append(json.loads(message.payload)["outcome"]["values"])
            return
        command = Payload.FromString(message.payload).metrics[0]
        if command.name == "Node Control/Rebirth" and command.boolean_value:
            self.send("NBIRTH", 0, name="level", alias=4, datatype=1, int_value=1)
            self.asked += 1

    def send(self, kind: str, seq: int, **metric: Any) -> None:
        payload = Payload(timestamp=1_700_000_000_000 + seq, seq=seq)
        payload.metrics.add(**metric)
        self._client.publish(f"spBv1.0/farm/{kind}/n1", payload.SerializeToString(), qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(mosquitto: Callable[..., Broker]) -> Broker:
    return mosquitto(USERS)


@pytest.fixture
def node(broker: Broker) -> Iterator[Node]:
    made = Node(broker.port)
    yield made
    made.close()


@pytest.fixture
def control(tmp_path: Path, broker: Broker) -> Iterator[Path]:
    """The control socket of a running agent."""
    (tmp_path / "password").write_text("secret-1")
    with TemporaryDirectory(prefix="sh") as sockets:
        path = Path(sockets) / "c.sock"
        config = tmp_path / "agent.toml"
        config.write_text(
            f'device = "farm-1"\nstate_dir = "{tmp_path}/state"\ncontrol_socket = "{path}"\nlog_json = true\n'
            f'[mqtt]\nport = {broker.port}\npassword_file = "{tmp_path}/password"\nbackoff_min = "100ms"\n'
            f'[site]\npassword_file = "{tmp_path}/password"\n'
            '[[pipelines]]\nname = "echo"\n[pipelines.source]\ntopic = "spBv1.0/farm/#"\nformat = "sparkplug"\n'
        )
        with (tmp_path / "log").open("wb") as log:
            command = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(config)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or running(path), "the agent runs")
            assert process.poll() is None, (tmp_path / "log").read_text()
            yield path
        finally:
            process.kill()
            process.wait(PATIENCE)


def running(path: Path) -> bool:
    try:
        return all(request(path, "status")["links"].values())
    except (OSError, ControlError):
        return False


def test_a_node_born_before_the_agent_is_asked_for_its_birth_and_understood_from_then_on(control: Path, node: Node) -> None:
    node.send("NDATA", 7, alias=4, int_value=9)
    until(lambda: node.asked, "the node is asked for its birth")
    node.send("NDATA", 1, alias=4, int_value=0xFE)
    until(lambda: {"level": -2} in node.results, "data is read by the new birth")
    counters = request(control, "status")["counters"]
    assert (node.asked, counters["rebirths_requested"], counters["dead_unknown_alias"]) == (1, 1, 1)
    assert node.results == [{"level": 1}, {"level": -2}]
    assert "google" in request(control, "modules")["modules"]
