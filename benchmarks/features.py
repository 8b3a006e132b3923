"""Microseconds per window and feature, at 256 samples, beside the bare numpy expression that a user would write.

Ours is the whole of `compute` for one feature: missing values looked for, the result in float32 and checked to be finite.
`all_of_a_vibration_model` is the worked example of docs/features.md, as far as it reads one input.
"""

import time
import zlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks.figures import Figure, write
from edge_agent.inference.worker.features import OPERATIONS, compute

SAMPLES: Final = 256
RATE: Final = 1600.0
ROUNDS: Final = 7
SECONDS: Final = 0.02
"""Of one round: long enough for the clock, short enough for all operations in a minute."""
BANDS: Final = ((10.0, 60.0), (60.0, 300.0), (300.0, 800.0))
TEXT: Final = "the pump in the north barn rattles since this morning"

X: Final = np.random.default_rng(1).normal(9.81, 1.0, SAMPLES)
TIMES: Final = 1_700_000_000.0 + np.arange(SAMPLES) / RATE

ARGS: Final[dict[str, dict[str, Any]]] = {
    "quantile": {"q": 0.9},
    "ewma": {"alpha": 0.1},
    "values": {"n": 24},
    "lags": {"k": [1, 2, 24]},
    "rms": {"about": "mean"},
    "crest_factor": {"about": "mean"},
    "zero_crossings": {"about": "mean"},
    "spectral_bands": {"bands": BANDS, "rate": RATE},
    "dominant_frequency": {"rate": RATE},
    "spectral_centroid": {"rate": RATE},
    "spectral_entropy": {"rate": RATE},
}
VIBRATION: Final = ("rms", "kurtosis", "crest_factor", "spectral_bands", "dominant_frequency")


def _power() -> Any:
    return np.abs(np.fft.rfft((X - X.mean()) * np.hanning(SAMPLES))) ** 2


def _bands() -> Any:
    frequencies, power = np.fft.rfftfreq(SAMPLES, 1 / RATE), _power()
    return [power[(frequencies > low) & (frequencies <= high)].sum() for low, high in BANDS]


def _moment(order: int) -> Any:
    return np.mean((X - X.mean()) ** order) / X.std() ** order


def _circle(seconds: float) -> Any:
    angle = 2 * np.pi * (TIMES[-1] % seconds) / seconds
    return np.sin(angle), np.cos(angle)


def _ewma() -> Any:
    average = X[0]
    for value in X[1:]:
        average += 0.1 * (value - average)
    return average


def _entropy() -> Any:
    shares = _power()[1:]
    shares = shares / shares.sum()
    return -np.sum(shares * np.log(shares)) / np.log(shares.size)


def _ngrams() -> Any:
    counts = np.zeros(1024)
    for size in (2, 3, 4):
        for at in range(len(TEXT) - size + 1):
            counts[zlib.crc32(TEXT[at : at + size].encode()) % 1024] += 1
    return counts / np.linalg.norm(counts)


BARE: Final[dict[str, Callable[[], Any]]] = {
    "mean": lambda: X.mean(),
    "min": lambda: X.min(),
    "max": lambda: X.max(),
    "range": lambda: np.ptp(X),
    "std": lambda: X.std(),
    "median": lambda: np.median(X),
    "quantile": lambda: np.quantile(X, 0.9),
    "mad": lambda: np.median(np.abs(X - np.median(X))),
    "peak": lambda: np.abs(X).max(),
    "rms": lambda: np.sqrt(np.mean((X - X.mean()) ** 2)),
    "crest_factor": lambda: np.abs(X - X.mean()).max() / X.std(),
    "skewness": lambda: _moment(3),
    "kurtosis": lambda: _moment(4) - 3,
    "last": lambda: X[-1],
    "first": lambda: X[0],
    "delta": lambda: X[-1] - X[0],
    "values": lambda: X[-24:],
    "lag": lambda: X[-2],
    "lags": lambda: X[[-2, -3, -25]],
    "slope": lambda: np.polyfit((TIMES - TIMES[0]) / 3600, X, 1)[0],
    "ewma": _ewma,
    "max_abs_step": lambda: np.abs(np.diff(X)).max(),
    "mean_abs_step": lambda: np.abs(np.diff(X)).mean(),
    "zero_crossings": lambda: np.count_nonzero(np.diff(np.sign(X - X.mean()))),
    "spectral_bands": _bands,
    "dominant_frequency": lambda: np.fft.rfftfreq(SAMPLES, 1 / RATE)[_power().argmax()],
    "spectral_centroid": lambda: np.average(np.fft.rfftfreq(SAMPLES, 1 / RATE), weights=_power()),
    "spectral_entropy": _entropy,
    "count": lambda: np.count_nonzero(~np.isnan(X)),
    "count_missing": lambda: np.count_nonzero(np.isnan(X)),
    "rate_per_hour": lambda: (SAMPLES - 1) / (TIMES[-1] - TIMES[0]) * 3600,
    "minutes_since_last": lambda: (TIMES[-1] - TIMES[~np.isnan(X)][-1]) / 60,
    "hour": lambda: _circle(86400.0),
    "day_of_week": lambda: _circle(7 * 86400.0),
    "day_of_year": lambda: _circle(365.25 * 86400.0),
    "month": lambda: _circle(365.25 * 86400.0),
    "char_ngrams": _ngrams,
}


def microseconds(work: Callable[[], object]) -> list[float]:
    """CPU time of one call in µs, of several rounds."""
    work()
    began, calls = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        work()
        calls += 1
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(calls):
            work()
        found.append((time.process_time() - began) / calls * 1e6)
    return found


def main() -> None:
    """Measure every operation and write the figures."""
    window = {"x": X}

    def ours(features: list[dict[str, Any]]) -> list[float]:
        return microseconds(lambda: compute(features, window, TIMES, TEXT))

    def feature(op: str) -> dict[str, Any]:
        return {"op": op, "input": "x", "args": ARGS.get(op, {})}

    figures = [Figure(op, "us", ours([feature(op)]), microseconds(BARE[op]), "bare_numpy") for op in OPERATIONS]
    bare = microseconds(lambda: [BARE[op]() for op in VIBRATION])
    figures.append(Figure("all_of_a_vibration_model", "us", ours([feature(op) for op in VIBRATION]), bare, "bare_numpy"))
    write("features", figures)
