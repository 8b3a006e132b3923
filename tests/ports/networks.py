"""Files of the same small network for every runtime, and the way to open one."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_agent.inference.backends import port
from edge_agent.inference.protocol import Load, TensorSpec
from models.tflite_writer import Activation, Dense, Quantisation, write_dense, write_int8_dense, write_logistic

WEIGHTS = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]], np.float32)
BIAS = np.array([0.1, -0.2], np.float32)
WANTED = TensorSpec("features", "float32", (-1, 3))
GIVEN = TensorSpec("scores", "float32", (-1, 2))
SAMPLES = np.array([[1, 2, 3], [0, 0, 0], [-1, 0.5, 2], [3, -2, 1], [0.1, 0.2, 0.3]], np.float32)


def expected(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    sums = samples.astype(np.float64) @ WEIGHTS.T + BIAS
    powers = np.exp(sums)
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def onnx_file(batch: int | str = "batch", extra: Callable[[Any], None] | None = None) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["features", "w", "b"], ["sums"]), helper.make_node("Softmax", ["sums"], ["scores"], axis=1)],
        "softmax",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(np.ascontiguousarray(WEIGHTS.T), "w"), numpy_helper.from_array(BIAS, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if extra is not None:
        extra(model)
    data: bytes = model.SerializeToString()
    return data


def tflite_file() -> bytes:
    return write_dense([Dense(WEIGHTS, BIAS, Activation.SOFTMAX)])


def int8_onnx_file() -> bytes:
    """The network with int8 weights and arithmetic, real values at its edges: what dynamic quantisation makes."""
    step = float(np.abs(WEIGHTS).max()) / 127

    def change(model: Any) -> None:
        graph = model.graph
        del graph.node[0], graph.initializer[0]
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.round(WEIGHTS.T / step).astype(np.int8), "w8"),
                numpy_helper.from_array(np.array(step, np.float32), "step"),
            ]
        )
        steps = [
            helper.make_node("DynamicQuantizeLinear", ["features"], ["f8", "f_step", "f_zero"]),
            helper.make_node("MatMulInteger", ["f8", "w8", "f_zero"], ["whole"]),
            helper.make_node("Cast", ["whole"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["f_step", "step"], ["both"]),
            helper.make_node("Mul", ["real", "both"], ["scaled"]),
            helper.make_node("Add", ["scaled", "b"], ["sums"]),
        ]
        softmax = graph.node.pop()
        graph.node.extend([*steps, softmax])

    return onnx_file(extra=change)


def two_input_onnx_file() -> bytes:
    def change(model: Any) -> None:
        model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch", 3]))
        model.graph.node[0].input[0] = "joined"
        model.graph.node.insert(0, helper.make_node("Add", ["features", "more"], ["joined"]))

    return onnx_file(extra=change)


def logistic_onnx_file() -> bytes:
    """The logistic function of each element of a matrix of any size."""
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["features"], ["scores"])],
        "logistic",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", "columns"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", "columns"])],
    )
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return data


@dataclass(frozen=True)
class Case:
    runtime: str
    make: Callable[[], bytes]
    quantised: Callable[[], bytes]
    edge: str
    """The dtype at the quantised file's edges."""
    two_inputs: Callable[[], bytes]
    any_size: Callable[[], bytes]
    providers: tuple[str, ...]
    package: str | None = None
    """The one package that is to be found for this case."""


def _tflite_case(package: str) -> Case:
    network = Dense(WEIGHTS, BIAS, Activation.SOFTMAX)
    return Case(
        "tflite",
        tflite_file,
        lambda: write_int8_dense(Dense(WEIGHTS, BIAS), quantise_input=Quantisation(3 / 127, 0), sums=Quantisation(8 / 127, 0)),
        "int8",
        lambda: write_dense([network], added_name="more"),
        write_logistic,
        ("XNNPACK",),
        package,
    )


CASES = [
    Case("onnx", onnx_file, int8_onnx_file, "float32", two_input_onnx_file, logistic_onnx_file, ("CPUExecutionProvider",)),
    _tflite_case("ai-edge-litert"),
    _tflite_case("tflite-runtime"),
]
if sys.version_info >= (3, 12):  # there are no wheels of it
    CASES = [case for case in CASES if case.package != "tflite-runtime"]


def open_model(
    runtime: str,
    model: bytes,
    wanted: TensorSpec | tuple[TensorSpec, ...] = WANTED,
    given: TensorSpec = GIVEN,
    *,
    require: tuple[str, ...] = (),
    on_missing: str = "fail",
    delegates: tuple[str, ...] = (),
) -> port.Backend:
    request = Load(
        bundle="",
        digest="",
        offset=0,
        size=0,
        runtime=runtime,
        runtime_min=None,
        threads=1,
        require=require,
        on_missing=on_missing,
        delegates=delegates,
        inputs=(),
        features=(),
        mean=None,
        scale=None,
        input_tensors=(wanted,) if isinstance(wanted, TensorSpec) else wanted,
        output_tensor=given,
    )
    return port.load(request, model)


def endless_onnx_file() -> bytes:
    """A Loop of which nobody knows an end, around the network's input."""
    flag = helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Mul", ["carried", "one"], ["carried_on"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, ["batch", 2]),
        ],
        [flag, helper.make_tensor_value_info("carried_on", TensorProto.FLOAT, ["batch", 2])],
    )

    def change(model: Any) -> None:
        model.graph.node[1].output[0] = "soft"
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(True), "yes"),
                numpy_helper.from_array(np.array(1, np.float32), "one"),
                numpy_helper.from_array(np.array(2.0, np.float32), "limit"),
            ]
        )
        model.graph.node.extend(
            [
                helper.make_node("ReduceMax", ["features"], ["largest"], keepdims=0),
                helper.make_node("Greater", ["largest", "limit"], ["large"]),
                helper.make_node("Loop", ["", "large", "soft"], ["scores"], body=body),
            ]
        )

    return onnx_file(extra=change)
