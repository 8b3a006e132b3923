"""TensorFlow Lite behind the port, by whichever package works here: ai-edge-litert or tflite-runtime."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.backends.port import BackendError, Feeds, check_tensor
from edge_agent.inference.protocol import Load

PACKAGES = (("ai_edge_litert.interpreter", "ai-edge-litert"), ("tflite_runtime.interpreter", "tflite-runtime"))


class TfliteBackend:
    """One interpreter. A quantised file is given and gives real values: scale and zero point are applied here."""

    def __init__(self, load: Load, model: bytes) -> None:
        if model[4:8] != b"TFL3":
            raise BackendError(protocol.MODEL_FILE_INVALID, "not a .tflite file: its identifier is not TFL3")
        self._interpreter, self.version = _construct(model, load.threads)
        try:
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _load_error(error) from error
        sources, results = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        names = [item["name"] for item in sources]
        wanted = {item.name: item for item in load.input_tensors}
        given = load.output_tensor
        if sorted(names) != sorted(wanted):
            raise BackendError(
                protocol.MANIFEST_INVALID, f"the file's inputs are {sorted(names)}, the manifest's are {sorted(wanted)}"
            )
        named = [item for item in results if item["name"] == given.name]
        if not named:
            names = [item["name"] for item in results]
            raise BackendError(protocol.MANIFEST_INVALID, f"the file's outputs are {names}, the manifest's is {given.name!r}")
        self._sources, self._result = {item["name"]: item for item in sources}, named[0]
        check_tensor("output", given, np.dtype(self._result["dtype"]).name, _shape(self._result))
        fixed = {check_tensor("input", wanted[item["name"]], np.dtype(item["dtype"]).name, _shape(item)) for item in sources}
        self.max_batch: int | None = max((size for size in fixed if size is not None), default=None)
        self._shapes = {item["name"]: tuple(int(size) for size in item["shape"]) for item in sources}
        self.provider = self._delegate()
        self.placement: dict[str, float] = {self.provider: 1.0}
        self.degraded: str | None = None

    def run(self, feeds: Feeds) -> NDArray[Any]:
        """See the port."""
        other = {name: values.shape for name, values in feeds.items() if values.shape != self._shapes.get(name)}
        if other:
            for name, shape in other.items():
                self._interpreter.resize_tensor_input(self._sources[name]["index"], list(shape))
                self._shapes.pop(name, None)  # until there is memory for it: the next batch asks again
            self._interpreter.allocate_tensors()
            self._shapes |= other
        for name, values in feeds.items():
            source = self._sources[name]
            self._interpreter.set_tensor(source["index"], _quantise(values, source))
        self._interpreter.invoke()
        return _dequantise(self._interpreter.get_tensor(self._result["index"]), self._result)

    def cancel(self) -> None:
        """See the port; the interpreter of Python cannot be told to stop."""

    def _delegate(self) -> str:
        """The interpreter applies its XNNPACK delegate by itself, to the operators that it supports; ask what became of it."""
        names = {item.get("op_name", "") for item in self._interpreter._get_ops_details()}
        return "XNNPACK" if any("DELEGATE" in name.upper() for name in names) else "CPU"


def _construct(model: bytes, threads: int) -> tuple[Any, str]:
    """An interpreter. Importing can succeed where building one fails (tflite-runtime under numpy 2), so both are tried."""
    troubles = []
    for module_name, package in PACKAGES:
        try:
            module = __import__(module_name, fromlist=["Interpreter"])
            make = module.Interpreter
        except ImportError as error:
            troubles.append(f"{package}: {error}")
            continue
        try:
            return make(model_content=model, num_threads=threads), f"{package} {_version(package)}"
        except (ImportError, AttributeError, SystemError) as error:
            troubles.append(f"{package}: {error}")
        except (ValueError, RuntimeError) as error:
            raise _load_error(error) from error
    text = "; ".join(troubles)
    raise BackendError(
        protocol.RUNTIME_MISSING,
        f"no TensorFlow Lite runtime works here ({text}); install the extra tflite or litert",
    )


def _load_error(error: Exception) -> BackendError:
    text = str(error).strip()
    reason = protocol.MODEL_FILE_INVALID if "custom op" in text.lower() else protocol.LOAD_FAILED
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
