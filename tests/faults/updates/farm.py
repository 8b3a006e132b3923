"""Whole agents at a real broker, a publisher that never stops, and every result that is heard."""

import json
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.commands.control import ControlError, request
from fleet_contract.messages import Desired, DesiredModel, encode
from fleet_contract.topics import Down, down
from tests.faults.programs import Program
from tests.faults.updates.fleet import MODEL
from tests.faults.updates.scenario import Kill, Step

INTERVAL: Final = 0.01
"""Seconds between two events of one device."""
WINDOW: Final = 7
"""Events that the model looks at together; each is in one window."""
START: Final = datetime(2022, 1, 1, tzinfo=UTC)
"""Of the first event; calendar features look at it."""
PASSWORD: Final = "a-password"
INPUTS: Final = 25
"""Of shadowing and of probation."""


def users(devices: Sequence[str]) -> dict[str, str]:
    """What the broker has to know."""
    return {name: PASSWORD for device in devices for name in (device, f"{device}-site")} | {"tester": PASSWORD}


class Farm:
    """All devices' events and results."""

    def __init__(self, port: int, devices: Sequence[str]) -> None:
        self.sent: dict[str, int] = dict.fromkeys(devices, 0)
        """Device to its events so far."""
        self.results: dict[str, dict[str, set[bytes]]] = {device: {} for device in devices}
        """Device and event id to the results, each once: what is sent again after a kill is the same."""
        self._stopping = threading.Event()
        self._streaming: set[str] = set()
        self._ending: set[str] = set()
        subscribed = threading.Event()
        self._hearer, self._publisher = self._connect(port, "hearer"), self._connect(port, "publisher")
        self._hearer.on_message = lambda _client, _data, message: self._hear(message)
        self._hearer.on_subscribe = lambda *_: subscribed.set()
        self._hearer.subscribe("sh/v1/+/up/result/#", qos=1)
        assert subscribed.wait(10.0)
        self._thread = threading.Thread(target=self._publish, name="events", daemon=True)
        self._thread.start()

    @staticmethod
    def _connect(port: int, name: str) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        client.username_pw_set("tester", PASSWORD)
        client.max_inflight_messages_set(1000)
        client.connect("127.0.0.1", port)
        client.loop_start()
        return client

    def start(self, device: str) -> None:
        """Publish events for a device, whose session is at the broker already."""
        self._streaming.add(device)

    def finish(self, device: str) -> None:
        """Publish no more for it than its last window needs."""
        self._ending.add(device)

    def close(self) -> None:
        """End the connections."""
        self._stopping.set()
        self._thread.join(10.0)
        for client in (self._hearer, self._publisher):
            client.disconnect()
            client.loop_stop()

    def desire(self, device: str, revision: int, release: int, *, shadow: bool = True) -> None:
        """Have the device run a release; the broker keeps it."""
        wanted = DesiredModel(model=MODEL, release=release, shadow=shadow)
        payload = encode(Desired(revision=revision, models=(wanted,)))
        self._publisher.publish(down(device, Down.DESIRED), payload, qos=1, retain=True)

    def unanswered(self, device: str) -> int:
        """Events without a result so far; the end of what is published has to come first."""
        return self.sent[device] - len(self.results[device]) + (device in self._streaming)

    def releases(self, device: str) -> list[int]:
        """Who has answered, in the order of the events. Asserts that each event has exactly one result."""
        results = self.results[device]
        assert set(map(len, results.values())) == {1}, [item for item in results.values() if len(item) > 1][:3]
        found = [results[f"{device}-{number}"] for number in range(self.sent[device])]
        return [json.loads(next(iter(item)))["model"]["release"] for item in found]

    def _publish(self) -> None:
        while not self._stopping.wait(INTERVAL):
            for device in tuple(self._streaming):
                number = self.sent[device]
                when = (START + timedelta(seconds=number)).isoformat()
                event = {"id": f"{device}-{number}", "time": when, "temp_max": 10.0 + number % 7}
                event |= {"temp_min": -3.0 + number % 11, "wind": 1.0 + number % 5, "precipitation": float(number % 3)}
                self._publisher.publish(f"farm/{device}/weather", json.dumps(event), qos=1)
                self.sent[device] += 1
                if device in self._ending and self.sent[device] % WINDOW == 0:
                    self._streaming.discard(device)

    def _hear(self, message: paho.MQTTMessage) -> None:
        result = json.loads(message.payload)
        answers = self.results[message.topic.split("/")[2]]
        for event in result["events"]["ids"]:
            answers.setdefault(event, set()).add(bytes(message.payload))


class WholeAgent:
    """One device's agent, with everything that it starts."""

    def __init__(
        self, folder: Path, control: Path, device: str, port: int, url: str, limits: str = "", state: Path | None = None
    ) -> None:
        self.device = device
        self.folder = folder
        self.state = state or folder / "state"
        self._control = control
        self._log = folder / "agent.log"
        (folder / "password").write_text(PASSWORD)
        self.config = folder / "agent.toml"
        self.config.write_text(
            f'device = "{device}"\nstate_dir = "{self.state}"\ncontrol_socket = "{control}"\nlog_json = true\n'
            f'[mqtt]\nport = {port}\npassword_file = "{folder}/password"\nbackoff_min = "100ms"\nbackoff_max = "500ms"\n'
            f'[site]\nport = {port}\npassword_file = "{folder}/password"\n'
            "[store]\nmin_free_bytes = 0\nballast_bytes = 1000000\ndrain_rate = 0\ndrain_jitter = 0\n"
            "[inference]\nmax_threads = 1\n"
            f'[updates]\nurl = "{url}"\ntoken_file = "{folder}/token"\nroot_file = "{folder}/root.json"\n'
            f'retry_min = "100ms"\nretry_max = "1s"\nkeep_free = 0\n'
            f"[updates.shadow]\ninputs = {INPUTS}\n[updates.probation]\ninputs = {INPUTS}\ntime = 0\n"
            f'[updates.limits]\nlatency_slack = "5s"\nmax_drift = 0\nmin_confidence_ratio = 0\n{limits}'
            f'[[pipelines]]\nname = "{MODEL}"\nmodel = "{MODEL}"\n[pipelines.source]\ntopic = "farm/{device}/weather"\n'
            f"[pipelines.window]\nsize = {WINDOW}\n"
        )
        self.program = self._program("edge_agent.cli")

    def _program(self, module: str, *arguments: str) -> Program:
        return Program([sys.executable, "-m", module, *arguments, "run", "--config", str(self.config)], self._log)

    def start(self) -> None:
        """As it is."""
        self.program = self._program("edge_agent.cli")
        self.program.start()

    def start_with_fault(self, step: Step, kill: Kill) -> None:
        """One that is killed there."""
        self.program = self._program("tests.faults.updates.agent_with_fault", str(step), str(kill))
        self.program.start()

    def status(self) -> dict[str, Any]:
        """What it says of itself; empty while it does not answer."""
        try:
            return request(self._control, "status", timeout=5.0)
        except (OSError, ControlError):
            return {}

    def release(self) -> int | None:
        """Which release answers."""
        return next((item["release"] for item in self.status().get("models", ())), None)

    def update(self) -> dict[str, Any]:
        """How the newest update stands."""
        return next(iter(self.status().get("updates", ())), {"state": None, "release": None})

    def log(self) -> str:
        """All that it has said so far."""
        return self._log.read_text()
