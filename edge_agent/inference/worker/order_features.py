"""Features that look at the order of a window's values: single values, trend and steps.

Formulas and units: docs/features.md.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edge_agent.inference.worker.series import Column, FeatureError, Series
from edge_agent.inference.worker.statistics_features import from_reference


def values(series: Series, n: int) -> Column:
    """The last `n` values, oldest first."""
    if series.values.size < n:
        raise FeatureError(f"has {series.values.size} values, {n} are needed")
    return series.values[-n:]


def lag(series: Series, k: int = 1) -> float:
    """The value `k` events before the last."""
    return float(lags(series, [k])[0])


def lags(series: Series, k: Sequence[int]) -> Column:
    """The values so many events before the last, in the order asked for."""
    needed = max(k) + 1
    if series.values.size < needed:
        raise FeatureError(f"has {series.values.size} values, {needed} are needed")
    return np.take(series.values, series.values.size - 1 - np.asarray(k, dtype=np.intp))


def slope(series: Series, per: str = "hour") -> float:
    """Least squares over event time or over events; 0 for one event, or where all are at one time."""
    # From the window's first event, so that seconds since 1970 do not cost the digits of short windows.
    at = (series.value_times() - series.times[0]) / 3600.0 if per == "hour" else series.positions.astype(np.float64)
    at = at - at.mean()
    spread = float(at @ at)
    if spread == 0.0:
        return 0.0
    return float(at @ (series.values - series.values.mean())) / spread


def ewma(series: Series, alpha: float) -> float:
    """Exponentially weighted moving average at the last value: s = alpha x + (1 - alpha) s, from s = the first value."""
    keep = 1.0 - alpha
    weights = keep ** np.arange(series.values.size - 1, -1, -1, dtype=np.float64)
    weights[1:] *= alpha
    return float(weights @ series.values)


def max_abs_step(series: Series) -> float:
    """The largest absolute change from one value to the next; 0 for one value."""
    return float(np.abs(np.diff(series.values)).max(initial=0.0))


def mean_abs_step(series: Series) -> float:
    """The mean absolute change from one value to the next; 0 for one value."""
    steps = np.abs(np.diff(series.values))
    return float(steps.mean()) if steps.size else 0.0


def zero_crossings(series: Series, about: str = "zero") -> float:
    """How often the sign changes; values of 0 have no sign and are passed over."""
    moved = from_reference(series, about)
    signs = moved[moved != 0] > 0
    return float(np.count_nonzero(signs[1:] != signs[:-1]))


ORDER: Mapping[str, Callable[..., float | Column]] = {
    "last": lambda series: float(series.values[-1]),
    "first": lambda series: float(series.values[0]),
    "delta": lambda series: float(series.values[-1] - series.values[0]),
    "values": values,
    "lag": lag,
    "lags": lags,
    "slope": slope,
    "ewma": ewma,
    "max_abs_step": max_abs_step,
    "mean_abs_step": mean_abs_step,
    "zero_crossings": zero_crossings,
}
