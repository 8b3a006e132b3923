"""Statistics of a window that do not look at the order of its values: level, spread, shape and peaks.

Formulas and units: docs/features.md. Moments are those of the window itself (divided by n, "biased"). Where a ratio would be
0/0, as in a window of equal values, the function says what it gives instead.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from edge_agent.inference.worker.series import Column, Series


def from_reference(series: Series, reference: str) -> Column:
    """The values from `zero` or from their own `mean`; equal values are exactly 0 from their mean."""
    values = series.values
    if reference == "zero":
        return values
    return values - values.mean() if np.ptp(values) > 0 else np.zeros_like(values)


def ordered_quantile(ordered: Column, q: float) -> float:
    """Between the two nearest of the ordered values, linearly (Hyndman and Fan, 1996, type 7; numpy's default)."""
    at = (ordered.size - 1) * q
    low = math.floor(at)
    high = min(low + 1, ordered.size - 1)
    return float(ordered[low] + (at - low) * (ordered[high] - ordered[low]))


def median(series: Series) -> float:
    """The middle value, or the mean of the middle two."""
    return ordered_quantile(np.sort(series.values), 0.5)


def quantile(series: Series, q: float) -> float:
    """The value below which the share `q` (0 to 1) of the window lies."""
    return ordered_quantile(np.sort(series.values), q)


def mad(series: Series) -> float:
    """Median absolute deviation from the median, not scaled to a normal distribution's standard deviation."""
    return ordered_quantile(np.sort(np.abs(series.values - median(series))), 0.5)


def peak(series: Series, about: str = "zero") -> float:
    """The largest absolute value."""
    return float(np.abs(from_reference(series, about)).max())


def rms(series: Series, about: str = "zero") -> float:
    """Root mean square; about the mean it is the standard deviation."""
    return math.sqrt(float(np.mean(np.square(from_reference(series, about)))))


def crest_factor(series: Series, about: str = "zero") -> float:
    """Peak over RMS, at least 1; 0 where all values are 0."""
    values = np.abs(from_reference(series, about))
    highest = float(values.max())
    if highest == 0.0:
        return 0.0
    return 1.0 / math.sqrt(float(np.mean(np.square(values / highest))))


def skewness(series: Series) -> float:
    """Third standardised moment; 0 where all values are equal."""
    deviations = _scaled_deviations(series)
    if deviations is None:
        return 0.0
    squares = deviations * deviations
    variance = float(squares.mean())
    return float((squares * deviations).mean()) / (variance * math.sqrt(variance))


def kurtosis(series: Series, excess: bool = True) -> float:
    """Fourth standardised moment, less the 3 of a normal distribution if `excess`; equal values give that of a normal one."""
    normal = 0.0 if excess else 3.0
    deviations = _scaled_deviations(series)
    if deviations is None:
        return normal
    squares = deviations * deviations
    return float((squares * squares).mean()) / float(squares.mean()) ** 2 - 3.0 + normal


def _scaled_deviations(series: Series) -> Column | None:
    """Deviations from the mean over the largest of them, so that no power of them underflows; None for equal values."""
    deviations = from_reference(series, "mean")
    largest = float(np.abs(deviations).max())
    return deviations / largest if largest > 0 else None


STATISTICS: Mapping[str, Callable[..., float]] = {
    "mean": lambda series: float(series.values.mean()),
    "min": lambda series: float(series.values.min()),
    "max": lambda series: float(series.values.max()),
    "range": lambda series: float(np.ptp(series.values)),
    "std": lambda series: float(series.values.std()),
    "median": median,
    "quantile": quantile,
    "mad": mad,
    "peak": peak,
    "rms": rms,
    "crest_factor": crest_factor,
    "skewness": skewness,
    "kurtosis": kurtosis,
}
