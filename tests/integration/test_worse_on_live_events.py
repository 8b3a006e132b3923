"""Releases that pass their golden samples and are worse on live events: the device itself finds out, without the network.

Everything is real: `fleet serve`, signed releases, Mosquitto, agents, ONNX Runtime. There is one device for each way of being
worse, so that all of them are tried at the same time.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.commands.control import ControlError, request
from fleet_contract.reasons import Reason
from fleet_contract.update_report import UpdateState
from fleet_controller.demo.brokers import Kind
from fleet_controller.demo.fleet_plan import Device, Stream
from fleet_controller.demo.world import World
from tests.faults.programs import until
from tests.integration import worse_models

PATIENCE: Final = 60.0
LIMIT: Final = 100
"""Inferences within which a release is caught: `inputs` of `[updates.shadow]` and `[updates.probation]`, and the default."""
INTERVAL: Final = 0.05
"""Seconds between two events of a sensor."""
ENOUGH: Final = 30
"""Answers of the incumbent before anything is compared with it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way of being worse. The devices are those that the demo's brokers know."""

    device: str
    model: str
    incumbent: Callable[[], bytes]
    candidate: Callable[[], bytes]
    reason: Reason


CASES: Final = (
    Case("farm-1", "slow", worse_models.slow_incumbent, worse_models.slow, Reason.LATENCY),
    Case("farm-2", "failing", worse_models.incumbent, worse_models.failing, Reason.ERROR_RATE),
    Case("city-1", "unsure", worse_models.incumbent, worse_models.unsure, Reason.CONFIDENCE),
    Case("city-2", "drifted", worse_models.incumbent, worse_models.drifted, Reason.DRIFTED),
)


class Farm:
    """Devices and their sensors, a controller, and the operator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World(folder / "world", Kind.MOSQUITTO)
        self._events = 0
        self._devices: dict[str, Device] = {}
        self._sensors = paho.Client(CallbackAPIVersion.VERSION2, client_id="sensors", protocol=paho.MQTTv5)

    def start(self) -> None:
        world = self.world
        world.start_site_broker()
        world.found()
        world.start_fleet_broker()
        world.start_controller()
        until(lambda: world.operator.look("/health"), "the controller answers", PATIENCE)
        for case in CASES:
            lines = ("[pipelines.source]", f'topic = "{case.model}/in"')
            device = Device(case.device, case.device, "north", (Stream("weather", case.model, case.model, lines),))
            world.add_device(device)
            config = world.config(device)
            config.write_text(_with_limits(config.read_text(), slack="5ms" if case.reason is Reason.LATENCY else "500ms"))
            world.start_agent(device)
            self._devices[case.device] = device
        password = (world.folder / "secrets" / "farm-gateway").read_text().strip()
        self._sensors.username_pw_set("farm-gateway", password)
        self._sensors.connect("127.0.0.1", world.site_port)
        self._sensors.loop_start()

    def stop(self) -> None:
        self._sensors.disconnect()
        self._sensors.loop_stop()
        self.world.stop()

    def publish(self, case: Case, version: str, file: bytes) -> dict[str, Any]:
        name = f"{case.model}-{version}"
        folder = worse_models.write_folder(self.folder / name, case.model, version, file)
        return self.world.operator.publish(folder, self.folder / f"{name}.tar")

    def roll_out(self, case: Case, *options: str) -> int:
        plan = ("--device", case.device, "--canary", "0", "--soak", "1s", "--on-failure", "pause")
        number: int = self.world.operator.run("rollout", "start", case.model, *plan, *options)["id"]
        return number

    def rollout(self, number: int) -> dict[str, Any]:
        return self.world.operator.look(f"/rollouts/{number}") or {"state": "?"}

    def wait_for_rollout(self, number: int, state: str) -> None:
        until(lambda: self.rollout(number)["state"] == state, lambda: str(self.rollout(number)), PATIENCE)

    def wait_for_devices(self, condition: Callable[[Case], bool]) -> None:
        until(lambda: all(condition(case) for case in CASES), lambda: str([self.update(case) for case in CASES]), PATIENCE)

    def send_until(self, condition: Callable[[], bool], what: Callable[[], str]) -> None:
        """Live events for every device, until the condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, what()
            self._events += 1
            for case in CASES:
                event = {"id": f"{case.model}-{self._events}", "a": 1.0, "b": 1.0 if self._events % 2 else -1.0}
                self._sensors.publish(f"{case.model}/in", json.dumps(event), qos=1)
            time.sleep(INTERVAL)

    def status(self, case: Case) -> dict[str, Any]:
        """What the device says of itself, network or not."""
        try:
            return request(self.world.control_socket(self._devices[case.device]), "status")
        except (OSError, ControlError):
            return {"models": [], "updates": [], "workers": [], "links": {"fleet": None}}

    def update(self, case: Case) -> dict[str, Any]:
        """How the newest update stands."""
        return next(iter(self.status(case)["updates"]), {"state": "none", "release": 0})

    def version(self, case: Case) -> str | None:
        """Which version answers."""
        return next((each["version"] for each in self.status(case)["models"]), None)

    def answered(self, case: Case) -> int:
        """Inputs that the model has answered since the agent's start."""
        return sum(each["inferences"] for each in self.status(case)["workers"])

    def releases_with_results(self, case: Case) -> Counter[int | None]:
        """Release to results of it in the controller's database."""
        return Counter(row.release for row in self.world.database.results() if row.device == case.device)

    def reported(self, case: Case) -> dict[str, Any]:
        """The newest update as the controller knows it."""
        view = self.world.operator.look(f"/devices/{case.device}") or {}
        return next(iter((view.get("reported") or {}).get("updates", ())), {"state": "none"})


