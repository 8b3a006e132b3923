"""Small valid model files to start from, each with the golden samples that it answers."""

from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from models.tflite_writer import Activation, Dense, Quantisation, write_dense
from tests.hostile_models import onnx_files, tflite_files
from tests.hostile_models.releases import Release

SAMPLES: Final = ((1.0, 2.0, 3.0), (0.5, 0.25, 0.75), (30.0, 12.0, 42.0))
"""(a, b, their sum), which is what every seed answers."""
_HIDDEN: Final = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.float32)
_OUT: Final = np.array([[0.5, 0.5, 0.5, 0.5]], np.float32)


def seeds_of(format_: str) -> dict[str, Release]:
    """The seeds of a runtime's format by name."""
    if format_ == "onnx":
        made = {
            "layers": _onnx_layers(),
            "quantised": _onnx_quantised(),
            "loop": onnx_files.endless_loop(),
            "branches": onnx_files.crash_in_transform(),
            "shapes": onnx_files.eight_gigabytes(),
        }
        return {name: Release("onnx", data, SAMPLES) for name, data in made.items()}
    layers = [Dense(_HIDDEN, np.zeros(4, np.float32), Activation.RELU), Dense(_OUT, np.zeros(1, np.float32))]
    made = {
        "layers": write_dense(layers),
        "loop": tflite_files.endless_loop(),
        "branches": tflite_files.crash_in_random(),
        "shapes": tflite_files.eight_gigabytes(),
    }
    edge = Quantisation(0.25, 0)
    quantised = Release(
        "tflite", write_dense(layers, quantise_input=edge, quantise_output=edge), ((1.0, 2.0, 3.0), (30.0, 0.0, 30.0)), "int8"
    )
    return {name: Release("tflite", data, SAMPLES) for name, data in made.items()} | {"quantised": quantised}


def _onnx_layers() -> bytes:
    nodes = [
        helper.make_node("Gemm", ["features", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("Gemm", ["positive", "w2", "b2"], ["scores"]),
    ]
    return _onnx(nodes, w1=_HIDDEN.T.copy(), b1=np.zeros(4, np.float32), w2=_OUT.T.copy(), b2=np.zeros(1, np.float32))


def _onnx_quantised() -> bytes:
    nodes = [
        helper.make_node("QuantizeLinear", ["features", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["real"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["weights"], axis=1),
        helper.make_node("MatMul", ["real", "weights"], ["scores"]),
    ]
    return _onnx(
        nodes,
        scale=np.array(0.25, np.float32),
        zero=np.array(0, np.uint8),
        w=np.array([[2], [2]], np.int8),
        w_scale=np.array([0.5], np.float32),
        w_zero=np.array([0], np.int8),
    )


def _onnx(nodes: list[Any], **constants: Any) -> bytes:
    graph = helper.make_graph(
        nodes,
        "seed",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
    return data
