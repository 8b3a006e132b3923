"""Features: a window of readings, or one text, becomes the vector that a model reads. Training and devices run this code.

A feature is `{"op": ..., "input": ..., "args": {...}}` as the manifest has it. Results are joined in order, float32. Every
operation, with its arguments, shape, unit and formula, is in docs/features.md; which arguments are right and how many values
an operation gives is judged before, by `fleet_contract/features.py`, when the manifest is read.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference.worker.calendar_features import CALENDAR
from edge_agent.inference.worker.order_features import ORDER
from edge_agent.inference.worker.presence_features import PRESENCE
from edge_agent.inference.worker.series import Column, FeatureError, Series, fill, present, to_column
from edge_agent.inference.worker.spectral_features import SPECTRAL
from edge_agent.inference.worker.statistics_features import STATISTICS
from edge_agent.inference.worker.text_features import char_ngrams

__all__ = ["OPERATIONS", "FeatureError", "FeatureSpecError", "Vector", "Window", "compute", "require_known"]

Vector = NDArray[np.float32]
Window = Mapping[str, Sequence[float | None]]

TEXT: Mapping[str, Callable[..., Vector]] = {"char_ngrams": char_ngrams}
FILLED: Mapping[str, Callable[..., Any]] = {**STATISTICS, **ORDER, **SPECTRAL}
"""Operations on one input whose missing values are seen to first: they take `missing` beside their own arguments."""
OPERATIONS: Mapping[str, Callable[..., Any]] = {**FILLED, **PRESENCE, **CALENDAR, **TEXT}


class FeatureSpecError(ValueError):
    """The features themselves are wrong (an unknown operation or argument): the fault of the manifest."""


def compute(
    features: Sequence[Mapping[str, Any]], window: Window, times: Sequence[float] = (), text: str | None = None
) -> Vector:
    """The vector of one window or text, shape (width,), every element finite.

    `window` has the values of each input, oldest first, None or NaN where one is missing; `times` the event times in seconds
    since 1970, one for each event, ascending. Raises FeatureError when this input lacks something.
    """
    if not features:
        return np.zeros(0, np.float32)
    # What overflows is found in the result; a warning for each window would only fill the log.
    with np.errstate(all="ignore"):
        asked = _Question(window, times, text)
        vector: Vector = np.concatenate([np.atleast_1d(asked.answer(feature)) for feature in features]).astype(np.float32)
        if not np.isfinite(vector).all():
            raise FeatureError(f"a feature is not finite in float32: {vector.tolist()[:8]}")
    return vector


def require_known(features: Sequence[Mapping[str, Any]]) -> None:
    """Raise FeatureSpecError for an operation or argument that this code does not have."""
    for feature in features:
        op, args = feature["op"], dict(feature.get("args") or {})
        if op not in OPERATIONS:
            raise FeatureSpecError(f"feature {op!r}: no such operation")
        if op in FILLED:
            args.pop("missing", None)
        try:
            inspect.signature(OPERATIONS[op]).bind(None, **args)
        except TypeError as error:
            raise FeatureSpecError(f"feature {op!r}: {error}") from error


class _Question:
    """One window or text; what several features share is worked out once."""

    def __init__(self, window: Window, times: Sequence[float], text: str | None) -> None:
        self._window, self._text = window, text
        self._times: Column = np.asarray(times, dtype=np.float64)
        if not np.isfinite(self._times).all():
            raise FeatureError("an event time is not finite")
        self._columns: dict[str, Column] = {}
        self._series: dict[tuple[str, Any], Series] = {}

    def answer(self, feature: Mapping[str, Any]) -> Any:
        op, name, args = feature["op"], feature.get("input"), feature.get("args") or {}
        if op in TEXT:
            if self._text is None:
                raise FeatureError(f"{op}: no text")
            return TEXT[op](self._text, **args)
        try:
            if op in CALENDAR:
                if not self._times.size:
                    raise FeatureError("the window has no event times")
                return CALENDAR[op](float(self._times[-1]), **args)
            column = self._column(name)
            if op in PRESENCE:
                return PRESENCE[op](present(column, self._times), **args)
            own = {key: value for key, value in args.items() if key != "missing"}
            return FILLED[op](self._filled(str(name), column, args.get("missing", "error")), **own)
        except FeatureError as error:
            about = "" if name is None else f"input {name!r} "
            raise FeatureError(f"{op}: {about}{error}") from error

    def _column(self, name: Any) -> Column:
        if name not in self._window:
            raise FeatureError("is missing from the window")
        if name not in self._columns:
            self._columns[name] = to_column(self._window[name])
        return self._columns[name]

    def _filled(self, name: str, column: Column, missing: Any) -> Series:
        if (name, missing) not in self._series:
            self._series[name, missing] = fill(column, self._times, missing)
        return self._series[name, missing]
