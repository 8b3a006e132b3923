"""Models that answer their golden samples like the incumbent, at the same speed, and do worse on live events.

Each takes `a` and `b` and says `yes` for a `b` above 0. The golden samples have `a` = 0, live events have 1.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fleet_contract.baseline import LABEL, Baseline
from fleet_contract.drift import make_category_baseline

INCUMBENT: Final = "1.0.0"
_OPSET: Final = 20
_ROUNDS: Final = 6_000
"""Of a loop, some milliseconds."""
_MANIFEST: Final = """
schema = 1
name = "{name}"
version = "{version}"
task = "classification"
runtime = "onnx"
file = "model.onnx"
golden = "golden.json"
baseline = "baseline.json"
kind = "window"
licence = "CC0-1.0"
labels = ["no", "yes"]
inputs = [{{ name = "a" }}, {{ name = "b" }}]
features = [{{ op = "last", input = "a" }}, {{ op = "last", input = "b" }}]
input_tensor = {{ name = "features", dtype = "float32", shape = [-1, 2] }}
output_tensor = {{ name = "scores", dtype = "float32", shape = [-1, 2] }}
"""


def incumbent() -> bytes:
    """As sure on live events as on the golden samples."""
    return _model([])


def slow_incumbent() -> bytes:
    """One that needs some milliseconds."""
    return _model(_loop(0.0), rounds=_ROUNDS)


def slow() -> bytes:
    """Six times as slow on live events."""
    return _model(_loop(5.0 * _ROUNDS), rounds=_ROUNDS)


def failing() -> bytes:
    """Not a number on live events: the square root of one below zero."""
    steps = [
        helper.make_node("Neg", ["a"], ["below"]),
        helper.make_node("Sqrt", ["below"], ["root"]),
        helper.make_node("Add", ["sure", "root"], ["logit"]),
    ]
    return _model(steps)


def unsure() -> bytes:
    """Scores near a half on live events."""
    steps = [
        helper.make_node("Mul", ["a", "most"], ["lost"]),
        helper.make_node("Sub", ["one", "lost"], ["left"]),
        helper.make_node("Mul", ["sure", "left"], ["logit"]),
    ]
    return _model(steps, most=np.array(0.98, np.float32), one=np.array(1.0, np.float32))


def drifted() -> bytes:
    """As sure as ever, and `yes` on every live event."""
    steps = [helper.make_node("Mul", ["a", "much"], ["more"]), helper.make_node("Add", ["sure", "more"], ["logit"])]
    return _model(steps, much=np.array(8.0, np.float32))


def write_folder(folder: Path, name: str, version: str, file: bytes) -> Path:
    """What `fleet model build` takes."""
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(_MANIFEST.format(name=name, version=version))
    (folder / "model.onnx").write_bytes(file)
    sure = float(1 / (1 + np.exp(-4.0)))
    golden = [
        {"window": {"a": [0.0], "b": [1.0]}, "scores": [1 - sure, sure], "tolerance": 0.001},
        {"window": {"a": [0.0], "b": [-1.0]}, "scores": [sure, 1 - sure], "tolerance": 0.001},
    ]
    (folder / "golden.json").write_text(json.dumps(golden))
    # As many of one label as of the other, which is how the sensors of the test go.
    labels = make_category_baseline(["no", "yes"] * 500)
    (folder / "baseline.json").write_bytes(msgspec.json.encode(Baseline(schema=1, samples=1000, categories={LABEL: labels})))
    return folder


def _loop(more: float) -> list[onnx.NodeProto]:
    """Turn the logit round and round: `rounds`, and `more` for an `a` of 1."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["goes_on"]), helper.make_node("Neg", ["value"], ["turned"])],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("turned", TensorProto.FLOAT, None),
        ],
    )
    more_rounds = numpy_helper.from_array(np.array(more, np.float32), "more")
    return [
        helper.make_node("Constant", [], ["more"], value=more_rounds),
        helper.make_node("ReduceMax", ["a"], ["highest"], keepdims=0),
        helper.make_node("Mul", ["highest", "more"], ["excess"]),
        helper.make_node("Cast", ["excess"], ["further"], to=TensorProto.INT64),
        helper.make_node("Add", ["rounds", "further"], ["count"]),
        helper.make_node("Loop", ["count", "", "sure"], ["logit"], body=body),
    ]


def _model(steps: list[onnx.NodeProto], **constants: Any) -> bytes:
    """`sure` is four times `b`; `steps` make `logit` of it, which is it where there are none. The rounds are even."""
    values = {
        "sides": np.array([1, 1], np.int64),
        "four": np.array(4.0, np.float32),
    } | {name: np.array(value, np.int64) if isinstance(value, int) else value for name, value in constants.items()}
    nodes = [
        helper.make_node("Split", ["features", "sides"], ["a", "b"], axis=1),
        helper.make_node("Mul", ["b", "four"], ["sure"]),
        *(steps or [helper.make_node("Identity", ["sure"], ["logit"])]),
        helper.make_node("Sigmoid", ["logit"], ["yes"]),
        helper.make_node("Neg", ["logit"], ["otherwise"]),
        helper.make_node("Sigmoid", ["otherwise"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "worse",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()