def _with_limits(config: str, *, slack: str) -> str:
    """The demo's configuration with the default of 100 inferences, longer times, and the limits that the cases are about."""
    for there, wanted in (
        ("inputs = 20", f"inputs = {LIMIT}"),
        ("time = 4", "time = 60"),
        ("min_confidence_ratio = 0.5", "min_confidence_ratio = 0.7"),
        ('latency_slack = "500ms"', f'latency_slack = "{slack}"\ndrift_inputs = {LIMIT // 2}'),
    ):
        assert there in config
        config = config.replace(there, wanted)
    return config


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    made = Farm(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_each_is_caught_in_shadow_or_else_in_probation_with_the_network_cut_within_the_stated_inferences(farm: Farm) -> None:
    for case in CASES:
        farm.publish(case, worse_models.INCUMBENT, case.incumbent())
    for number in [farm.roll_out(case) for case in CASES]:
        farm.wait_for_rollout(number, "done")
    farm.send_until(lambda: all(farm.answered(case) >= ENOUGH for case in CASES), lambda: "the incumbents answer")
    # in shadow nothing of it is published; on probation what it answers until the one before is warm again
    _try(farm, "2.0.0", (), UpdateState.SHADOWING, UpdateState.REJECTED, published=0)
    _try(farm, "3.0.0", ("--no-shadow",), UpdateState.PROBATION, UpdateState.ROLLED_BACK, published=LIMIT)


def _try(farm: Farm, version: str, options: Sequence[str], watched: UpdateState, ended: UpdateState, published: int) -> None:
    releases = {case: farm.publish(case, version, case.candidate())["release"] for case in CASES}
    rollouts = {case: farm.roll_out(case, *options) for case in CASES}
    farm.wait_for_devices(lambda case: farm.update(case)["state"] == watched)
    # Everything is fetched, and no live event has been seen: from here on the devices are alone.
    farm.world.mqtt_link.cut()
    farm.world.http_link.cut()
    farm.send_until(
        lambda: all(farm.update(case)["state"] == ended and farm.version(case) == worse_models.INCUMBENT for case in CASES),
        lambda: str([farm.update(case) for case in CASES]),
    )
    seen = {case: farm.update(case) for case in CASES}
    for case in CASES:
        assert not farm.status(case)["links"]["fleet"]
        assert seen[case]["reason"] == case.reason
        assert 20 <= seen[case]["evidence"]["candidate"]["inferences"] <= LIMIT, seen[case]
    before = {case: farm.answered(case) for case in CASES}
    farm.send_until(
        lambda: all(farm.answered(case) >= before[case] + ENOUGH for case in CASES), lambda: "the incumbents answer again"
    )
    farm.world.http_link.restore()
    farm.world.mqtt_link.restore()
    for case in CASES:
        farm.wait_for_rollout(rollouts[case], "paused")
        member = farm.rollout(rollouts[case])["members"][0]
        assert (member["state"], member["reason"]) == ("rejected", case.reason), member
        told = farm.reported(case)
        assert (told["state"], told["reason"], told["evidence"]) == (ended, case.reason, seen[case]["evidence"])
        farm.world.operator.return_rollout(rollouts[case])
    farm.wait_for_devices(lambda case: farm.status(case).get("outbox_rows") == 0)
    for case in CASES:
        assert farm.releases_with_results(case)[releases[case]] <= published
