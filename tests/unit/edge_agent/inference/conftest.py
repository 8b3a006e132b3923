"""Small real models in real bundles, and a loop, for the tests of the inference room."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_agent.inference.bundle_store import Bundle, BundleStore
from edge_agent.inference.models import Models
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings

MakeBundle = Callable[..., Bundle]


def linear_onnx(weights: list[list[float]], bias: list[float], *, domain: str = "", sqrt: bool = False) -> bytes:
    """`x @ weights.T + bias`, with a square root behind it that gives NaN for negative sums if `sqrt`."""
    matrix = np.array(weights, np.float32).T
    nodes = [helper.make_node("Gemm", ["features", "w", "b"], ["sums" if sqrt or domain else "scores"])]
    if sqrt:
        nodes.append(helper.make_node("Sqrt", ["sums"], ["scores"]))
    if domain:
        nodes.append(helper.make_node("Foreign", ["sums"], ["scores"], domain=domain))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", matrix.shape[0]])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", matrix.shape[1]])],
        [numpy_helper.from_array(matrix, "w"), numpy_helper.from_array(np.array(bias, np.float32), "b")],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return data


def endless_onnx() -> bytes:
    """`2 * last + mean`, and a `Loop` that never ends where one of them is above 100."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["x"], ["x_next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_next", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["features"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "bound"], ["begin"]),
        helper.make_node("Loop", ["", "begin", "features"], ["same"], body=body),
        helper.make_node("Gemm", ["same", "w", "b"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "endless",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(np.array(100, np.float32), "bound"),
            numpy_helper.from_array(np.array([[2.0], [1.0]], np.float32), "w"),
            numpy_helper.from_array(np.zeros(1, np.float32), "b"),
        ],
    )
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return data


def manifest_text(**changes: Any) -> str:
    """`model.toml` of a model on windows of `flow` that takes last and mean."""
    values: dict[str, Any] = {
        "schema": 1,
        "name": "leak",
        "version": "1.0.0",
        "task": "anomaly",
        "runtime": "onnx",
        "file": "model.bin",
        "golden": "golden.json",
        "kind": "window",
        "licence": "Apache-2.0",
    }
    tables = {
        "inputs": '[[inputs]]\nname = "flow"\n',
        "features": '[[features]]\nop = "last"\ninput = "flow"\n[[features]]\nop = "mean"\ninput = "flow"\n',
        "input_tensor": '[input_tensor]\nname = "features"\ndtype = "float32"\nshape = [-1, 2]\n',
        "output_tensor": '[output_tensor]\nname = "scores"\ndtype = "float32"\nshape = [-1, 1]\n',
    }
    for key, value in changes.items():
        if key in tables:
            tables[key] = value
        else:
            values[key] = value
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()) + "".join(tables.values())


GOLDEN = [{"window": {"flow": [1.0, 3.0]}, "times": [0.0, 1.0], "scores": [8.0]}]
"""For weights 2 and 1: 2 * last + mean."""


def write_entries(path: Path, entries: dict[str, bytes]) -> str:
    """Write a tar and return its digest."""
    with tarfile.open(path, "w") as tar:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def write_bundle(path: Path, model: bytes, golden: Any, **changes: Any) -> str:
    """Write a bundle and return its digest."""
    entries = {"model.toml": manifest_text(**changes).encode(), "model.bin": model, "golden.json": json.dumps(golden).encode()}
    return write_entries(path, entries)


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "models")


@pytest.fixture
def make_bundle(store: BundleStore) -> MakeBundle:
    def make(model: bytes | None = None, golden: Any = None, **changes: Any) -> Bundle:
        path = store.incoming() / "part"
        digest = write_bundle(path, model or linear_onnx([[2.0, 1.0]], [0.0]), golden or GOLDEN, **changes)
        return store.add(path, digest)

    return make


@pytest.fixture
def linear() -> Callable[..., bytes]:
    """Makes a linear ONNX model: see `linear_onnx`."""
    return linear_onnx


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    assert made.errors == 0
    made.close()


@pytest.fixture
def settings() -> InferenceSettings:
    return InferenceSettings(max_batch=8, deadline=20.0)


@pytest.fixture
def models(loop: Loop, settings: InferenceSettings) -> Iterator[Models]:
    made = Models(loop, settings)
    yield made
    pids = [stats.pid for stats in made.stats() if stats.pid is not None]
    made.stop()
    assert loop.run_until(lambda: not any(alive(pid) for pid in pids), 10)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def external_onnx(tmp_path: Path) -> bytes:
    """A model whose weights lie in another file."""
    model = onnx.load_from_string(linear_onnx([[2.0, 1.0]], [0.0]))
    path = tmp_path / "external.onnx"
    onnx.save_model(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location="w.bin", size_threshold=0)
    return path.read_bytes()
