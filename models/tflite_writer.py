"""Writes a small dense network as a .tflite file with flatbuffers alone, so that nobody needs TensorFlow to build a model.

The numbers below are field positions and enumerators of the public schema
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs (schema version 3).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import flatbuffers
import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION: Final = 3
FILE_IDENTIFIER: Final = b"TFL3"

_FLOAT32, _INT32, _INT8 = 0, 2, 9  # TensorType
_ADD, _DEQUANTIZE, _FULLY_CONNECTED, _LOGISTIC, _SOFTMAX, _CUSTOM, _QUANTIZE = 0, 6, 9, 14, 25, 32, 114  # BuiltinOperator
_INT8_VERSION: Final = {_DEQUANTIZE: 2, _FULLY_CONNECTED: 4, _SOFTMAX: 2}
"""The first version of an operator that takes int8. All others, and these with float32, are version 1."""
_FULLY_CONNECTED_OPTIONS, _SOFTMAX_OPTIONS = 8, 9  # BuiltinOptions
_FUSED_NONE, _FUSED_RELU = 0, 1  # ActivationFunctionType


class Activation(StrEnum):
    """What follows a dense layer."""

    NONE = "none"
    RELU = "relu"
    LOGISTIC = "logistic"
    SOFTMAX = "softmax"


@dataclass(frozen=True)
class Dense:
    """A dense layer: `activation(x @ weights.T + bias)`."""

    weights: NDArray[np.float32]
    """Shape (outputs, inputs): the transpose of scikit-learn's `coefs_`."""
    bias: NDArray[np.float32]
    """Shape (outputs,)."""
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Quantisation:
    """int8 at the model's edge: `real = scale * (stored - zero_point)`."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    kind: int = _FLOAT32
    data: bytes | None = None
    quantisation: Quantisation | None = None
    free: int = 1
    """How many of the first dimensions have no fixed size."""


@dataclass(frozen=True)
class _Operator:
    code: int
    inputs: tuple[int, ...]
    output: int
    fused: int = _FUSED_NONE
    version: int = 1
    custom: str = ""
    """The name of an operator that only a delegate has."""


def write_dense(
    layers: Sequence[Dense],
    *,
    input_name: str = "features",
    output_name: str = "scores",
    added_name: str | None = None,
    quantise_input: Quantisation | None = None,
    quantise_output: Quantisation | None = None,
) -> bytes:
    """The .tflite file of a stack of dense layers: float32 (batch, inputs) in, float32 (batch, outputs) out.

    The batch is dynamic. With `added_name` the model has a second input of that name, of the same shape, which is added to the
    first before the layers. With `quantise_input` or `quantise_output` that edge is int8, the layers themselves stay float32.
    Raises ValueError when the layers do not fit each other.
    """
    tensors, operators, inputs = _plan(layers, input_name, output_name, added_name, quantise_input, quantise_output)
    return _serialise(tensors, operators, inputs)


def write_int8_dense(
    layer: Dense, *, quantise_input: Quantisation, sums: Quantisation, input_name: str = "features", output_name: str = "scores"
) -> bytes:
    """One dense layer and softmax in int8 arithmetic throughout, as a converter makes it: one scale for each tensor.

    `sums` is the quantisation between the two. The output's is that of every int8 softmax: 1/256 and -128.
    """
    outputs, inputs = layer.weights.shape
    step = float(np.abs(layer.weights).max()) / 127
    weights = np.clip(np.round(layer.weights / step), -127, 127).astype(np.int8)
    bias_step = quantise_input.scale * step
    bias = np.round(layer.bias / bias_step).astype("<i4")
    tensors = [
        _Tensor(input_name, (1, inputs), _INT8, None, quantise_input),
        _Tensor("weights", (outputs, inputs), _INT8, weights.tobytes(), Quantisation(step, 0)),
        _Tensor("bias", (outputs,), _INT32, bias.tobytes(), Quantisation(bias_step, 0)),
        _Tensor("sums", (1, outputs), _INT8, None, sums),
        _Tensor(output_name, (1, outputs), _INT8, None, Quantisation(1 / 256, -128)),
    ]
    operators = [
        _Operator(_FULLY_CONNECTED, (0, 1, 2), 3, version=_INT8_VERSION[_FULLY_CONNECTED]),
        _Operator(_SOFTMAX, (3,), 4, version=_INT8_VERSION[_SOFTMAX]),
    ]
    return _serialise(tensors, operators, (0,))


def write_logistic(input_name: str = "features", output_name: str = "scores") -> bytes:
    """The logistic function of each element of a float32 matrix of any size."""
    tensors = [_Tensor(input_name, (1, 1), free=2), _Tensor(output_name, (1, 1), free=2)]
    return _serialise(tensors, [_Operator(_LOGISTIC, (0,), 1)], (0,))


def write_custom(operator: str, width: int, *, input_name: str = "features", output_name: str = "scores") -> bytes:
    """One operator that no runtime has by itself: what a compiler for an accelerator leaves of a network."""
    tensors = [_Tensor(input_name, (1, width)), _Tensor(output_name, (1, width))]
    return _serialise(tensors, [_Operator(_CUSTOM, (0,), 1, custom=operator)], (0,))


def _plan(
    layers: Sequence[Dense],
    input_name: str,
    output_name: str,
    added_name: str | None,
    quantise_input: Quantisation | None,
    quantise_output: Quantisation | None,
) -> tuple[list[_Tensor], list[_Operator], tuple[int, ...]]:
    """Tensors, operators in order, and the inputs' positions; the model's output is the last tensor."""
    if not layers:
        raise ValueError("at least one layer is needed")
    tensors: list[_Tensor] = []
    operators: list[_Operator] = []

    def add(tensor: _Tensor) -> int:
        tensors.append(tensor)
        return len(tensors) - 1

    width = int(layers[0].weights.shape[1])
    if quantise_input is None:
        current = add(_Tensor(input_name, (1, width)))
    else:
        edge = add(_Tensor(input_name, (1, width), _INT8, None, quantise_input))
        current = add(_Tensor("features_float", (1, width)))
        operators.append(_Operator(_DEQUANTIZE, (edge,), current, version=_INT8_VERSION[_DEQUANTIZE]))
    model_inputs: tuple[int, ...] = (0,)
    if added_name is not None:
        added = add(_Tensor(added_name, (1, width)))
        model_inputs = (0, added)
        joined = add(_Tensor("joined", (1, width)))
        operators.append(_Operator(_ADD, (current, added), joined))
        current = joined
    for number, layer in enumerate(layers):
        outputs, inputs = layer.weights.shape
        if inputs != width or layer.bias.shape != (outputs,):
            raise ValueError(f"layer {number}: weights {layer.weights.shape} and bias {layer.bias.shape} after {width} inputs")
        width = int(outputs)
        weights = add(_Tensor(f"weights_{number}", (outputs, inputs), data=layer.weights.astype("<f4").tobytes()))
        bias = add(_Tensor(f"bias_{number}", (outputs,), data=layer.bias.astype("<f4").tobytes()))
        separate = {Activation.LOGISTIC: _LOGISTIC, Activation.SOFTMAX: _SOFTMAX}.get(layer.activation)
        last = number == len(layers) - 1 and quantise_output is None
        dense = add(_Tensor(output_name if last and separate is None else f"dense_{number}", (1, width)))
        fused = _FUSED_RELU if layer.activation is Activation.RELU else _FUSED_NONE
        operators.append(_Operator(_FULLY_CONNECTED, (current, weights, bias), dense, fused))
        current = dense
        if separate is not None:
            active = add(_Tensor(output_name if last else f"active_{number}", (1, width)))
            operators.append(_Operator(separate, (current,), active))
            current = active
    if quantise_output is not None:
        edge = add(_Tensor(output_name, (1, width), _INT8, None, quantise_output))
        operators.append(_Operator(_QUANTIZE, (current,), edge))
    return tensors, operators, model_inputs


def _serialise(tensors: list[_Tensor], operators: list[_Operator], inputs: tuple[int, ...]) -> bytes:
    build = flatbuffers.Builder(1024)
    codes = sorted({(operator.code, operator.version, operator.custom) for operator in operators})
    # Buffer 0 is by convention empty and stands for "no constant data".
    buffers = [_table(build, {})]
    buffer_of: list[int] = []
    for tensor in tensors:
        if tensor.data is None:
            buffer_of.append(0)
        else:
            data = _aligned_bytes(build, tensor.data)
            buffers.append(_table(build, {0: ("offset", data)}))
            buffer_of.append(len(buffers) - 1)
    written = [_write_tensor(build, tensor, buffer) for tensor, buffer in zip(tensors, buffer_of, strict=True)]
    steps = [
        _write_operator(build, operator, codes.index((operator.code, operator.version, operator.custom)))
        for operator in operators
    ]
    graph_fields = {
        0: ("offset", _offsets(build, written)),
        1: ("offset", _int32s(build, inputs)),
        2: ("offset", _int32s(build, (len(tensors) - 1,))),
        3: ("offset", _offsets(build, steps)),
        4: ("offset", build.CreateString("main")),
    }
    graph = _table(build, graph_fields)
    operator_codes = [_write_code(build, *code) for code in codes]
    model_fields = {
        0: ("uint32", SCHEMA_VERSION),
        1: ("offset", _offsets(build, operator_codes)),
        2: ("offset", _offsets(build, [graph])),
        3: ("offset", build.CreateString("dense network")),
        4: ("offset", _offsets(build, buffers)),
    }
    build.Finish(_table(build, model_fields), file_identifier=FILE_IDENTIFIER)
    return bytes(build.Output())


def _write_code(build: Any, code: int, version: int, custom: str) -> int:
    fields: dict[int, tuple[str, Any]] = {0: ("int8", code), 2: ("int32", version), 3: ("int32", code)}
    if custom:
        fields[1] = ("offset", build.CreateString(custom))
    return _table(build, fields)


def _write_tensor(build: Any, tensor: _Tensor, buffer: int) -> int:
    fields: dict[int, tuple[str, Any]] = {
        0: ("offset", _int32s(build, tensor.shape)),
        1: ("int8", tensor.kind),
        2: ("uint32", buffer),
        3: ("offset", build.CreateString(tensor.name)),
    }
    if tensor.quantisation is not None:
        scale = build.CreateNumpyVector(np.array([tensor.quantisation.scale], dtype="<f4"))
        zero_point = build.CreateNumpyVector(np.array([tensor.quantisation.zero_point], dtype="<i8"))
        fields[4] = ("offset", _table(build, {2: ("offset", scale), 3: ("offset", zero_point)}))
    if tensor.data is None:
        fields[7] = ("offset", _int32s(build, (*[-1] * tensor.free, *tensor.shape[tensor.free :])))
    return _table(build, fields)


def _write_operator(build: Any, operator: _Operator, code: int) -> int:
    fields: dict[int, tuple[str, Any]] = {
        0: ("uint32", code),
        1: ("offset", _int32s(build, operator.inputs)),
        2: ("offset", _int32s(build, (operator.output,))),
    }
    if operator.code == _FULLY_CONNECTED:
        fields[3] = ("uint8", _FULLY_CONNECTED_OPTIONS)
        fields[4] = ("offset", _table(build, {0: ("int8", operator.fused)}))
    elif operator.code == _SOFTMAX:
        fields[3] = ("uint8", _SOFTMAX_OPTIONS)
        fields[4] = ("offset", _table(build, {0: ("float32", 1.0)}))
    return _table(build, fields)


def _table(build: Any, fields: dict[int, tuple[str, Any]]) -> int:
    """Write a table whose children are written already; every value is stored, also where it equals the default."""
    put: dict[str, Callable[[Any], None]] = {
        "offset": build.PrependUOffsetTRelative,
        "int8": build.PrependInt8,
        "uint8": build.PrependUint8,
        "int32": build.PrependInt32,
        "uint32": build.PrependUint32,
        "float32": build.PrependFloat32,
    }
    build.StartObject(max(fields, default=-1) + 1)
    for slot, (kind, value) in sorted(fields.items()):
        put[kind](value)
        build.Slot(slot)
    return int(build.EndObject())


def _offsets(build: Any, items: Sequence[int]) -> int:
    build.StartVector(4, len(items), 4)
    for item in reversed(items):
        build.PrependUOffsetTRelative(item)
    return int(build.EndVector())


def _int32s(build: Any, values: Sequence[int]) -> int:
    return int(build.CreateNumpyVector(np.array(values, dtype="<i4")))


def _aligned_bytes(build: Any, data: bytes) -> int:
    """A byte vector whose first byte lies on 16: the schema's `force_align`, without which kernels may read unaligned."""
    build.StartVector(1, len(data), 16)
    build.head = build.Head() - len(data)
    build.Bytes[build.Head() : build.Head() + len(data)] = data
    return int(build.EndVector())
