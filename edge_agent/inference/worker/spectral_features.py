"""Features of a window's spectrum: band powers, the dominant frequency, centroid and entropy.

One periodogram over the whole window: mean removed, periodic Hann window, one-sided, scaled so that the powers add up to the
variance of the windowed values. The bin at 0 Hz never counts. Formulas and units: docs/features.md.
(Heinzel, Rüdiger and Schilling, "Spectrum and spectral density estimation by the DFT", 2002.)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from edge_agent.inference.worker.series import Column, FeatureError, Series

LEAST_VALUES = 8
SPACING_TOLERANCE = 0.1
"""Without a given rate, each step between two events may differ from the mean step by this share of it."""
EDGE_TOLERANCE = 0.01
"""A rate taken from event times is never quite the sensor's, so a band may end by this share above half of it."""
_ROUNDING = 1e-6
"""Share of a bin's width by which a bin may miss the edge of a band because neither is exact in binary."""


class Spectrum(NamedTuple):
    """Powers in the square of the input's unit, shape (values // 2,), of the bins `width`, 2 `width`, ... in Hz."""

    power: Column
    width: float
    rate: float


def spectrum(series: Series, rate: float | None = None) -> Spectrum:
    """The periodogram. `rate` in Hz; without it the event times say it, and must be evenly spaced, else FeatureError."""
    values = series.values
    if values.size < LEAST_VALUES:
        raise FeatureError(f"has {values.size} values, a spectrum needs {LEAST_VALUES}")
    hertz = _rate_of(series) if rate is None else float(rate)
    if np.ptp(values) == 0.0:
        return Spectrum(np.zeros(values.size // 2), hertz / values.size, hertz)
    taper, energy = _hann(values.size)
    bins = np.fft.rfft((values - values.mean()) * taper)[1:]
    power = (np.square(bins.real) + np.square(bins.imag)) * (2.0 / (values.size * energy))
    if values.size % 2 == 0:
        power[-1] /= 2.0  # the bin at half the rate has no twin among the negative frequencies
    return Spectrum(power, hertz / values.size, hertz)


def spectral_bands(
    series: Series, bands: Sequence[Sequence[float]], rate: float | None = None, relative: bool = False
) -> Column:
    """The power above each band's lower and up to its upper edge (Hz), or its share of all power (0 where there is none)."""
    power, width, hertz = spectrum(series, rate)
    given = np.empty(len(bands))
    for position, (low, high) in enumerate(bands):
        if high > hertz / 2 * (1 + EDGE_TOLERANCE):
            raise FeatureError(f"is sampled at {hertz:g} Hz, the band {low:g} to {high:g} Hz ends above half of that")
        first, end = (min(math.floor(edge / width + _ROUNDING), power.size) for edge in (low, high))
        if first == end:
            raise FeatureError(f"has a bin every {width:g} Hz, none of them in the band {low:g} to {high:g} Hz")
        given[position] = power[first:end].sum()
    if not relative:
        return given
    total = power.sum()
    return given / total if total > 0 else given


def dominant_frequency(series: Series, rate: float | None = None) -> float:
    """The frequency of the bin with most power, in Hz; the lowest of several, 0 where there is no power."""
    power, width, _ = spectrum(series, rate)
    strongest = int(power.argmax())
    return (strongest + 1) * width if power[strongest] > 0 else 0.0


def spectral_centroid(series: Series, rate: float | None = None) -> float:
    """The mean frequency, weighted by power, in Hz; 0 where there is no power."""
    power, width, _ = spectrum(series, rate)
    total = float(power.sum())
    return float(power @ np.arange(1, power.size + 1)) / total * width if total > 0 else 0.0


def spectral_entropy(series: Series, rate: float | None = None) -> float:
    """Shannon entropy of the shares of power over its largest possible value: 0 is one tone, 1 is white; 0 without power."""
    power = spectrum(series, rate).power
    total = float(power.sum())
    if total == 0.0:
        return 0.0
    shares = power / total
    shares = shares[shares > 0]
    return -float(shares @ np.log(shares)) / math.log(power.size)


def _rate_of(series: Series) -> float:
    steps = np.diff(series.value_times())
    mean = float(steps.mean())
    if mean <= 0.0 or float(np.abs(steps - mean).max()) > SPACING_TOLERANCE * mean * (1 + _ROUNDING):
        raise FeatureError(
            f"has steps of {steps.min():g} to {steps.max():g} s; without a rate they must be within "
            f"{SPACING_TOLERANCE:.0%} of their mean"
        )
    return 1.0 / mean


@lru_cache(maxsize=32)
def _hann(size: int) -> tuple[Column, float]:
    """The periodic Hann window and the sum of its squares."""
    taper = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size)
    taper.flags.writeable = False
    return taper, float(taper @ taper)


SPECTRAL: Mapping[str, Callable[..., float | Column]] = {
    "spectral_bands": spectral_bands,
    "dominant_frequency": dominant_frequency,
    "spectral_centroid": spectral_centroid,
    "spectral_entropy": spectral_entropy,
}
