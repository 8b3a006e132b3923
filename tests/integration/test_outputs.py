"""Outputs on a real Mosquitto: what Home Assistant would see of an agent that starts, dies, and is configured otherwise."""

import json
import signal
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
from edge_agent.outputs.homeassistant import config_topic
from fleet_controller.demo.brokers import Broker, Role

PATIENCE = 20.0
USERS = {"farm-1": "secret", "farm-1-site": "secret", "home": "secret"}
CONFIG = config_topic("homeassistant", "farm-1", "cold", "north")
STATE = "smallhold/farm-1/cold/north"
STATUS = "smallhold/farm-1/status"
OUTPUTS = """
[[pipelines.outputs]]
kind = "homeassistant"
[[pipelines.outputs]]
kind = "cloudevents"
topic = "events/structured"
[[pipelines.outputs]]
kind = "cloudevents"
mode = "binary"
topic = "events/binary"
"""


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.02)
    return value


class Home:
    """Listens to everything, from before the agent on; what a newcomer would be told is asked of a client of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heard: list[paho.MQTTMessage] = []
        self._client = self._listen(self.heard)

    def _listen(self, heard: list[paho.MQTTMessage]) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.username_pw_set("home", "secret")
        client.on_message = lambda _client, _data, message: heard.append(message)
        subscribed: list[bool] = []
        client.on_subscribe = lambda *_: subscribed.append(True)
        client.connect("127.0.0.1", self.port)
        client.subscribe("#", qos=1)
        client.loop_start()
        until(lambda: subscribed, "the listener has subscribed")
        return client

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        self._client.publish(topic, payload, qos=qos).wait_for_publish(PATIENCE)

    def on(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.heard if message.topic == topic]

    def kept(self) -> dict[str, bytes]:
        """What the broker keeps. It comes before what is published after the subscription."""
        heard: list[paho.MQTTMessage] = []
        client = self._listen(heard)
        self.publish("end", b"")
        until(lambda: any(message.topic == "end" for message in heard), "the end")
        close(client)
        return {message.topic: message.payload for message in heard if message.retain and not message.topic.startswith("sh/")}

    def close(self) -> None:
        close(self._client)


def close(client: paho.Client) -> None:
    client.disconnect()
    client.loop_stop()


class Agents:
    """One agent's processes."""

    def __init__(self, folder: Path, sockets: Path, port: int) -> None:
        self.folder, self.port, self.socket = folder, port, sockets / "c.sock"
        self._started: list[subprocess.Popen[bytes]] = []
        (folder / "password").write_text("secret")

    def start(self, outputs: str) -> subprocess.Popen[bytes]:
        config = self.folder / "agent.toml"
        config.write_text(
            f'device = "farm-1"\nstate_dir = "{self.folder}/state"\ncontrol_socket = "{self.socket}"\n'
            f'[mqtt]\nport = {self.port}\npassword_file = "{self.folder}/password"\n'
            f'[site]\npassword_file = "{self.folder}/password"\n'
            '[[pipelines]]\nname = "cold"\n[pipelines.source]\ntopic = "farm/+/climate"\ndevice_level = 1\n'
            'units = { t = "Cel" }\n[pipelines.decision]\nreading = "t"\nbelow = 2\nalarm = true\n' + outputs
        )
        command = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(config)]
        with (self.folder / "agent.log").open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._started.append(process)
        until(lambda: process.poll() is not None or self._connected(), "the agent is connected")
        assert process.poll() is None, (self.folder / "agent.log").read_text()
        return process

    def _connected(self) -> bool:
        try:
            return all(request(self.socket, "status")["links"].values())
        except (OSError, ControlError):
            return False

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)


@pytest.fixture
def world(tmp_path: Path, mosquitto: Callable[..., Broker]) -> Iterator[tuple[Home, Agents]]:
    broker = mosquitto(USERS, role=Role.SITE)
    with TemporaryDirectory() as sockets:  # a socket's path may not be long
        home, agents = Home(broker.port), Agents(tmp_path, Path(sockets), broker.port)
        yield home, agents
        agents.close()
        home.close()


def test_entities_appear_say_what_is_and_go_with_their_output(world: tuple[Home, Agents]) -> None:
    home, agents = world
    first = agents.start(OUTPUTS)
    until(lambda: home.on(STATUS) == [b"online"], "the agent is available")
    home.publish("farm/north/climate", b'{"id": "1", "t": 1.5}')
    until(lambda: home.on(STATE), "a state")
    config, state = json.loads(home.on(CONFIG)[0]), json.loads(home.on(STATE)[0])
    assert set(config["cmps"]) == {"state", "alarm", "reading_t"}
    assert (config["state_topic"], config["availability_topic"]) == (STATE, STATUS)
    assert (state["state"], state["alarm"], state["readings"]) == ("ON", "ON", {"reading_t": 1.5})
    assert home.kept() == {STATUS: b"online", CONFIG: home.on(CONFIG)[0], STATE: home.on(STATE)[0]}

    home.publish("homeassistant/status", b"online", qos=0)
    until(lambda: len(home.on(CONFIG)) == 2, "announced again for a Home Assistant that has started")
    assert json.loads(home.on(CONFIG)[1]) == config

    first.send_signal(signal.SIGKILL)
    until(lambda: home.on(STATUS)[-1] == b"offline", "the last will")
    second = agents.start(OUTPUTS)
    until(lambda: home.on(STATUS)[-1] == b"online", "available again")
    second.send_signal(signal.SIGTERM)
    assert second.wait(PATIENCE) == 0
    until(lambda: home.on(STATUS)[-1] == b"offline", "the agent says that it goes")

    agents.start("")
    until(lambda: home.on(CONFIG)[-1] == b"" and home.on(STATE)[-1] == b"" and home.on(STATUS)[-1] == b"", "all is deleted")
    assert home.kept() == {}


def test_cloudevents_carry_their_attributes_where_their_mode_says(world: tuple[Home, Agents]) -> None:
    home, agents = world
    agents.start(OUTPUTS)
    home.publish("farm/north/climate", b'{"id": "1", "time": "2026-01-01T00:00:00Z", "t": 5}')
    topics = ("events/structured", "events/binary", "sh/v1/farm-1/up/result/cold")
    until(lambda: all(home.on(topic) for topic in topics), "an event in each mode and the result")
    structured, binary, result = (next(item for item in home.heard if item.topic == topic) for topic in topics)
    assert structured.properties is not None
    assert binary.properties is not None
    envelope = json.loads(structured.payload)
    assert envelope["data"] == json.loads(result.payload) == json.loads(binary.payload)
    assert structured.properties.ContentType == "application/cloudevents+json"
    assert binary.properties.ContentType == envelope["datacontenttype"] == "application/json"
    attributes = {name: value for name, value in envelope.items() if name not in ("data", "datacontenttype")}
    assert dict(binary.properties.UserProperty) == attributes
    assert (attributes["id"], attributes["subject"]) == (json.loads(result.payload)["result_id"], "north")
