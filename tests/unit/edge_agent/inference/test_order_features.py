import itertools
from typing import Any

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from edge_agent.inference.worker.order_features import ORDER
from edge_agent.inference.worker.series import FeatureError, fill

FLOW = [1.0, 3.0, 2.0, 6.0]
TIMES = [1_700_000_000.0, 1_700_001_800.0, 1_700_003_600.0, 1_700_007_200.0]
NOISE = np.random.default_rng(8).normal(0.2, 1.0, 256)


def value(op: str, window: Any = FLOW, times: Any = TIMES, missing: Any = "error", **args: Any) -> Any:
    series = fill(np.array(window, dtype=np.float64), np.array(times, dtype=np.float64), missing)
    return ORDER[op](series, **args)


@pytest.mark.parametrize(
    ("op", "args", "expected"),
    [
        ("last", {}, 6),
        ("first", {}, 1),
        ("delta", {}, 5),
        ("values", {"n": 3}, [3, 2, 6]),
        ("lag", {}, 2),
        ("lag", {"k": 0}, 6),
        ("lags", {"k": [0, 3, 1]}, [6, 1, 2]),
        ("ewma", {"alpha": 0.5}, 4.0),
        ("ewma", {"alpha": 1}, 6),
        ("max_abs_step", {}, 4),
        ("mean_abs_step", {}, 7 / 3),
        ("zero_crossings", {}, 0),
        ("zero_crossings", {"about": "mean"}, 1),
    ],
)
def test_each_operation_gives_its_value(op: str, args: dict[str, Any], expected: Any) -> None:
    assert value(op, **args) == pytest.approx(expected)


def test_slope_is_that_of_a_least_squares_line() -> None:
    hours = (np.array(TIMES) - TIMES[0]) / 3600
    assert value("slope") == pytest.approx(scipy.stats.linregress(hours, FLOW).slope)
    assert value("slope", per="step") == pytest.approx(scipy.stats.linregress(range(4), FLOW).slope)


def test_a_fast_window_keeps_its_digits_though_it_is_long_after_1970() -> None:
    steps = np.arange(64)
    times = 1_700_000_000.0 + steps / 2.0**20  # exact in binary
    assert value("slope", steps, times) == pytest.approx(2.0**20 * 3600, rel=1e-9)


def test_dropped_events_leave_the_others_at_their_own_times_and_steps() -> None:
    gap = [1.0, None, 2.0, 6.0]
    assert value("slope", gap, missing="drop") == pytest.approx(scipy.stats.linregress([0, 1, 2], [1, 2, 6]).slope)
    by_step = scipy.stats.linregress([0, 2, 3], [1, 2, 6]).slope
    assert value("slope", gap, missing="drop", per="step") == pytest.approx(by_step)


def test_the_moving_average_is_the_recursive_filter_from_the_first_value() -> None:
    state = scipy.signal.lfiltic([0.1], [1, -0.9], [NOISE[0]])
    filtered, _ = scipy.signal.lfilter([0.1], [1, -0.9], NOISE[1:], zi=state)
    assert value("ewma", NOISE, alpha=0.1) == pytest.approx(filtered[-1])


@pytest.mark.parametrize("about", ["zero", "mean"])
def test_crossings_are_counted_as_a_walk_counts_them(about: str) -> None:
    level = NOISE.mean() if about == "mean" else 0.0
    crossings = sum((a > level) != (b > level) for a, b in itertools.pairwise(NOISE))
    assert value("zero_crossings", NOISE, about=about) == crossings


def test_a_touch_of_zero_is_no_crossing_and_a_rest_on_it_is_one() -> None:
    assert value("zero_crossings", [1, 0, 1, 0, 0, -1, 0, -2]) == 1
    assert value("zero_crossings", [0, 0, 0]) == 0
    assert value("zero_crossings", [0.1] * 7, about="mean") == 0


@pytest.mark.parametrize(("op", "args"), [("slope", {}), ("max_abs_step", {}), ("mean_abs_step", {}), ("delta", {})])
def test_one_event_has_neither_trend_nor_steps(op: str, args: dict[str, Any]) -> None:
    assert value(op, [5.0], [0.0], **args) == 0


def test_events_that_are_all_at_one_time_have_no_slope() -> None:
    assert value("slope", [1, 2, 3], [7, 7, 7]) == 0


def test_one_value_is_its_own_moving_average() -> None:
    assert value("ewma", [5.0], alpha=0.2) == 5
    assert value("ewma", [5.0], alpha=1) == 5


@pytest.mark.parametrize(("op", "args"), [("values", {"n": 5}), ("lag", {"k": 4}), ("lags", {"k": [1, 4]})])
def test_a_window_that_is_too_short_says_how_many_are_needed(op: str, args: dict[str, Any]) -> None:
    with pytest.raises(FeatureError, match="has 4 values, 5 are needed"):
        value(op, **args)
