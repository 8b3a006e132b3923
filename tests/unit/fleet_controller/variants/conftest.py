"""Tiny real ONNX models in real bundle folders, and data sets for them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fleet_contract.manifest import Manifest, parse_manifest

WIDTH = 64
HIDDEN = 96
LABELS = ("dry", "wet", "mud")


def graph(nodes: Sequence[NodeProto], constants: dict[str, Any], *, width: int, given: int, opset: int = 17) -> ModelProto:
    """A model from `x` (batch, width) to `y` (batch, given)."""
    made = helper.make_graph(
        list(nodes),
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", given])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def constants(hidden: int = HIDDEN, given: int = len(LABELS)) -> dict[str, Any]:
    """Weights of a network with one hidden layer; a third of its units hardly counts."""
    random = np.random.default_rng(7)
    first = random.normal(size=(WIDTH, hidden)).astype(np.float32) / 8
    first[:, : hidden // 3] *= 0.001
    second = random.normal(size=(hidden, given)).astype(np.float32) / 8
    bias = np.zeros(hidden, np.float32)
    return {"w1": first, "b1": bias, "w2": second, "b2": np.linspace(-0.1, 0.1, given).astype(np.float32)}


def network(hidden: int = HIDDEN, given: int = len(LABELS)) -> ModelProto:
    """Matrix, bias, ReLU, matrix, bias, softmax."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Add", ["h", "b1"], ["hb"]),
        helper.make_node("Relu", ["hb"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["s"]),
        helper.make_node("Add", ["s", "b2"], ["sb"]),
        helper.make_node("Softmax", ["sb"], ["y"], axis=-1),
    ]
    return graph(nodes, constants(hidden, given), width=WIDTH, given=given)


MANIFEST = f"""
schema = 1
name = "soil"
version = "1.2.0"
task = "classification"
runtime = "onnx"
file = "soil.onnx"
golden = "golden.json"
kind = "window"
window = {WIDTH}
inputs = [{{ name = "moisture", unit = "/100" }}]
features = [{{ op = "lags", input = "moisture", args = {{ k = [{", ".join(str(k) for k in range(WIDTH))}] }} }}]
labels = {json.dumps(LABELS)}
licence = "Apache-2.0"
metrics = {{ accuracy = 0.5 }}
metrics_data = "another data set"
requirements = {{ memory_bytes = 1000, runtime_min = "1.16" }}
input_tensor = {{ name = "x", dtype = "float32", shape = [-1, {WIDTH}] }}
output_tensor = {{ name = "y", dtype = "float32", shape = [-1, {len(LABELS)}] }}
"""


def windows(count: int, seed: int = 1) -> list[list[float]]:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).round(4).tolist()


def run(model: ModelProto, window: Sequence[float]) -> list[float]:
    """The scores of a window, oldest value first: lag 0 is its last."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"x": np.array([window[::-1]], np.float32)})[0][0]
    return [float(value) for value in scores]


@pytest.fixture
def manifest() -> Manifest:
    return parse_manifest(MANIFEST.encode())


@pytest.fixture
def soil_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a bundle's folder of a model, with golden samples that its own scores meet within `tolerance`."""

    def write(model: ModelProto | None = None, tolerance: float = 0.05, manifest: str = MANIFEST) -> Path:
        made = network() if model is None else model
        folder = tmp_path / "soil"
        folder.mkdir()
        golden = [
            {"window": {"moisture": window}, "scores": run(made, window), "tolerance": tolerance}
            for window in windows(3, seed=2)
        ]
        (folder / "model.toml").write_text(manifest)
        (folder / "soil.onnx").write_bytes(made.SerializeToString())
        (folder / "golden.json").write_text(json.dumps(golden))
        return folder

    return write


@pytest.fixture
def soil_data(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set whose labels are those that the network itself gives, but for the first `wrong` ones."""

    def write(count: int = 40, wrong: int = 0, seed: int = 1) -> Path:
        model = network()
        path = tmp_path / f"data-{seed}.jsonl"
        with path.open("w") as file:
            for position, window in enumerate(windows(count, seed)):
                best = int(np.argmax(run(model, window)))
                label = LABELS[(best + (position < wrong)) % len(LABELS)]
                file.write(json.dumps({"window": {"moisture": window}, "label": label, "field": "north"}) + "\n")
        return path

    return write
