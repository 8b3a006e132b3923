"""A real agent at a real broker, what is published to it, and what it says."""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.commands.control import ControlError, request
from fleet_contract.messages import Desired, DesiredModel, encode
from fleet_contract.topics import Down, down
from tests.faults.programs import Program
from tests.hostile_models.releases import write_root

DEVICE: Final = "farm-1"
USERS: Final = {DEVICE: "device-password", f"{DEVICE}-site": "device-password", "tester": "tester-password"}
HEALTHY: Final = "healthy"
RATE: Final = 100.0
"""Events a second for the healthy pipeline."""
LOAD_TIMEOUT: Final = 6.0
DEADLINE: Final = 1.0
"""Of the hostile models, in seconds."""


class Device:
    """The agent: one pipeline for each model, of the same name, with `{model}/in` for its topic."""

    def __init__(
        self, folder: Path, control: Path, port: int, models: Sequence[str], python: Mapping[str, str], inference: str = ""
    ) -> None:
        self._control = control
        config = folder / "agent.toml"
        write_root(folder / "root.json")
        (folder / "password").write_text(USERS[DEVICE])
        interpreters = "".join(f'{runtime} = "{path}"\n' for runtime, path in python.items())
        config.write_text(
            f'device = "{DEVICE}"\nstate_dir = "{folder}/state"\ncontrol_socket = "{control}"\nlog_json = true\n'
            f'[mqtt]\nport = {port}\npassword_file = "{folder}/password"\nbackoff_min = "100ms"\nbackoff_max = "500ms"\n'
            f'[site]\npassword_file = "{folder}/password"\n'
            f"[store]\ndrain_rate = 0\ndrain_jitter = 0\n[inference]\nload_timeout = {LOAD_TIMEOUT}\nmax_threads = 1\n"
            + inference
            + f"[inference.python]\n{interpreters}"
            + "".join(f"[inference.models.{model}]\ndeadline = {DEADLINE}\n" for model in models if model != HEALTHY)
            # nothing listens there: a release that is kept on the device needs no network
            + f'[updates]\nurl = "http://127.0.0.1:9"\ntoken_file = "{folder}/password"\nroot_file = "{folder}/root.json"\n'
            + "".join(
                f'[[pipelines]]\nname = "{model}"\nmodel = "{model}"\n[pipelines.source]\ntopic = "{model}/in"\n'
                for model in models
            )
        )
        command = [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(config)]
        self.program = Program(command, folder / "agent.log")

    def status(self) -> dict[str, Any]:
        """What the agent says of itself; empty while it does not answer."""
        try:
            return request(self._control, "status", timeout=5.0)
        except (OSError, ControlError):
            return {}

    def letters(self) -> Counter[tuple[str, str, str]]:
        """(pipeline, reason, event id) of the dead letters that it keeps."""
        listed = request(self._control, "deadletter-list", {"limit": 500})["letters"]
        found: Counter[tuple[str, str, str]] = Counter()
        for letter in listed:
            payload = json.loads(request(self._control, "deadletter-show", {"number": letter["number"]})["payload"])
            found.update((letter["pipeline"], letter["reason"], event["id"]) for event in payload["events"])
        return found

    def release_of(self, model: str) -> int | None:
        """Which release answers now."""
        return next((item["release"] for item in self.status().get("models", ()) if item["model"] == model), None)

    def update_of(self, model: str) -> dict[str, Any]:
        """How the model's last update stands; empty where there was none."""
        return next((item for item in self.status().get("updates", ()) if item["model"] == model), {})


@dataclass(frozen=True, slots=True)
class Answered:
    """A result that has arrived."""

    time: float
    score: float
    release: int


class Farm:
    """Publishes events and hears results; times are monotonic seconds."""

    def __init__(self, port: int) -> None:
        self.sent: dict[str, dict[str, float]] = {}
        """Pipeline to event id to when it was published."""
        self.sums: dict[str, float] = {}
        """Event id to the score that is right."""
        self.results: dict[str, dict[str, list[Answered]]] = {}
        """Pipeline to event id to its results."""
        self.port = port
        self._revision = 1
        self._stopping = threading.Event()
        self._clients = [self._connect(port, "hearer"), self._connect(port, "publisher")]
        hearer, self._publisher = self._clients
        subscribed = threading.Event()
        hearer.on_message = lambda _client, _data, message: self._hear(message)
        hearer.on_subscribe = lambda *_: subscribed.set()
        hearer.subscribe("sh/v1/+/up/result/#", qos=1)
        assert subscribed.wait(10.0)
        self._thread = threading.Thread(target=self._publish_healthy, name="healthy")

    @staticmethod
    def _connect(port: int, name: str) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        client.username_pw_set("tester", USERS["tester"])
        client.max_inflight_messages_set(1000)
        client.connect("127.0.0.1", port)
        client.loop_start()
        return client

    def start(self) -> None:
        """Publish for the healthy pipeline from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Publish no more for it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def close(self) -> None:
        """End the connections."""
        self.finish()
        for client in self._clients:
            client.disconnect()
            client.loop_stop()

    def publish(self, pipeline: str, a: float, b: float) -> str:
        """Publish an event; returns its id."""
        sent = self.sent.setdefault(pipeline, {})
        event = f"{pipeline}-{len(sent)}"
        sent[event], self.sums[event] = time.monotonic(), a + b
        self._publisher.publish(f"{pipeline}/in", json.dumps({"id": event, "a": a, "b": b}), qos=1)
        return event

    def desire(self, releases: Mapping[str, int]) -> None:
        """Have the device run these releases."""
        self._revision += 1
        models = tuple(DesiredModel(model=model, release=release) for model, release in releases.items())
        payload = encode(Desired(revision=self._revision, models=models))
        self._publisher.publish(down(DEVICE, Down.DESIRED), payload, qos=1, retain=True)

    def say(self, topic: str, payload: bytes) -> None:
        """Publish anything, and wait until the broker has it."""
        self._publisher.publish(topic, payload, qos=1).wait_for_publish(10.0)

    def unanswered(self, pipeline: str) -> set[str]:
        """Events without a result so far."""
        return set(self.sent.get(pipeline, ())) - set(self.results.get(pipeline, ()))

    def latencies(self, start: float, end: float) -> list[float]:
        """Of the healthy pipeline's events published between two times: seconds until the result, in order of size."""
        results = self.results[HEALTHY]
        sent = self.sent[HEALTHY].items()
        return sorted(results[event][0].time - at for event, at in sent if start <= at < end and event in results)

    def _publish_healthy(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due += 1.0 / RATE
            self.publish(HEALTHY, float(len(self.sent.get(HEALTHY, ())) % 500), 0.5)

    def _hear(self, message: paho.MQTTMessage) -> None:
        now = time.monotonic()
        result = json.loads(message.payload)
        answers = self.results.setdefault(result["pipeline"], {})
        for event in result["events"]["ids"]:
            answers.setdefault(event, []).append(Answered(now, result["outcome"]["score"], result["model"]["release"]))
