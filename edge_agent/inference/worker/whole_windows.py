"""Features of all the windows of a batch at once: where each has as many values as the others, and none is missing.

It gives to the bit what `features.compute` gives for each window alone, which remains the definition. A window that is not
whole, or an operation that is not listed here, sends the whole batch there: who is at fault is told there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference.worker.series import LARGEST

Windows = NDArray[np.float64]
"""Shape (items, values), oldest first."""

ALONG: Mapping[str, Callable[[Windows], NDArray[np.float64]]] = {
    "last": lambda windows: windows[:, -1],
    "mean": lambda windows: windows.mean(axis=1),
    "min": lambda windows: windows.min(axis=1),
    "max": lambda windows: windows.max(axis=1),
    "range": lambda windows: np.ptp(windows, axis=1),
    "std": lambda windows: windows.std(axis=1),
}
"""Operations without arguments of their own, one value for each window."""


class WholeWindows:
    """The features of one model, if all of them are of this kind."""

    def __init__(self, inputs: Sequence[str], features: Sequence[Mapping[str, Any]]) -> None:
        self._columns: list[tuple[int, Callable[[Windows], NDArray[np.float64]]]] = []
        self.usable = True
        for feature in features:
            args = {key: value for key, value in (feature.get("args") or {}).items() if key != "missing"}
            if args or feature["op"] not in ALONG or feature.get("input") not in inputs:
                self.usable = False
                return
            self._columns.append((inputs.index(str(feature["input"])), ALONG[feature["op"]]))

    def compute(self, lengths: Sequence[Sequence[int]], values: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """Shape (items, features), every element finite; None where the windows are not whole.

        `lengths` and `values` as a frame has them (`protocol.Run`).
        """
        own = lengths[0]
        if any(length < 1 for length in own[:-1]) or any(other != own for other in lengths):
            return None
        rows = values.reshape(len(lengths), -1)
        # NaN is not within; times may be larger than any reading, and have only to be finite.
        readings = sum(own[:-1])
        if not (np.abs(rows[:, :readings]) <= LARGEST).all() or not np.isfinite(rows[:, readings:]).all():
            return None
        starts = [sum(own[:position]) for position in range(len(own))]
        vectors = np.empty((len(rows), len(self._columns)), np.float32)
        with np.errstate(all="ignore"):
            for place, (position, along) in enumerate(self._columns):
                vectors[:, place] = along(rows[:, starts[position] : starts[position] + own[position]])
        return vectors if np.isfinite(vectors).all() else None
