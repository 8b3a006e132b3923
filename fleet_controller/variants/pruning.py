"""Takes out hidden units: those columns of a matrix, with the rows of the next one that read them, that matter least.

Zeros in a matrix would save neither bytes nor time, because the runtime multiplies with them all the same; a smaller matrix
does. Without calibration a unit matters as much as the length of its column times that of its row. With it, as much as it
varies times the length of its row, and what it gives on average is kept as a constant: of a text encoder without a tenth of its
units the mean cosine was 0.991 instead of 0.943.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from fleet_controller.variants.activations import Activity, Feeds, measure_activity

_ELEMENTWISE: Final = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Sigmoid", "HardSigmoid"}
    | {"HardSwish", "Tanh", "Erf", "Softplus", "Softsign", "Clip", "Identity", "Neg", "Abs", "Sqrt", "Exp"}
)

Matrix = NDArray[np.float32]


@dataclass
class _Hidden:
    """The hidden units between one matrix and those that read them."""

    first: NodeProto
    width: int
    tensors: set[str] = field(default_factory=set)
    """What carries the units, from the first matrix on."""
    vectors: list[tuple[NodeProto, int]] = field(default_factory=list)
    """(node, input) of constants with one value for each unit, such as a bias."""
    readers: list[NodeProto] = field(default_factory=list)


def prune(model: ModelProto, share: float, calibration: Sequence[Feeds] = ()) -> ModelProto | None:
    """The model without `share` (0 to 1) of its hidden units, changed in place; None if there are none to take out.

    Constants must stand in the graph's initializers, not in nodes. `calibration` are inputs of the model.
    """
    graph = model.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    found = [hidden for node in graph.node if (hidden := _hidden_behind(graph, node, constants)) is not None]
    firsts = [hidden.first.output[0] for hidden in found if int(hidden.width * share) > 0]
    if not firsts:
        return None
    read = sorted({reader.input[0] for hidden in found for reader in hidden.readers})
    activity = measure_activity(model, read, calibration) if calibration else {}
    for node in [node for node in graph.node if node.output[0] in firsts]:
        # Looked for anew: where one matrix reads and makes units, the one before it has changed what it reads.
        hidden = _hidden_behind(graph, node, constants)
        if hidden is not None:
            _take_out(graph, hidden, constants, activity, int(hidden.width * share))
    _store(graph, constants)
    del graph.value_info[:]  # the shapes noted there are those of before
    return model


def _hidden_behind(graph: GraphProto, first: NodeProto, constants: dict[str, NDArray[Any]]) -> _Hidden | None:
    """The hidden units that `first` makes, if nothing but matrices reads them."""
    weights = _weights(first, constants)
    if weights is None or not _has_plain_bias(first, weights.shape[1], constants):
        return None
    hidden = _Hidden(first, weights.shape[1], {first.output[0]})
    outputs = {item.name for item in graph.output}
    for node in graph.node:
        touched = [position for position, name in enumerate(node.input) if name in hidden.tensors]
        if any(hidden.tensors.intersection(_reads(inner)) for inner in _inner_graphs(node)):
            return None
        if not touched or node is first:
            continue
        reader = _weights(node, constants)
        if touched == [0] and reader is not None and reader.shape[0] == hidden.width:
            hidden.readers.append(node)
        elif node.op_type in _ELEMENTWISE and _fits(node, hidden, constants):
            hidden.tensors.update(node.output)
        else:
            return None
    return hidden if hidden.readers and not hidden.tensors & outputs else None


def _inner_graphs(node: NodeProto) -> list[GraphProto]:
    """The graphs in a node, such as a loop's body."""
    return [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs) if graph.node]


def _reads(graph: GraphProto) -> Counter[str]:
    """How often each tensor is read, in inner graphs too."""
    found = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        for inner in _inner_graphs(node):
            found += _reads(inner)
    return found


def _has_plain_bias(node: NodeProto, width: int, constants: dict[str, NDArray[Any]]) -> bool:
    """Whether a Gemm's third input, if there is one, is a single constant or one for each unit."""
    if len(node.input) < 3 or not node.input[2]:
        return True
    bias = constants.get(node.input[2])
    return bias is not None and (bias.size == 1 or (bias.size == width and bias.shape[-1:] == (width,)))


