"""Hostile ONNX files. All but those that strike while they are loaded answer `a + b`, until `a` is above `LIMIT`.

`excess` is `a - LIMIT`, or 0: what each of them does its harm with.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LIMIT: Final = 1000.0
_OPSET: Final = 20
_FUNCTIONS: Final = "com.microsoft"
"""The domain of functions of the model's own: one that is not refused for its name."""
_LEVELS: Final = 40


def endless_loop() -> bytes:
    """A loop whose condition stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["goes_on"]), helper.make_node("Identity", ["value"], ["same"])],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, [1, 1]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, [1, 1]),
        ],
    )
    steps = [
        helper.make_node("Reshape", ["excess", "scalar"], ["flat"]),
        helper.make_node("Greater", ["flat", "zero"], ["going_on"]),
        helper.make_node("Loop", ["", "going_on", "sum"], ["scores"], body=body),
    ]
    return _model(steps, scalar=np.array([], np.int64), zero=np.array(0, np.float32))


def eight_gigabytes() -> bytes:
    """As many floats as `excess` has millionths, which is 8 GB for 2000."""
    steps = [
        helper.make_node("Mul", ["excess", "million"], ["many"]),
        helper.make_node("Cast", ["many"], ["more"], to=TensorProto.INT64),
        helper.make_node("Add", ["more", "one"], ["count"]),
        helper.make_node("Reshape", ["count", "one"], ["shape"]),
        helper.make_node("Reshape", ["sum", "one"], ["single"]),
        helper.make_node("Expand", ["single", "shape"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["largest"], keepdims=1),
        helper.make_node("Reshape", ["largest", "square"], ["scores"]),
    ]
    return _model(steps, million=np.array(1e6, np.float32), one=np.array([1], np.int64), square=np.array([1, 1], np.int64))


def wrong_shape() -> bytes:
    """More scores than the file and the manifest promise."""
    steps = [
        helper.make_node("Cast", ["excess"], ["more"], to=TensorProto.INT64),
        helper.make_node("Add", ["more", "one"], ["count"]),
        helper.make_node("Reshape", ["count", "one"], ["width"]),
        helper.make_node("Concat", ["one", "width"], ["shape"], axis=0),
        helper.make_node("Expand", ["sum", "shape"], ["scores"]),
    ]
    return _model(steps, one=np.array([1], np.int64))


def not_a_number() -> bytes:
    """The square root of a number below zero."""
    steps = [
        helper.make_node("Neg", ["excess"], ["below"]),
        helper.make_node("Sqrt", ["below"], ["root"]),
        helper.make_node("Add", ["sum", "root"], ["scores"]),
    ]
    return _model(steps)


def crash_in_transform() -> bytes:
    """A Fourier transform whose axis is left out by an empty name, where ONNX Runtime (1.32) follows a null pointer."""
    given = helper.make_tensor_value_info("given", TensorProto.FLOAT, [1, 1])
    spared = helper.make_tensor_value_info("spared", TensorProto.FLOAT, [1, 1])
    strike = [
        helper.make_node("Expand", ["excess", "signal_shape"], ["signal"]),
        helper.make_node("DFT", ["signal", "", ""], ["spectrum"]),
        helper.make_node("ReduceMax", ["spectrum"], ["highest"], keepdims=0),
        helper.make_node("Add", ["sum", "highest"], ["given"]),
    ]
    steps = [
        helper.make_node("Greater", ["excess", "zero"], ["above"]),
        helper.make_node("Reshape", ["above", "scalar"], ["struck"]),
        helper.make_node(
            "If",
            ["struck"],
            ["scores"],
            then_branch=helper.make_graph(strike, "strike", [], [given]),
            else_branch=helper.make_graph([helper.make_node("Identity", ["sum"], ["spared"])], "spare", [], [spared]),
        ),
    ]
    return _model(
        steps, zero=np.array(0, np.float32), scalar=np.array([], np.int64), signal_shape=np.array([1, 4, 1], np.int64)
    )


def crash_in_gather() -> bytes:
    """GatherND with a count of batch dimensions far below zero, by which ONNX Runtime (1.32) steps before the shape's start."""
    steps = [
        helper.make_node("GatherND", ["features", "index"], ["gathered"], batch_dims=-1_000_000),
        helper.make_node("Add", ["sum", "gathered"], ["scores"]),
    ]
    return _model(steps, index=np.array([[0, 0]], np.int64))


def endless_inlining() -> bytes:
    """Functions that call the next one twice, which become 2^40 nodes when they are put in place of their calls."""
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUNCTIONS, 1)]
    functions = []
    for level in range(_LEVELS):
        calls = f"f{level + 1}"
        nodes = [helper.make_node("Neg", ["x"], ["y"])]
        if level < _LEVELS - 1:
            nodes = [helper.make_node(calls, ["x"], ["z"], domain=_FUNCTIONS)]
            nodes.append(helper.make_node(calls, ["z"], ["y"], domain=_FUNCTIONS))
        functions.append(helper.make_function(_FUNCTIONS, f"f{level}", ["x"], ["y"], nodes, opsets))
    return _model([helper.make_node("f0", ["sum"], ["scores"], domain=_FUNCTIONS)], functions)


def harmless() -> bytes:
    """`a + b`, whatever they are."""
    return _model([helper.make_node("Identity", ["sum"], ["scores"])])


RUNS: Final[dict[str, Callable[[], bytes]]] = {
    "crash": crash_in_transform,
    "endless_loop": endless_loop,
    "eight_gigabytes": eight_gigabytes,
    "wrong_shape": wrong_shape,
    "not_a_number": not_a_number,
}
LOADS: Final[dict[str, Callable[[], bytes]]] = {"crash_at_load": crash_in_gather, "endless_load": endless_inlining}


def _model(steps: Sequence[Any], functions: Sequence[Any] = (), **constants: Any) -> bytes:
    """`steps` from `features`, `sum` and `excess` to `scores`."""
    known = {
        "limit": np.array(LIMIT, np.float32),
        "first": np.array([0], np.int64),
        "columns": np.array([1], np.int64),
        **constants,
    }
    before = [
        helper.make_node("ReduceSum", ["features", "columns"], ["sum"], keepdims=1),
        helper.make_node("Gather", ["features", "first"], ["a"], axis=1),
        helper.make_node("Sub", ["a", "limit"], ["difference"]),
        helper.make_node("Relu", ["difference"], ["excess"]),
    ]
    graph = helper.make_graph(
        [*before, *steps],
        "hostile",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(value, name) for name, value in known.items()],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUNCTIONS, 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))
    data: bytes = model.SerializeToString()
    return data
