"""Makes the variants, each with a tool that comes with ONNX Runtime. Pruning, for which it has none, is in `pruning.py`."""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import onnx.version_converter
from onnx import ModelProto, TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from fleet_controller.variants.activations import Feeds
from fleet_controller.variants.graph_facts import INT8_COMPUTE, narrow_values, stored_values
from fleet_controller.variants.kinds import Kind
from fleet_controller.variants.pruning import prune

BLOCK: Final = 32
"""Weights that share one scale in an int4 variant."""
SCALES_BY_CHANNEL: Final = 13
"""The operator set of ONNX from which on a scale for each channel can be written."""


class VariantImpossible(Exception):
    """This kind of variant cannot be made of this model; the text says why."""


def make_variant(kind: Kind, model: ModelProto, calibration: Sequence[Feeds] = (), share: float = 0.0) -> ModelProto:
    """A new model; `model` is left as it is. Raises VariantImpossible.

    `calibration` are inputs of the model, for INT8_STATIC, and for PRUNED if there are any; `share` is how much of the hidden
    units PRUNED takes out, 0 to 1.
    """
    source = ModelProto()
    source.CopyFrom(model)
    _store_constants(source)
    with tempfile.TemporaryDirectory(prefix="fleet-optimize-") as folder, _quiet():
        try:
            made = _make(kind, source, calibration, share, Path(folder))
        except VariantImpossible:
            raise
        except Exception as error:
            # The tools raise whatever they stumble over: the operators of a model are not theirs to choose.
            text = " ".join(str(error).split())
            raise VariantImpossible(f"the tool for {kind} failed: {type(error).__name__}: {text}") from error
    if kind is not Kind.PRUNED and narrow_values(stored_values(made)) <= narrow_values(stored_values(model)):
        raise VariantImpossible(f"the tool for {kind} found nothing to make narrower; this model has {_operators(model)}")
    return _tidy(made)


def _store_constants(model: ModelProto) -> None:
    """Constants that stand in nodes become initializers, where alone some of the tools look for weights."""
    for node in [node for node in model.graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]:
        tensor = node.attribute[0].t
        tensor.name = node.output[0]
        model.graph.initializer.append(tensor)
        model.graph.node.remove(node)


def _make(kind: Kind, model: ModelProto, calibration: Sequence[Feeds], share: float, folder: Path) -> ModelProto:
    match kind:
        case Kind.INT8:
            return _int8(model, folder)
        case Kind.INT8_STATIC:
            return _int8_static(model, calibration, folder)
        case Kind.INT4:
            return _int4(model, folder)
        case Kind.FP16:
            return _fp16(model, folder)
        case Kind.PRUNED:
            pruned = prune(model, share, calibration)
            if pruned is None:
                raise VariantImpossible(
                    "no hidden units can be taken out: pruning needs a matrix product whose result goes through operators "
                    f"on single elements alone into another one; this model has {_operators(model)}"
                )
            return pruned


def _int8(model: ModelProto, folder: Path) -> ModelProto:
    # Not Conv: a convolution that measures its input anew each time was several times slower than with float32.
    operators = ("MatMul", "Gemm", "LSTM", "Attention", "Gather")
    _require(model, operators, "int8")
    out = folder / "out.onnx"
    # The tool calls a Gemm by the name of what it turns it into.
    named = [name for name in operators if name != "Gemm"]
    quantize_dynamic(_prepared(model, folder), out, named, per_channel=True, weight_type=QuantType.QInt8)
    return onnx.load(out)


