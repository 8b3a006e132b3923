"""Windows, and texts without a tokenizer, become the one tensor of their features."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference import protocol
from edge_agent.inference.backends.port import BackendError
from edge_agent.inference.protocol import Load, Run
from edge_agent.inference.worker.features import FeatureError, FeatureSpecError, compute, require_known
from edge_agent.inference.worker.feeds import Faults, Group
from edge_agent.inference.worker.whole_windows import WholeWindows


class FeatureFeeds:
    """Features and scaling. Raises BackendError when the worker does not know the features."""

    def __init__(self, load: Load) -> None:
        try:
            require_known(load.features)
        except FeatureSpecError as error:
            raise BackendError(protocol.MANIFEST_INVALID, str(error)) from error
        self._inputs, self._features = load.inputs, load.features
        self._whole = WholeWindows(load.inputs, load.features)
        self._tensor = load.input_tensors[0]
        self._mean = None if load.mean is None else np.array(load.mean, dtype=np.float32)
        self._scale = None if load.scale is None else np.array(load.scale, dtype=np.float32)

    def __call__(self, run: Run, body: bytes) -> tuple[list[Group], Faults]:
        """One group of all the items that have what the features need."""
        faults: Faults = {}
        vectors: list[NDArray[np.float32]] = []
        kept: list[int] = []
        values = np.frombuffer(body, dtype="<f8")
        if self._whole.usable:
            at_once = self._whole.compute(run.lengths, values)
            if at_once is not None and (scaled := self._scaled(at_once)) is not None:
                return [Group(list(range(len(scaled))), {self._tensor.name: self._shaped(scaled)})], faults
        at = 0
        for position, lengths in enumerate(run.lengths):
            window: dict[str, Any] = {}
            for name, count in zip(self._inputs, lengths):  # noqa: B905
                window[name] = values[at : at + count]
                at += count
            times = values[at : at + lengths[-1]]
            at += lengths[-1]
            try:
                vectors.append(self._vector(window, times, run.texts[position] if run.texts else None))
                kept.append(position)
            except FeatureError as error:
                faults[position] = (protocol.WRONG_SHAPE, str(error))
        if not kept:
            return [], faults
        return [Group(kept, {self._tensor.name: self._shaped(np.stack(vectors))})], faults

    def _vector(self, window: dict[str, Any], times: Any, text: str | None) -> NDArray[np.float32]:
        vector = self._scaled(compute(self._features, window, times, text))
        if vector is None:
            raise FeatureError("a feature is not finite")
        return vector

    def _scaled(self, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Standardised; None if a value is not finite then."""
        if self._mean is None or self._scale is None:
            return vectors  # `compute` has looked
        scaled = (vectors - self._mean) / self._scale
        return scaled if np.isfinite(scaled).all() else None

    def _shaped(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return vectors.reshape((len(vectors), *self._tensor.shape[1:]))
