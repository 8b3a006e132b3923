"""From the items of one batch to scores: features, scaling, model; a faulty item costs itself alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.backends import port
from edge_agent.inference.protocol import Load, Run
from edge_agent.inference.worker.features import FeatureError, FeatureSpecError, compute, require_known

Faults = dict[int, tuple[str, str]]


class Scorer:
    """One loaded model with its preprocessing. Raises BackendError when features, tensors and file do not fit each other."""

    def __init__(self, load: Load, model: bytes) -> None:
        self._load = load
        try:
            require_known(load.features)
        except FeatureSpecError as error:
            raise port.BackendError(protocol.MANIFEST_INVALID, str(error)) from error
        self.width = int(np.prod(load.output_tensor.shape[1:]))
        self._mean = None if load.mean is None else np.array(load.mean, dtype=np.float32)
        self._scale = None if load.scale is None else np.array(load.scale, dtype=np.float32)
        self.backend = port.load(load, model)
        _require_version(load, self.backend.version)

    def score(self, run: Run, body: bytes) -> tuple[NDArray[np.float64], Faults]:
        """Scores (items, width) and the faults of single items; the rows of faulty items are zero."""
        faults: Faults = {}
        vectors: list[NDArray[np.float32]] = []
        kept: list[int] = []
        values = np.frombuffer(body, dtype="<f8")
        at = 0
        for position, lengths in enumerate(run.lengths):
            window: dict[str, Any] = {}
            for name, count in zip(self._load.inputs, lengths):  # noqa: B905
                window[name] = values[at : at + count]
                at += count
            times = values[at : at + lengths[-1]]
            at += lengths[-1]
            try:
                vectors.append(self._vector(window, times, run.texts[position] if run.texts else None))
                kept.append(position)
            except FeatureError as error:
                faults[position] = (protocol.WRONG_SHAPE, str(error))
        scores = np.zeros((len(run.lengths), self.width))
        if kept:
            self._infer(np.stack(vectors), kept, scores, faults)
            for position in np.flatnonzero(~np.isfinite(scores).all(axis=1)):
                faults[int(position)] = (protocol.BAD_OUTPUT, f"scores {scores[position].tolist()} are not finite")
        return scores, faults

    def _infer(self, vectors: NDArray[np.float32], kept: list[int], scores: NDArray[np.float64], faults: Faults) -> None:
        """Fill the rows `kept` of `scores`. Where a batch fails, its items are tried one by one."""
        try:
            tensor = self._load.input_tensors[0]
            feeds = {tensor.name: vectors.reshape((len(vectors), *tensor.shape[1:]))}
            scores[kept] = port.score(self.backend, feeds, self._load.output_tensor)
        except Exception as error:  # noqa: BLE001  whatever a runtime raises is a fault of these items, and reported as such
            if len(kept) == 1:
                faults[kept[0]] = (protocol.BAD_OUTPUT, f"the model gave no scores: {error}")
                return
            for row, position in enumerate(kept):
                self._infer(vectors[row : row + 1], [position], scores, faults)

    def _vector(self, window: dict[str, Any], times: Any, text: str | None) -> NDArray[np.float32]:
        vector = compute(self._load.features, window, times, text)
        if self._mean is not None and self._scale is not None:
            vector = (vector - self._mean) / self._scale
        if not np.isfinite(vector).all():
            raise FeatureError("a feature is not finite")
        return vector


LITERT = "ai-edge-litert"


def _require_version(load: Load, version: str) -> None:
    if load.runtime_min is None:
        return
    package, _, number = version.rpartition(" ")
    if package == LITERT:
        return  # it followed TensorFlow Lite under numbers of its own, and reads every file that the last of those did
    if _numbers(number) < _numbers(load.runtime_min):
        raise port.BackendError(
            protocol.INCOMPATIBLE, f"the model needs {load.runtime} {load.runtime_min} or newer, installed is {version}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())
