"""The port of a model runtime: bytes of a model file in, scores out. Dtype and shape checks around it are written here once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.protocol import Load, TensorSpec

Feeds = Mapping[str, NDArray[Any]]
"""Input tensor's name to its values, shape (items, *the tensor's own)."""


DEGRADE = "degrade"
"""`on_missing` of `Load`: the CPU may run what something else was required for."""


class BackendError(Exception):
    """The model cannot be loaded or does not fit its manifest; `reason` is a code of `protocol.CODES`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Cancelled(Exception):
    """The run was ended by `Backend.cancel`."""


class Backend(Protocol):
    """One loaded model."""

    provider: str
    """The execution provider that really runs the model, or most of it, as the runtime reports it."""
    placement: dict[str, float]
    """Provider to its share of the model's nodes, 0 to 1."""
    degraded: str | None
    """Why the CPU runs it although another provider was required; None where nothing is missing."""
    version: str
    """Of the runtime."""
    max_batch: int | None
    """The batch that the file fixes, None where it is free."""

    def run(self, feeds: Feeds) -> NDArray[Any]:
        """Scores for a batch; real values go in and come out, also where the file is quantised.

        Raises Cancelled after `cancel`, and whatever the runtime raises.
        """

    def cancel(self) -> None:
        """End the run that is under way, where the runtime can; called from another thread. Later runs are not touched."""


LoadBackend = Callable[[Load, bytes], Backend]
"""(what the daemon says of the model, the model file); raises BackendError."""


def load_onnx(load: Load, model: bytes) -> Backend:
    """ONNX Runtime."""
    from edge_agent.inference.backends.onnx import OnnxBackend

    return OnnxBackend(load, model)


def load_tflite(load: Load, model: bytes) -> Backend:
    """TensorFlow Lite or LiteRT."""
    from edge_agent.inference.backends.tflite import TfliteBackend

    return TfliteBackend(load, model)


BACKENDS: dict[str, LoadBackend] = {"onnx": load_onnx, "tflite": load_tflite}
"""Runtime, as the manifest names it, to what loads it. A runtime is imported only when a model asks for it."""


def load(load: Load, model: bytes) -> Backend:
    """Load a model file with the runtime that its manifest names; raises BackendError."""
    if load.runtime not in BACKENDS:
        raise BackendError(protocol.RUNTIME_MISSING, f"runtime {load.runtime!r} is none of {', '.join(sorted(BACKENDS))}")
    return BACKENDS[load.runtime](load, model)


def degrade_or_fail(load: Load, troubles: Sequence[str]) -> str | None:
    """What `on_missing` makes of it that only the CPU runs the model: the text for `degraded`, or BackendError.

    `troubles` says of each provider or delegate that was asked for why it does not run the model; none is no trouble.
    """
    if not troubles:
        return None
    if load.on_missing == DEGRADE:
        return "; ".join(troubles)
    raise BackendError(
        protocol.PROVIDER_MISSING, f"nothing that the configuration requires for this model works here: {'; '.join(troubles)}"
    )


def score(backend: Backend, feeds: Feeds, given: TensorSpec) -> NDArray[Any]:
    """The output for a batch, shape (items, *the output's own), in as many runs as the file's batch makes necessary.

    Raises BackendError with BAD_OUTPUT when the shape of the answer is not the manifest's.
    """
    items = len(next(iter(feeds.values())))
    step = backend.max_batch
    if step is None or step == items:
        raw = backend.run(feeds)
        check_scores(raw, items, given)
        return raw
    parts = []
    for start in range(0, items, step):
        count = min(step, items - start)
        raw = backend.run({name: _piece(values, start, step) for name, values in feeds.items()})
        check_scores(raw, step, given)
        parts.append(raw[:count])
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _piece(values: NDArray[Any], start: int, step: int) -> NDArray[Any]:
    """The items from `start` on, the last one repeated up to `step` of them."""
    part = values[start : start + step]
    return np.concatenate([part, np.repeat(part[-1:], step - len(part), axis=0)]) if len(part) < step else part


def check_scores(raw: NDArray[Any], items: int, given: TensorSpec) -> None:
    """Raise BackendError with BAD_OUTPUT unless `raw` is (items, *the manifest's shape), in which -1 is any size."""
    wanted = (items, *given.shape[1:])
    if len(raw.shape) != len(wanted) or any(want not in (-1, size) for size, want in zip(raw.shape, wanted)):  # noqa: B905
        raise BackendError(protocol.BAD_OUTPUT, f"output {given.name!r} has shape {tuple(raw.shape)}, not {wanted}")


def check_tensor(role: str, want: TensorSpec, dtype: str, shape: tuple[Any, ...]) -> int | None:
    """Compare the file's tensor with the manifest's; returns the batch that the file fixes, or None where it is free.

    `shape` may hold names, None or -1 for free dimensions. Raises BackendError with TENSOR_MISMATCH.
    """
    if dtype != want.dtype:
        raise BackendError(protocol.TENSOR_MISMATCH, f"{role} {want.name!r} is {dtype} in file, {want.dtype} in manifest")
    sizes = [size if isinstance(size, int) and size >= 0 else None for size in shape]
    fits = len(sizes) == len(want.shape) and all(
        size is None or size == wanted
        for size, wanted in zip(sizes[1:], want.shape[1:])  # noqa: B905
    )
    if not fits:
        raise BackendError(
            protocol.TENSOR_MISMATCH,
            f"{role} {want.name!r} has shape {tuple(shape)} in file, {want.shape} in manifest",
        )
    return sizes[0]
