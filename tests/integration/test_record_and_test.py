"""`edge-agent record` from a live broker, and `edge-agent test` over what was recorded: real processes, a real Mosquitto."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fleet_controller.demo.brokers import Broker, Role

CONFIG = """
device = "farm-1"
state_dir = "{folder}/state"
control_socket = "{folder}/c.sock"
[mqtt]
port = {port}
[site]
password_file = "{folder}/password"
[[pipelines]]
name = "weather"
[pipelines.source]
topic = "farm/+/weather"
device_level = 1
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_agent.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def config(tmp_path: Path, mosquitto: Callable[..., Broker]) -> tuple[Path, Broker]:
    broker = mosquitto({"farm-1-site": "secret", "sensor": "secret"}, role=Role.SITE)
    (tmp_path / "password").write_text("secret")
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(folder=tmp_path, port=broker.port))
    return path, broker


def publish(port: int, *payloads: bytes) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set("sensor", "secret")
    client.connect("127.0.0.1", port)
    client.loop_start()
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    for payload in payloads:
        client.publish("farm/north/weather", payload, qos=1, retain=True, properties=properties).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def test_what_is_recorded_gives_in_a_test_what_it_gave_live(tmp_path: Path, config: tuple[Path, Broker]) -> None:
    path, broker = config
    payload = b'{"id": "a", "time": "2026-01-01T18:00:00Z", "temp_min": -3.20}'
    publish(broker.port, payload)  # retained, so that the recorder gets it whenever it subscribes
    recording = tmp_path / "cases" / "night.jsonl"
    recording.parent.mkdir()
    done = run("record", "--config", path, "--count", 1, recording)
    assert done.returncode == 0, done.stderr
    assert "recorded 1 messages of 1 topics" in done.stderr
    entry = json.loads(recording.read_text())
    assert entry["payload"] == payload.decode()  # our own encoding would lose the 0 of -3.20, so it is kept as a text
    assert (entry["retain"], entry["content_type"]) == (True, "application/json")

    assert run("record", "--config", path, "--count", 1, recording).returncode == 1  # nothing is overwritten unasked

    (recording.parent / "night.toml").write_text(
        'pipeline = "weather"\nevents = "night.jsonl"\nexpect = "night.expected.jsonl"\n'
    )
    assert run("test", "--config", path, recording.parent).returncode == 2
    assert run("test", "--config", path, "--update", recording.parent).returncode == 0
    passed = run("test", "--config", path, "--junit", tmp_path / "report.xml", recording.parent)
    assert (passed.returncode, passed.stdout.splitlines()[-1][:18]) == (0, "1 passed, 0 failed")
    assert 'failures="0"' in (tmp_path / "report.xml").read_text()

    expected = recording.parent / "night.expected.jsonl"
    expected.write_text(expected.read_text().replace("-3.2", "-3.1"))
    failed = run("test", "--config", path, "-o", "json", recording.parent)
    assert failed.returncode == 1
    assert json.loads(failed.stdout)[0]["problems"] == ["result 0: outcome.values.temp_min is -3.2, expected is -3.1"]


def test_a_filter_that_the_broker_refuses_is_named(tmp_path: Path, config: tuple[Path, Broker]) -> None:
    path, _ = config
    done = run("record", "--config", path, "--duration", "2s", "--topic", "farm/#", "--topic", "bad/#/filter", tmp_path / "r")
    assert done.returncode == 2
    assert "--topic" in done.stderr


def test_without_a_broker_the_command_says_so_and_ends(tmp_path: Path, free_port: Callable[[], int]) -> None:
    (tmp_path / "password").write_text("secret")
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(folder=tmp_path, port=free_port()))
    done = run("record", "--config", path, "--duration", "1s", tmp_path / "r.jsonl")
    assert done.returncode == 1
    assert "no connection to 127.0.0.1" in done.stderr
