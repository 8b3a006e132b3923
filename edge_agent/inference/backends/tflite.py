"""TensorFlow Lite behind the port, by whichever package works here: ai-edge-litert or tflite-runtime."""

import ctypes
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.backends.delegates import (
    BOOKKEEPING,
    CPU,
    XNNPACK,
    Operator,
    library_of,
    placed,
    taken_by_delegates,
)
from edge_agent.inference.backends.native_output import NativeOutput
from edge_agent.inference.backends.port import BackendError, Feeds, check_tensor, degrade_or_fail
from edge_agent.inference.backends.providers import LEAST_SHARE, MOST_TEXT, computing_share, first_error, shares
from edge_agent.inference.protocol import Load

PACKAGES = (("ai_edge_litert.interpreter", "ai-edge-litert"), ("tflite_runtime.interpreter", "tflite-runtime"))


class TfliteBackend:
    """One interpreter. A quantised file is given and gives real values: scale and zero point are applied here."""

    def __init__(self, load: Load, model: bytes) -> None:
        if model[4:8] != b"TFL3":
            raise BackendError(protocol.MODEL_FILE_INVALID, "not a .tflite file: its identifier is not TFL3")
        self._module, self.version = _find_package(model)
        self.degraded: str | None = None
        self._start(load, model)
        sources, results = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        names = [item["name"] for item in sources]
        wanted = {item.name: item for item in load.input_tensors}
        given = load.output_tensor
        if sorted(names) != sorted(wanted):
            raise BackendError(
                protocol.TENSOR_MISMATCH, f"the file's inputs are {sorted(names)}, the manifest's are {sorted(wanted)}"
            )
        named = [item for item in results if item["name"] == given.name]
        if not named:
            names = [item["name"] for item in results]
            raise BackendError(protocol.TENSOR_MISMATCH, f"the file's outputs are {names}, the manifest's is {given.name!r}")
        self._sources, self._result = {item["name"]: item for item in sources}, named[0]
        check_tensor("output", given, np.dtype(self._result["dtype"]).name, _shape(self._result))
        fixed = {check_tensor("input", wanted[item["name"]], np.dtype(item["dtype"]).name, _shape(item)) for item in sources}
        self.max_batch: int | None = max((size for size in fixed if size is not None), default=None)
        self._shapes = {item["name"]: tuple(int(size) for size in item["shape"]) for item in sources}

    def run(self, feeds: Feeds) -> NDArray[Any]:
        """See the port."""
        other = {name: values.shape for name, values in feeds.items() if values.shape != self._shapes.get(name)}
        if other:
            self._resize(other)
        for name, values in feeds.items():
            source = self._sources[name]
            self._interpreter.set_tensor(source["index"], _quantise(values, source))
        self._interpreter.invoke()
        return _dequantise(self._interpreter.get_tensor(self._result["index"]), self._result)

    def cancel(self) -> None:
        """See the port; the interpreter of Python cannot be told to stop."""

    def _resize(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raises ValueError for a shape that the file does not take, and what the interpreter raises."""
        for name, shape in shapes.items():
            takes = _shape(self._sources[name])
            # XNNPACK of tflite-runtime takes another size without a word, and computes something.
            if len(shape) != len(takes) or any(want not in (-1, size) for size, want in zip(shape, takes)):  # noqa: B905
                raise ValueError(f"input {name!r} takes shape {takes}, not {shape}")
        for name, shape in shapes.items():
            self._interpreter.resize_tensor_input(self._sources[name]["index"], list(shape), strict=False)
            self._shapes.pop(name, None)  # until there is memory for it: the next batch asks again
        self._interpreter.allocate_tensors()
        self._shapes |= shapes

    def _start(self, load: Load, model: bytes) -> None:
        troubles = [f"{name}: TensorFlow Lite has delegates, no execution providers" for name in load.require if name != "cpu"]
        for name in load.delegates:
            trouble = self._open_with(name, load, model)
            if trouble is None:
                return
            troubles.append(f"{name}: {trouble}")
        try:
            self._open(load, model)
        except BackendError as error:
            if not troubles:
                raise
            # A file that was compiled for an accelerator holds operators that only its delegate knows.
            raise BackendError(protocol.PROVIDER_MISSING, f"{'; '.join(troubles)}; without: {error}") from error
        self.degraded = degrade_or_fail(load, troubles)

    def _open_with(self, name: str, load: Load, model: bytes) -> str | None:
        """Open the interpreter with a delegate and keep it, or say why that is not possible."""
        library = library_of(name)
        if library is None:
            return "no such delegate"
        try:
            with NativeOutput() as output:
                ctypes.CDLL(library)  # tells what is missing without leaving a half-made object of the package behind
                delegate = self._module.load_delegate(library)
                self._open(load, model, name, delegate)
        except (BackendError, ValueError, RuntimeError, OSError) as error:
            told = str(error).strip().rpartition("\n")[2] or first_error(output.text) or f"{library} does not say why"
            return f"did not start: {told[:MOST_TEXT]}"
        share = computing_share(self._nodes, self.provider, BOOKKEEPING)
        return None if share >= LEAST_SHARE else f"takes {share:.0%} of the operators that compute"

    def _open(self, load: Load, model: bytes, name: str | None = None, delegate: Any = None) -> None:
        try:
            interpreter = self._module.Interpreter(
                model_content=model,
                num_threads=load.threads,
                experimental_delegates=None if delegate is None else [delegate],
            )
            # A delegate that is given takes its part at once, the interpreter's own one when tensors are allocated.
            label = None if name is None else os.path.basename(name)
            by_delegate = set() if delegate is None else taken_by_delegates(_operators(interpreter))
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _load_error(error) from error
        self._interpreter = interpreter
        self._nodes = placed(_operators(interpreter), label, by_delegate)
        self.placement: dict[str, float] = shares(self._nodes)
        own = XNNPACK if XNNPACK in self.placement else CPU
        self.provider: str = own if label is None else label


def _operators(interpreter: Any) -> list[Operator]:
    return [
        Operator(item["op_name"], [int(at) for at in item["inputs"]], [int(at) for at in item["outputs"]])
        for item in interpreter._get_ops_details()
    ]


def _find_package(model: bytes) -> tuple[Any, str]:
    """The package that works here. Importing can succeed where building an interpreter fails (tflite-runtime under numpy 2)."""
    troubles = []
    for module_name, package in PACKAGES:
        try:
            module = __import__(module_name, fromlist=["Interpreter"])
            make: Callable[..., Any] = module.Interpreter
            make(model_content=model)
        except (ImportError, AttributeError, SystemError) as error:
            troubles.append(f"{package}: {error}")
            continue
        except (ValueError, RuntimeError) as error:
            raise _load_error(error) from error
        return module, f"{package} {_version(package)}"
    text = "; ".join(troubles)
    raise BackendError(
        protocol.RUNTIME_MISSING,
        f"no TensorFlow Lite runtime works here ({text}); install the extra tflite or litert",
    )


def _load_error(error: Exception) -> BackendError:
    text = str(error).strip()
    reason = protocol.FOREIGN_OPERATOR if "custom op" in text.lower() else protocol.LOAD_FAILED
    return BackendError(reason, f"TensorFlow Lite could not load the model: {text}")


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _shape(detail: Any) -> tuple[int, ...]:
    signature = detail["shape_signature"]
    return tuple(int(size) for size in (signature if len(signature) else detail["shape"]))


def _quantise(batch: NDArray[Any], detail: Any) -> NDArray[Any]:
    scale, zero_point = detail["quantization"]
    dtype = np.dtype(detail["dtype"])
    if scale == 0 or dtype.kind == "f":
        return batch.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    stored: NDArray[Any] = np.clip(np.round(batch / scale) + zero_point, limits.min, limits.max).astype(dtype)
    return stored


def _dequantise(raw: NDArray[Any], detail: Any) -> NDArray[Any]:
    scale, zero_point = detail["quantization"]
    if scale == 0 or raw.dtype.kind == "f":
        return raw
    real: NDArray[Any] = (raw.astype(np.float32) - zero_point) * np.float32(scale)
    return real
