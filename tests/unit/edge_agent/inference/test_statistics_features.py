import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from edge_agent.inference.worker.series import fill
from edge_agent.inference.worker.statistics_features import STATISTICS

RANDOM = np.random.default_rng(5)
WINDOWS = {
    "noise": RANDOM.normal(3.0, 2.0, 256),
    "odd": RANDOM.gamma(2.0, 1.0, 101),
    "tone": np.sin(np.arange(256) * 0.3) - 0.5,
    "two": np.array([-1.0, 4.0]),
    "one": np.array([-2.0]),
}


def value(op: str, window: Any, **args: Any) -> float:
    return STATISTICS[op](fill(np.asarray(window, dtype=np.float64), np.zeros(0)), **args)


def root_mean_square(x: Any) -> float:
    return math.sqrt(sum(float(item) ** 2 for item in x) / len(x))


REFERENCES: list[tuple[str, dict[str, Any], Any]] = [
    ("mean", {}, lambda x: sum(x) / len(x)),
    ("min", {}, lambda x: sorted(x)[0]),
    ("max", {}, lambda x: sorted(x)[-1]),
    ("range", {}, lambda x: sorted(x)[-1] - sorted(x)[0]),
    ("std", {}, lambda x: scipy.stats.tstd(x, ddof=0)),
    ("median", {}, np.median),
    ("quantile", {"q": 0.0}, np.min),
    ("quantile", {"q": 0.9}, lambda x: np.quantile(x, 0.9)),
    ("quantile", {"q": 1}, np.max),
    ("mad", {}, scipy.stats.median_abs_deviation),
    ("peak", {}, lambda x: max(abs(item) for item in x)),
    ("peak", {"about": "mean"}, lambda x: max(abs(item - np.mean(x)) for item in x)),
    ("rms", {}, root_mean_square),
    ("rms", {"about": "mean"}, np.std),
    ("crest_factor", {}, lambda x: max(abs(item) for item in x) / root_mean_square(x)),
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("op", "args", "reference"), REFERENCES)
def test_each_statistic_is_what_another_computation_gives(op: str, args: dict[str, Any], reference: Any, window: str) -> None:
    assert value(op, WINDOWS[window], **args) == pytest.approx(float(reference(WINDOWS[window])), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("window", ["noise", "odd", "tone", "two"])
def test_moments_are_the_biased_ones(window: str) -> None:
    x = WINDOWS[window]
    assert value("skewness", x) == pytest.approx(scipy.stats.skew(x), abs=1e-12)
    assert value("kurtosis", x) == pytest.approx(scipy.stats.kurtosis(x), abs=1e-12)
    assert value("kurtosis", x, excess=False) == pytest.approx(scipy.stats.kurtosis(x, fisher=False), abs=1e-12)
    moved = x - x.mean()
    assert value("crest_factor", x, about="mean") == pytest.approx(np.abs(moved).max() / np.std(x))


def test_every_statistic_has_a_reference() -> None:
    assert {op for op, _, _ in REFERENCES} | {"skewness", "kurtosis"} == set(STATISTICS)


@pytest.mark.parametrize("level", [0.0, 0.1, -7.3, 1e-300, 3e38])
@pytest.mark.parametrize("size", [1, 3, 256])
def test_equal_values_have_the_shape_that_is_stated(level: float, size: int) -> None:
    window = np.full(size, level)
    assert value("skewness", window) == 0
    assert value("kurtosis", window) == 0
    assert value("kurtosis", window, excess=False) == 3
    assert value("crest_factor", window) == pytest.approx(1 if level else 0)
    assert value("crest_factor", window, about="mean") == 0
    assert value("rms", window, about="mean") == 0
    assert value("mad", window) == 0


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e37])
def test_ratios_do_not_depend_on_the_unit(scale: float) -> None:
    x = WINDOWS["noise"]
    for op in ("skewness", "kurtosis", "crest_factor"):
        assert value(op, x * scale) == pytest.approx(value(op, x), rel=1e-6)
