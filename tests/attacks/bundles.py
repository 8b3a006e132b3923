"""Bundles of a model that adds two numbers, and of what an attacker makes of one."""

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MODEL: Final = "sum"
_MANIFEST: Final = """
schema = 1
name = "{name}"
version = "{version}"
task = "regression"
runtime = "onnx"
file = "model.onnx"
golden = "golden.json"
kind = "window"
licence = "CC0-1.0"
inputs = [{{ name = "a" }}, {{ name = "b" }}]
features = [{{ op = "last", input = "a" }}, {{ op = "last", input = "b" }}]
input_tensor = {{ name = "features", dtype = "float32", shape = [-1, 2] }}
output_tensor = {{ name = "scores", dtype = "float32", shape = [-1, 1], unit = "1" }}
"""
Entry = tuple[tarfile.TarInfo, bytes]


def model_file(change: Callable[[onnx.ModelProto], object] | None = None) -> bytes:
    """An ONNX file that adds two features and a constant of zero; `change` makes it another."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["features", "columns"], ["sum"], keepdims=1),
            helper.make_node("Add", ["sum", "zero"], ["scores"]),
        ],
        "sum",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 1])],
        [
            numpy_helper.from_array(np.array([1], np.int64), "columns"),
            numpy_helper.from_array(np.array([0.0], np.float32), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    if change is not None:
        change(model)
    data: bytes = model.SerializeToString()
    return data


def keep_outside(model: onnx.ModelProto) -> None:
    """A tensor lies in a file of the device."""
    tensor = model.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/hostname")


def use_foreign(model: onnx.ModelProto) -> None:
    """An operator that only the attacker's library has."""
    model.graph.node[1].domain = "evil.example"
    model.opset_import.append(helper.make_opsetid("evil.example", 1))


def ask_more(model: onnx.ModelProto) -> None:
    """Three features, where the manifest says two."""
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3


def entries(version: str, *, name: str = MODEL, more: str = "", file: bytes | None = None, wrong: str = "") -> list[Entry]:
    """The entries of a sound bundle. `more` is added to the manifest; `wrong` takes the place of the input's shape."""
    manifest = _MANIFEST.format(name=name, version=version) + more
    if wrong:
        manifest = manifest.replace("shape = [-1, 2]", wrong)
    golden = [{"window": {"a": [1.0], "b": [2.0]}, "scores": [3.0], "tolerance": 0.01}]
    return [
        entry("model.toml", manifest.encode()),
        entry("model.onnx", model_file() if file is None else file),
        entry("golden.json", json.dumps(golden).encode()),
    ]


def entry(name: str, data: bytes = b"", **fields: Any) -> Entry:
    """One entry; `fields` are those of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def pack(content: Sequence[Entry]) -> bytes:
    """A tar of these entries, whatever they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for info, data in content:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
