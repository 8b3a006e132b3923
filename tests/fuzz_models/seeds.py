"""Small valid model files to start from, each with the golden samples that it answers."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from models.tflite_writer import Activation, Dense, Quantisation, write_dense
from tests.hostile_models import onnx_files, tflite_files
from tests.hostile_models.releases import Release

SAMPLES: Final = ((1.0, 2.0, 3.0), (2.5, 0.5, 3.0), (30.0, 12.0, 42.0))
"""(a, b, their sum), which is what every seed answers."""
_OPSET: Final = 20
_DOMAIN: Final = "com.microsoft"
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
            "functions": _onnx_functions(),
            "trees": _onnx_trees(),
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


def _onnx_functions() -> bytes:
    """One function of the model's own, called by another."""
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_DOMAIN, 1)]
    outer, inner = ([helper.make_node(name, ["x"], ["y"], domain=domain)] for name, domain in (("inner", _DOMAIN), ("Neg", "")))
    functions = [
        helper.make_function(_DOMAIN, name, ["x"], ["y"], nodes, opsets) for name, nodes in (("outer", outer), ("inner", inner))
    ]
    nodes = [
        helper.make_node("outer", ["features"], ["negative"], domain=_DOMAIN),
        helper.make_node("MatMul", ["negative", "w"], ["scores"]),
    ]
    return _onnx(nodes, functions, w=np.array([[-1], [-1]], np.float32))


def _onnx_trees() -> bytes:
    """One tree: 3 where `a` is at most 10, 42 above."""
    tree = helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["scores"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[10.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_ids=[0, 0],
        target_nodeids=[1, 2],
        target_treeids=[0, 0],
        target_weights=[3.0, 42.0],
    )
    return _onnx([tree])


def _onnx(nodes: list[Any], functions: Sequence[Any] = (), **constants: Any) -> bytes:
    graph = helper.make_graph(
        nodes,
        "seed",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    domains = (("", _OPSET), ("ai.onnx.ml", 1), (_DOMAIN, 1))
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions).SerializeToString()
    return data
