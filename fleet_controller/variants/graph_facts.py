"""What an ONNX file is made of: how its weights are stored, and what the runtime really computes with.

An int8 file need not mean int8 arithmetic: the runtime may widen the weights and compute in float32. So the operators are not
counted in the file but in the graph that ONNX Runtime makes of it on this machine.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

_STORED: Final[dict[int, str]] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
    TensorProto.INT4: "int4",
    TensorProto.UINT4: "int4",
}
_NARROW: Final = frozenset({"float16", "bfloat16", "int8", "int4"})
_FLOAT_COMPUTE: Final = frozenset(
    {"MatMul", "FusedMatMul", "Gemm", "FusedGemm", "Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Einsum"}
    | {"LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention", "GroupQueryAttention"}
    | {"LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor"}
    | {"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"}
)
_INTEGER_COMPUTE: Final = frozenset(
    {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"}
    | {"ConvInteger", "QLinearConv", "QLinearConvTranspose", "DynamicQuantizeLSTM", "QAttention"}
)
_PACKED: Final = "MatMulNBits"
INT8_COMPUTE: Final = 4
"""MatMulNBits' accuracy level at which it multiplies with int8, the quickest on small processors."""
_ERRORS_ONLY: Final = 3  # log severity


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What was counted in one model."""

    stored: dict[str, int]
    """Type to the number of weight values that are stored in it."""
    operators: dict[str, int]
    """Operators of the file to how often they stand in it."""
    heavy: int
    """Nodes that do the heavy arithmetic, in the runtime's own graph: products of matrices, convolutions, trees."""
    narrow_heavy: int
    """Those of them that compute with integers or float16."""

    @property
    def narrow_share(self) -> float:
        """Share of weight values that are stored in 16 bits or fewer, 0 to 1."""
        return narrow_values(self.stored) / max(sum(self.stored.values()), 1)


def graph_facts(model: ModelProto) -> GraphFacts:
    """Count a model that ONNX Runtime can load."""
    operators: Counter[str] = Counter()
    for graph in _graphs(model.graph):
        operators.update(node.op_type for node in graph.node)
    heavy = [_is_narrow(node, types) for node, types in _runtime_nodes(model) if _is_heavy(node)]
    return GraphFacts(stored_values(model), dict(operators), len(heavy), sum(heavy))


def stored_values(model: ModelProto) -> dict[str, int]:
    """Type to the number of weight values that are stored in it."""
    stored: Counter[str] = Counter()
    for graph in _graphs(model.graph):
        packed = {node.input[1]: _packed_kind(node) for node in graph.node if node.op_type == _PACKED}
        for tensor in graph.initializer:
            _count_tensor(stored, tensor, packed.get(tensor.name))
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == AttributeProto.TENSOR and node.op_type == "Constant":
                    _count_tensor(stored, attribute.t, None)
                elif attribute.type == AttributeProto.FLOATS:
                    stored["float32"] += len(attribute.floats)
    return dict(stored)


def narrow_values(stored: dict[str, int]) -> int:
    """How many of them are stored in 16 bits or fewer."""
    return sum(count for kind, count in stored.items() if kind in _NARROW)


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _packed_kind(node: NodeProto) -> tuple[str, int]:
    """How the weights of a MatMulNBits are stored, and how many values they are: several lie in one byte."""
    numbers = {attribute.name: attribute.i for attribute in node.attribute}
    return f"int{numbers.get('bits', 4)}", numbers["K"] * numbers["N"]


def _count_tensor(stored: Counter[str], tensor: TensorProto, packed: tuple[str, int] | None) -> None:
    if packed is not None:
        stored[packed[0]] += packed[1]
    elif tensor.data_type in _STORED:
        stored[_STORED[tensor.data_type]] += math.prod(tensor.dims)


def _runtime_nodes(model: ModelProto) -> list[tuple[NodeProto, dict[str, int]]]:
    """The nodes of the graph as ONNX Runtime runs it, each with the types of the constants that its graph holds."""
    with tempfile.TemporaryDirectory(prefix="fleet-optimize-") as folder:
        kept = Path(folder) / "runtime.onnx"
        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        options.optimized_model_filepath = str(kept)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(kept).graph
    found = []
    for inner in _graphs(graph):
        types = {tensor.name: tensor.data_type for tensor in inner.initializer}
        found += [(node, types) for node in inner.node]
    return found


def _is_heavy(node: NodeProto) -> bool:
    return node.op_type in _FLOAT_COMPUTE or node.op_type in _INTEGER_COMPUTE or node.op_type == _PACKED


def _is_narrow(node: NodeProto, types: dict[str, int]) -> bool:
    if node.op_type == _PACKED:
        # At any other level it widens its weights block by block, and multiplies with float32.
        return any(item.name == "accuracy_level" and item.i == INT8_COMPUTE for item in node.attribute)
    # Where the processor has no float16 arithmetic, the runtime has widened such constants by now.
    return node.op_type in _INTEGER_COMPUTE or any(types.get(name) == TensorProto.FLOAT16 for name in node.input)
