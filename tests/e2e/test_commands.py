"""Commands of an operator on a running device: the real command line, service, broker, daemon and, for one of them, worker."""

import json
import tomllib
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import paho.mqtt.publish as publish
import pytest

from fleet_controller.demo.brokers import Kind
from fleet_controller.demo.fleet_plan import DEVICES, Device
from fleet_controller.demo.processes import DemoError
from fleet_controller.demo.world import World

DEVICE: Device = DEVICES[0]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One controller and one device that runs version 1 of its model."""
    with TemporaryDirectory(prefix="sh") as folder:
        world = World(Path(folder), Kind.MOSQUITTO)
        try:
            world.found()
            world.start_site_broker()
            world.start_fleet_broker()
            world.start_controller()
            world.processes.wait_for("the service", lambda: world.operator.look("devices"), 30)
            world.add_device(DEVICE)
            world.start_agent(DEVICE)
            world.processes.wait_for("the device", lambda: _status(world), 30)
            with as_file(files("fleet_controller.demo") / "models" / "frost" / "1.0.0") as model:
                world.operator.publish(model, Path(folder) / "frost.tar")
            world.operator.start_rollout("frost", DEVICE.site, canary=0, soak=0.0)
            world.processes.wait_for("the model", lambda: bool((_status(world) or {}).get("models")), 60)
            yield world
        finally:
            world.stop()


def _status(world: World) -> dict[str, Any] | None:
    status = world.agent_status(DEVICE)
    return status if status is not None and status["links"]["fleet"] else None


def test_a_device_answers_a_ping(world: World) -> None:
    answer = world.operator.run("device", "command", DEVICE.name, "ping")
    assert (answer["status"], set(answer["reply"]["result"])) == ("ok", {"time"})


def test_the_status_is_that_of_the_device(world: World) -> None:
    result = world.operator.run("device", "command", DEVICE.name, "status")["reply"]["result"]
    assert (result["device"], [model["model"] for model in result["models"]]) == (DEVICE.name, ["frost"])


def test_a_restarted_model_has_another_worker_and_answers_again(world: World) -> None:
    def worker() -> int | None:
        status = _status(world)
        return status["workers"][0]["pid"] if status is not None and status["models"] else None

    before = worker()
    assert before is not None
    assert world.operator.run("device", "command", DEVICE.name, "restart-model", "--arg", "model=frost")["status"] == "ok"
    world.processes.wait_for("another worker", lambda: worker() not in (None, before), 30)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("restart-model",), "needs the argument 'model'"),
        (("restart-model", "--arg", "model=nope"), "no model 'nope' runs here"),
        (("reboot",), "'reboot' is not one of ping"),
        (("set-log-level", "--arg", "level=loud"), "must be debug, info, warning or error"),
    ],
)
def test_what_a_device_refuses_is_said_with_its_reason(world: World, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(DemoError, match=said) as caught:
        world.operator.run("device", "command", DEVICE.name, *arguments)
    assert "ended with 1" in str(caught.value)


def test_log_lines_come_from_the_device_and_change_with_its_level(world: World) -> None:
    world.operator.run("device", "command", DEVICE.name, "set-log-level", "--arg", "level=info")
    world.operator.run("device", "command", DEVICE.name, "ping")
    assert "set-log-level" in json.dumps(world.operator.run("device", "logs", DEVICE.name))


def test_an_unknown_device_is_exit_status_3(world: World) -> None:
    with pytest.raises(DemoError, match="ended with 3"):
        world.operator.run("device", "command", "nobody", "ping")


def test_dead_letters_are_listed_shown_taken_in_again_and_dropped_from_afar(world: World) -> None:
    def letters() -> dict[str, Any]:
        found: dict[str, Any] = world.operator.run("device", "deadletter", "list", DEVICE.name)
        return found

    site = tomllib.loads(world.config(DEVICE).read_text())["site"]
    auth: Any = {"username": f"{DEVICE.name}-site", "password": Path(site["password_file"]).read_text().strip()}
    topic = f"farm/{DEVICE.place}/weather"
    publish.single(topic, b"{", qos=1, port=site["port"], auth=auth)
    world.processes.wait_for("the dead letter", lambda: letters()["total"] == 1, 30)
    first = letters()["letters"][0]
    assert (first["topic"], first["reason"], first["size"]) == (topic, "not_json", 1)
    shown = world.operator.run("device", "deadletter", "show", DEVICE.name, str(first["number"]))
    assert shown["payload"] == "{"
    assert world.operator.run("device", "deadletter", "replay", DEVICE.name, "--all") == {"replayed": 1, "skipped": 0}
    world.processes.wait_for("a new number", lambda: letters()["letters"][0]["number"] > first["number"], 30)
    assert world.operator.run("device", "deadletter", "drop", DEVICE.name, "--all", "--yes") == {"dropped": 1}
    world.processes.wait_for("none is left", lambda: letters()["total"] == 0, 30)
    with pytest.raises(DemoError, match="no dead letter 999"):
        world.operator.run("device", "deadletter", "show", DEVICE.name, "999")
