"""Live inputs drift away from a real agent's baseline, and a release that drifts by itself is refused, with no network."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from fleet_contract.baseline import Baseline
from fleet_contract.drift import make_number_baseline
from fleet_controller.demo.brokers import Broker
from tests.faults.programs import until
from tests.hostile_models import onnx_files
from tests.hostile_models.device import HEALTHY, USERS, Device, Farm
from tests.hostile_models.releases import INCUMBENT, TRIED, Release, install

PATIENCE = 60.0
ENOUGH = 200
"""Inputs before anything is said, and those that the figures are of."""
SETTINGS = (
    f'[inference.drift]\ninputs = {ENOUGH}\nremembered = {ENOUGH}\n[health]\ninterval = "300ms"\n'
    f'[updates.shadow]\ninputs = {ENOUGH}\ntime = "50s"\n[updates.limits]\nlatency_slack = "5s"\nmax_memory_ratio = 9.0\n'
)


class Notes:
    """The notes of the device, as they arrive."""

    def __init__(self, port: int) -> None:
        self.heard: list[dict[str, Any]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="notes", protocol=paho.MQTTv5)
        self._client.username_pw_set("tester", USERS["tester"])
        self._client.on_connect = lambda client, *_: client.subscribe("sh/v1/+/up/note", qos=1)
        self._client.on_message = lambda _client, _data, message: self.heard.append(json.loads(message.payload))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def reasons(self, kind: str) -> list[str]:
        """Reasons of the notes of one kind, each note once."""
        once = {note["seq"]: note["reason"] for note in self.heard if note["kind"] == kind}
        return [once[seq] for seq in sorted(once)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def farm(mosquitto: Callable[..., Broker]) -> Iterator[Farm]:
    made = Farm(mosquitto(USERS).port)
    yield made
    made.close()


@pytest.fixture
def notes(farm: Farm) -> Iterator[Notes]:
    made = Notes(farm.port)
    yield made
    made.close()


@pytest.fixture
def sockets() -> Iterator[str]:
    with TemporaryDirectory(prefix="drift-") as place:
        yield place


def events(seed: int, count: int, mean: float = 10.0) -> list[tuple[float, float]]:
    chance = random.Random(seed)
    return [(chance.gauss(mean, 1.0), chance.gauss(0.0, 1.0)) for _ in range(count)]


def release(asked: Sequence[tuple[float, float]], scores: Sequence[float]) -> Release:
    """The sum of two inputs, with a baseline that says that it answers `scores`."""
    numbers = {
        name: make_number_baseline(values)
        for name, values in (("input.a", [a for a, _ in asked]), ("input.b", [b for _, b in asked]), ("output.score", scores))
    }
    made = Baseline(schema=1, samples=len(asked), numbers={name: item for name, item in numbers.items() if item is not None})
    return Release("onnx", onnx_files.harmless(), baseline=msgspec.json.encode(made))


def send(farm: Farm, given: Sequence[tuple[float, float]]) -> None:
    for a, b in given:
        farm.publish(HEALTHY, a, b)
    until(lambda: not farm.unanswered(HEALTHY), lambda: f"{len(farm.unanswered(HEALTHY))} events left", PATIENCE)


def started(folder: Path, sockets: str, farm: Farm, incumbent: Release, other: Release | None = None) -> Device:
    install(folder / "state", {HEALTHY: incumbent}, {HEALTHY: other} if other is not None else {}, kept_is_proven=False)
    device = Device(folder, Path(sockets) / "c.sock", farm.port, [HEALTHY], {}, SETTINGS)
    device.program.start()
    until(lambda: device.release_of(HEALTHY) == INCUMBENT, device.program.log_tail, PATIENCE)
    return device


def drift_of(device: Device) -> dict[str, Any]:
    health = device.status().get("health") or {}
    return next((item["drift"] or {} for item in health.get("models", ()) if item["model"] == HEALTHY), {})


def test_live_inputs_drift_away_and_come_back(tmp_path: Path, sockets: str, farm: Farm, notes: Notes) -> None:
    asked = events(1, 1000)
    device = started(tmp_path, sockets, farm, release(asked, [a + b for a, b in asked]))
    try:
        send(farm, events(2, 3 * ENOUGH))
        until(lambda: drift_of(device).get("judged"), lambda: str(drift_of(device)), PATIENCE)
        assert not any(item["drifted"] for item in drift_of(device)["worst"])
        send(farm, events(3, 4 * ENOUGH, mean=13.0))
        until(lambda: notes.reasons("drift") == ["drifted"], lambda: f"{notes.reasons('drift')} {drift_of(device)}", PATIENCE)
        told = next(note for note in notes.heard if note["kind"] == "drift")
        assert (told["model"], told["release"]) == (HEALTHY, INCUMBENT)
        assert "input.a (PSI" in told["detail"]
        assert {item["name"] for item in drift_of(device)["worst"] if item["drifted"]} == {"input.a", "output.score"}
        send(farm, events(4, 30 * ENOUGH))
        until(lambda: notes.reasons("drift") == ["drifted", "drift_over"], lambda: str(drift_of(device)), PATIENCE)
    finally:
        device.program.stop()


def test_a_release_whose_answers_are_far_from_its_baseline_is_refused_in_shadow(
    tmp_path: Path, sockets: str, farm: Farm, notes: Notes
) -> None:
    asked = events(1, 1000)
    right = release(asked, [a + b for a, b in asked])
    # It was measured before somebody broke what surrounds it: the same answers as the incumbent, and not those it should give.
    broken = release(asked, [10 * a for a, _ in asked])
    device = started(tmp_path, sockets, farm, right, broken)
    try:
        farm.desire({HEALTHY: TRIED})
        until(lambda: device.update_of(HEALTHY).get("state") == "shadowing", device.program.log_tail, PATIENCE)
        send(farm, events(2, 3 * ENOUGH))
        until(lambda: device.update_of(HEALTHY).get("state") == "rejected", lambda: str(device.update_of(HEALTHY)), PATIENCE)
        update = device.update_of(HEALTHY)
        assert update["reason"] == "drifted"
        assert update["evidence"]["candidate"]["drift"] > 1.0
        assert update["evidence"]["incumbent"]["drift"] == 0.0
        assert update["evidence"]["candidate"]["inferences"] <= 3 * ENOUGH
        assert device.release_of(HEALTHY) == INCUMBENT
        until(lambda: "drifted" in notes.reasons("update"), lambda: str(notes.heard), PATIENCE)
    finally:
        device.program.stop()