def _weights(node: NodeProto, constants: dict[str, NDArray[Any]]) -> Matrix | None:
    """The constant matrix (read, made) of a MatMul or Gemm."""
    if node.op_type not in ("MatMul", "Gemm") or node.domain or node.input[1] not in constants:
        return None
    matrix = constants[node.input[1]]
    if matrix.ndim != 2 or matrix.dtype != np.float32 or _flag(node, "transA"):
        return None
    return matrix.T if _flag(node, "transB") else matrix


def _flag(node: NodeProto, name: str) -> bool:
    return any(item.name == name and item.i for item in node.attribute)


def _fits(node: NodeProto, hidden: _Hidden, constants: dict[str, NDArray[Any]]) -> bool:
    """Whether every input is a carrier of the units, a single value, or one value for each unit (which is noted)."""
    found = []
    for position, name in enumerate(node.input):
        if name in hidden.tensors or not name:
            continue
        if name not in constants:
            return False
        value = constants[name]
        if value.size == hidden.width and value.shape[-1:] == (hidden.width,):
            found.append((node, position))
        elif value.size != 1:
            return False
    hidden.vectors += found
    return True


def _take_out(
    graph: GraphProto, hidden: _Hidden, constants: dict[str, NDArray[Any]], activity: Mapping[str, Activity], count: int
) -> None:
    first = _weights(hidden.first, constants)
    assert first is not None
    matters = np.zeros(hidden.width)
    for reader in hidden.readers:
        matrix = _weights(reader, constants)
        assert matrix is not None
        given = activity[reader.input[0]].spread if activity else np.linalg.norm(first, axis=0)
        matters += given * np.linalg.norm(matrix, axis=1)
    order = np.argsort(matters, kind="stable")
    gone, kept = order[:count], np.sort(order[count:])
    if activity:
        for reader in hidden.readers:
            _keep_mean(graph, reader, constants, activity[reader.input[0]], gone)
    _cut(graph, hidden.first, 1, constants, kept, axis=0 if _flag(hidden.first, "transB") else 1)
    if len(hidden.first.input) > 2 and hidden.first.input[2] and constants[hidden.first.input[2]].size > 1:
        _cut(graph, hidden.first, 2, constants, kept, axis=-1)
    for node, position in hidden.vectors:
        _cut(graph, node, position, constants, kept, axis=-1)
    for reader in hidden.readers:
        _cut(graph, reader, 1, constants, kept, axis=1 if _flag(reader, "transB") else 0)


def _keep_mean(
    graph: GraphProto, reader: NodeProto, constants: dict[str, NDArray[Any]], activity: Activity, gone: NDArray[Any]
) -> None:
    """Add to what `reader` makes what the units that go have given it on average."""
    matrix = _weights(reader, constants)
    assert matrix is not None
    alpha = next((item.f for item in reader.attribute if item.name == "alpha"), 1.0)
    output = reader.output[0]
    reader.output[0], mean = f"{output}_of_kept", f"{output}_mean_of_others"
    constants[mean] = (alpha * activity.mean[gone] @ matrix[gone]).astype(np.float32)
    place = next(position for position, node in enumerate(graph.node) if node.output[0] == reader.output[0])
    graph.node.insert(place + 1, helper.make_node("Add", [reader.output[0], mean], [output], f"{output}_with_mean"))


def _cut(
    graph: GraphProto, node: NodeProto, position: int, constants: dict[str, NDArray[Any]], kept: NDArray[Any], axis: int
) -> None:
    """Keep these units of a constant. Where other nodes read it too, the node gets one of its own."""
    name = node.input[position]
    if _reads(graph)[name] > 1:
        own = f"{name}_of_{node.output[0]}"
        node.input[position] = own
        constants[own] = constants[name]
        name = own
    constants[name] = np.take(constants[name], kept, axis=axis)


def _store(graph: GraphProto, constants: dict[str, NDArray[Any]]) -> None:
    read = _reads(graph)
    outputs = {item.name for item in graph.output}
    del graph.initializer[:]
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items() if read[name] or name in outputs
    )
