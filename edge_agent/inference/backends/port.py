"""The port of a model runtime: bytes of a model file in, scores out. Dtype and shape checks around it are written here once."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.protocol import TensorSpec

Scores = NDArray[np.float64]


class BackendError(Exception):
    """The model cannot be loaded or does not fit its manifest; `reason` is a code of `protocol.CODES`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Backend(Protocol):
    """One loaded model."""

    provider: str
    """The execution provider that really runs the model, as the runtime reports it."""
    version: str
    """Of the runtime."""
    max_batch: int | None
    """The batch that the file fixes, None where it is free."""

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Scores for `batch`, float32 (items, *input_tensor.shape[1:]); real values, also where the file is quantised."""


LoadBackend = Callable[[bytes, TensorSpec, TensorSpec, int], Backend]
"""(model file, input tensor, output tensor, threads); raises BackendError."""


def load_onnx(model: bytes, wanted: TensorSpec, given: TensorSpec, threads: int) -> Backend:
    """ONNX Runtime."""
    from edge_agent.inference.backends.onnx import OnnxBackend

    return OnnxBackend(model, wanted, given, threads)


def load_tflite(model: bytes, wanted: TensorSpec, given: TensorSpec, threads: int) -> Backend:
    """TensorFlow Lite or LiteRT."""
    from edge_agent.inference.backends.tflite import TfliteBackend

    return TfliteBackend(model, wanted, given, threads)


BACKENDS: dict[str, LoadBackend] = {"onnx": load_onnx, "tflite": load_tflite}
"""Runtime, as the manifest names it, to what loads it. A runtime is imported only when a model asks for it."""


def load(runtime: str, model: bytes, wanted: TensorSpec, given: TensorSpec, threads: int) -> Backend:
    """Load a model file with the runtime that its manifest names; raises BackendError."""
    if runtime not in BACKENDS:
        raise BackendError(protocol.RUNTIME_MISSING, f"runtime {runtime!r} is none of {', '.join(sorted(BACKENDS))}")
    return BACKENDS[runtime](model, wanted, given, threads)


def score(backend: Backend, vectors: NDArray[np.float32], wanted: TensorSpec, given: TensorSpec) -> Scores:
    """Scores (items, width) of feature vectors (items, features), in as many runs as the file's batch makes necessary.

    Raises BackendError with BAD_OUTPUT when the shape of the answer is not the manifest's.
    """
    shaped = vectors.reshape((len(vectors), *wanted.shape[1:]))
    step = backend.max_batch
    if step is None or step == len(shaped):
        raw = backend.run(shaped)
        check_scores(raw, len(shaped), given)
        return _rows(raw)
    parts = []
    for start in range(0, len(shaped), step):
        part = shaped[start : start + step]
        padded = np.concatenate([part, np.repeat(part[-1:], step - len(part), axis=0)]) if len(part) < step else part
        raw = backend.run(padded)
        check_scores(raw, step, given)
        parts.append(raw[: len(part)])
    return _rows(np.concatenate(parts))


def _rows(raw: NDArray[Any]) -> Scores:
    rows: Scores = raw.reshape(len(raw), -1).astype(np.float64)
    return rows


def check_scores(raw: NDArray[Any], items: int, given: TensorSpec) -> None:
    """Raise BackendError with BAD_OUTPUT unless `raw` is (items, *the manifest's shape)."""
    if tuple(raw.shape) != (items, *given.shape[1:]):
        raise BackendError(
            protocol.BAD_OUTPUT, f"output {given.name!r} has shape {tuple(raw.shape)}, not {(items, *given.shape[1:])}"
        )


def check_tensor(role: str, want: TensorSpec, dtype: str, shape: tuple[Any, ...]) -> int | None:
    """Compare the file's tensor with the manifest's; returns the batch that the file fixes, or None where it is free.

    `shape` may hold names, None or -1 for free dimensions. Raises BackendError with MANIFEST_INVALID.
    """
    if dtype != want.dtype:
        raise BackendError(protocol.MANIFEST_INVALID, f"{role} {want.name!r} is {dtype} in file, {want.dtype} in manifest")
    sizes = [size if isinstance(size, int) and size >= 0 else None for size in shape]
    fits = len(sizes) == len(want.shape) and all(
        size is None or size == wanted
        for size, wanted in zip(sizes[1:], want.shape[1:])  # noqa: B905
    )
    if not fits:
        raise BackendError(
            protocol.MANIFEST_INVALID,
            f"{role} {want.name!r} has shape {tuple(shape)} in file, {want.shape} in manifest",
        )
    return sizes[0]