def _int8_static(model: ModelProto, calibration: Sequence[Feeds], folder: Path) -> ModelProto:
    _require(model, ("MatMul", "Gemm", "Conv"), "int8-static")
    # Between convolutions everything is quantised, so that numbers stay int8 from one to the next. Elsewhere what lies between
    # products is sensitive: with it, a text encoder's mean cosine was 0.845 instead of 0.943, at about the same speed.
    operators = None if _with_weights(model, ("Conv",)) else ["MatMul", "Gemm", "Gather"]
    quantize_static(
        _prepared(_with_scales_by_channel(model), folder),
        folder / "out.onnx",
        _CalibrationInputs(calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=operators,
        per_channel=True,
        activation_type=QuantType.QUInt8,  # with int8 weights, what both x86 and Arm have quick operators for
        weight_type=QuantType.QInt8,
    )
    return onnx.load(folder / "out.onnx")


def _with_scales_by_channel(model: ModelProto) -> ModelProto:
    """The model in an operator set whose DequantizeLinear takes a scale for each channel: its own, or the first of them."""
    version = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    return model if version >= SCALES_BY_CHANNEL else onnx.version_converter.convert_version(model, SCALES_BY_CHANNEL)


def _int4(model: ModelProto, folder: Path) -> ModelProto:
    _require(model, ("MatMul", "Gemm"), "int4")
    products = ONNXModel(model)
    products.replace_gemm_with_matmul()
    quantizer = MatMulNBitsQuantizer(
        products.model,
        bits=4,
        block_size=BLOCK,
        is_symmetric=True,
        accuracy_level=INT8_COMPUTE,
        op_types_to_quantize=("MatMul",),
    )
    quantizer.process()
    made: ModelProto = quantizer.model.model
    if not _with_weights(made, ("Gather",)):
        return made
    onnx.save(made, folder / "int4.onnx")
    quantize_dynamic(folder / "int4.onnx", folder / "out.onnx", ["Gather"], per_channel=True, weight_type=QuantType.QInt8)
    return onnx.load(folder / "out.onnx")


def _fp16(model: ModelProto, folder: Path) -> ModelProto:
    if not any(tensor.data_type == TensorProto.FLOAT for tensor in model.graph.initializer):
        raise VariantImpossible(f"no float32 weights are stored apart from operators; this model has {_operators(model)}")
    # Prepared, because a variance in float16 loses what a convolution keeps that has taken its normalisation in: of a text
    # detector the mean cosine was 0.85, and is 1.0.
    made: ModelProto = convert_float_to_float16(onnx.load(_prepared(model, folder)), keep_io_types=True)
    return made


class _CalibrationInputs(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime is not typed
    def __init__(self, inputs: Sequence[Feeds]) -> None:
        self._left = iter(inputs)

    def get_next(self) -> Feeds | None:
        return next(self._left, None)


def _prepared(model: ModelProto, folder: Path) -> Path:
    """The model as the quantisers want it: constants folded, shapes known."""
    onnx.save(model, folder / "source.onnx")
    prepared = folder / "prepared.onnx"
    quant_pre_process(folder / "source.onnx", prepared, skip_symbolic_shape=True)
    made = onnx.load(prepared)
    _flatten_biases(made)
    onnx.save(made, prepared)
    return prepared


def _flatten_biases(model: ModelProto) -> None:
    """A bias of shape (1, n), which a Gemm takes as well as (n,), breaks the quantiser's rule for small scales."""
    biases = {node.input[2] for node in model.graph.node if node.op_type == "Gemm" and len(node.input) > 2}
    elsewhere = {name for node in model.graph.node if node.op_type != "Gemm" for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.name in biases - elsewhere and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]


def _require(model: ModelProto, operators: Sequence[str], kind: str) -> None:
    if not _with_weights(model, operators):
        raise VariantImpossible(
            f"nothing in it can be quantised: {kind} needs {', '.join(operators)} with constant float32 weights; "
            f"this model has {_operators(model)}"
        )


def _with_weights(model: ModelProto, operators: Sequence[str]) -> bool:
    """Whether any of the operators has constant float32 weights."""
    weights = {item.name for item in model.graph.initializer if item.data_type == TensorProto.FLOAT and len(item.dims) > 1}
    return any(node.op_type in operators and weights.intersection(node.input) for node in model.graph.node)


def _operators(model: ModelProto) -> str:
    return ", ".join(sorted({node.op_type for node in model.graph.node}))


def _tidy(model: ModelProto) -> ModelProto:
    """Without the operator domains that the tools name and nobody uses: devices refuse a file that names foreign ones."""
    used = _domains(model.graph.node) | {domain for function in model.functions for domain in _domains(function.node)}
    kept = {item.domain: item.version for item in model.opset_import if item.domain in used}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in kept.items())
    del model.metadata_props[:]
    return model


def _domains(nodes: Any) -> set[str]:
    found = set()
    for node in nodes:
        found.add("" if node.domain == "ai.onnx" else node.domain)
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                found |= _domains(graph.node)
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tools print and log advice about themselves; what matters of it is in our own report."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
