"""One release of three variants, and real devices that differ in what they can run: each picks its own, and says why."""

import json
import math
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from edge_agent.commands.control import ControlError, request
from fleet_controller.demo.brokers import Kind
from fleet_controller.demo.fleet_command import run_fleet
from fleet_controller.demo.fleet_plan import Device, Stream
from fleet_controller.demo.world import World
from tests.faults.programs import until

PATIENCE: Final = 60.0
FROST: Final = Path(__file__).parents[2] / "fleet_controller" / "demo" / "models" / "frost" / "1.0.0"
MEAN, SCALE = 7.36351, 4.69321
# Interpreters without the packages of this environment have no TensorFlow Lite.
BARE: Final = getattr(sys, "_base_executable", sys.executable)
SETTINGS: Final = {
    "farm-1": "",
    "farm-2": f'\n[inference.python]\ntflite = "{BARE}"\n',
    "city-1": '\n[inference.models.frost]\nvariant = "fp32"\n',
    "city-2": '\n[inference.models.frost]\nvariant = "int4"\n',
}
PICKED: Final = {"farm-1": "tflite", "farm-2": "int8", "city-1": "fp32"}


def write_onnx(path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["features", "weight"], ["logit"]), helper.make_node("Sigmoid", ["logit"], ["scores"])]
    shape = ["batch", 1]
    graph = helper.make_graph(
        nodes,
        "frost",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array([[-1.0]], np.float32), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


def edit(folder: Path, **keys: str) -> None:
    """Set keys of `model.toml`; the value is TOML."""
    text = (folder / "model.toml").read_text()
    for key, value in keys.items():
        line = f"{key} = {value}"
        text, found = re.subn(rf"^{key} = .*$", line, text, count=1, flags=re.MULTILINE)
        text = text if found else f"{line}\n{text}"
    (folder / "model.toml").write_text(text)


def make_bundles(root: Path) -> list[Path]:
    """tflite is promised to be quickest, then int8, then fp32."""
    bundles = []
    for variant, latency in (("fp32", 30.0), ("int8", 20.0), ("tflite", 10.0)):
        folder = Path(shutil.copytree(FROST, root / variant))
        promise = f'latency_ms = {latency}, latency_device = "test"'
        edit(folder, version='"9.0.0"', variant=f'"{variant}"')
        if variant == "tflite":
            edit(folder, requirements=f'{{ {promise}, runtime_min = "2.14" }}')
        else:
            (folder / "frost.tflite").unlink()
            write_onnx(folder / "frost.onnx")
            if variant == "int8":
                (folder / "frost.onnx").rename(folder / "wide.onnx")
                quantize_dynamic(folder / "wide.onnx", folder / "frost.onnx", weight_type=QuantType.QInt8)
                (folder / "wide.onnx").unlink()
            needs = f'{{ {promise}, runtime_min = "1.16", opset = 17 }}'
            edit(folder, runtime='"onnx"', file='"frost.onnx"', requirements=needs)
            golden = json.loads((folder / "golden.json").read_text())
            for sample in golden:
                x = (sample["window"]["temp_min"][-1] - MEAN) / SCALE
                sample |= {"scores": [1 / (1 + math.exp(x))], "tolerance": 0.05}
            (folder / "golden.json").write_text(json.dumps(golden))
        bundles.append(root / f"{variant}.tar")
        run_fleet("model", "build", str(folder), "--out", str(bundles[-1]), "--seconds", "0")
    return bundles


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "world", Kind.MOSQUITTO)
    try:
        made.start_site_broker()
        made.found()
        made.start_fleet_broker()
        made.start_controller()
        until(lambda: made.operator.look("/health"), "the controller answers", PATIENCE)
        yield made
    finally:
        made.stop()


def test_each_device_picks_the_variant_that_it_can_run_best_and_says_why(world: World, tmp_path: Path) -> None:
    bundles = make_bundles(tmp_path)
    lines = ("[pipelines.source]", 'topic = "frost/in"')
    devices = {name: Device(name, name, "north", (Stream("weather", "frost", "frost", lines),)) for name in SETTINGS}
    for name, device in devices.items():
        world.add_device(device)
        config = world.config(device)
        config.write_text(config.read_text() + SETTINGS[name])
        world.start_agent(device)

    def status(name: str) -> dict[str, Any]:
        try:
            return request(world.control_socket(devices[name]), "status")
        except (OSError, ControlError):
            return {"models": [], "updates": []}

    release = world.operator.add(*bundles)
    assert [each["variant"] for each in release["variants"]] == ["fp32", "int8", "tflite"]
    digests = {each["variant"]: each["digest"] for each in release["variants"]}
    chosen = [option for name in PICKED for option in ("--device", name)]
    plan = ("--canary", "0", "--soak", "1s", "--on-failure", "pause")
    number = world.operator.run("rollout", "start", "frost", *chosen, *plan)["id"]
    until(
        lambda: (world.operator.look(f"/rollouts/{number}") or {}).get("state") == "done",
        lambda: str([status(name)["updates"] for name in PICKED]),
        PATIENCE,
    )
    choices = {each["device"]: each["choice"] for each in world.operator.look(f"/rollouts/{number}")["members"]}
    for name, variant in PICKED.items():
        (model,) = status(name)["models"]
        assert (model["variant"], model["digest"]) == (variant, digests[variant])
        (update,) = status(name)["updates"]
        assert (update["variant"], set(update["not_picked"])) == (variant, set(digests) - {variant})
        assert choices[name]["variant"] == variant
        assert choices[name]["picked"] == update["picked"]
    assert choices["farm-1"]["picked"].startswith("it costs least: 10 ms")
    assert choices["farm-2"]["not_picked"]["tflite"] == "no runtime for tflite is installed"
    assert choices["city-1"]["not_picked"]["int8"] == "the configuration asks for fp32"

    number = world.operator.run("rollout", "start", "frost", "--device", "city-2", *plan)["id"]
    until(
        lambda: (world.operator.look(f"/rollouts/{number}") or {}).get("state") == "paused",
        lambda: str(status("city-2")["updates"]),
        PATIENCE,
    )
    (update,) = status("city-2")["updates"]
    assert (update["state"], update["reason"], update["total_bytes"]) == ("rejected", "no_variant", 0)
    assert all(f"{variant}: the configuration asks for int4" in update["detail"] for variant in digests)
