import math

import numpy as np
import pytest

from edge_agent.inference.worker.series import FeatureError, Series, fill, present, to_column

GAPS = to_column([1.0, None, math.nan, 4.0, 6.0])
TIMES = np.array([0.0, 10.0, 20.0, 60.0, 70.0])


def filled(missing: object, column: object = GAPS, times: object = TIMES) -> list[float]:
    series = fill(np.asarray(column, dtype=np.float64), np.asarray(times, dtype=np.float64), missing)
    return series.values.tolist()


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("drop", [1, 4, 6]),
        ("mean", [1, 11 / 3, 11 / 3, 4, 6]),
        ("zero", [1, 0, 0, 4, 6]),
        (-2.5, [1, -2.5, -2.5, 4, 6]),
        ("previous", [1, 1, 1, 4, 6]),
        ("linear", [1, 1.5, 2, 4, 6]),
    ],
)
def test_each_policy_puts_in_what_it_says(missing: object, expected: list[float]) -> None:
    assert filled(missing) == pytest.approx(expected)


def test_nothing_is_put_in_unasked() -> None:
    with pytest.raises(FeatureError, match="lacks 2 of 5 values"):
        fill(GAPS, TIMES)


@pytest.mark.parametrize("missing", ["error", "drop", "mean", "zero", 7, "previous", "linear"])
def test_a_whole_window_is_left_as_it_is(missing: object) -> None:
    assert filled(missing, [3, 1, 2], []) == [3, 1, 2]


@pytest.mark.parametrize("missing", ["drop", "mean", "previous", "linear"])
def test_a_window_without_any_value_gives_none_of_its_own(missing: object) -> None:
    with pytest.raises(FeatureError, match="has no values"):
        filled(missing, [math.nan, math.nan], [0, 1])


@pytest.mark.parametrize("missing", ["error", "drop", "mean", "zero", 7, "previous", "linear"])
def test_a_window_without_events_has_no_values(missing: object) -> None:
    with pytest.raises(FeatureError, match="has no values"):
        filled(missing, [], [])


def test_a_first_value_that_is_missing_is_not_taken_from_the_future_by_previous() -> None:
    with pytest.raises(FeatureError, match="lacks its first value"):
        filled("previous", [math.nan, 2.0])


def test_linear_holds_the_nearest_value_at_the_ends() -> None:
    assert filled("linear", [math.nan, 2.0, 3.0, math.nan], [0, 1, 2, 3]) == [2, 2, 3, 3]


@pytest.mark.parametrize(("times", "text"), [([], "0 event times"), ([0, 1, 3, 2, 4], "out of order")])
def test_linear_needs_event_times_in_order(times: list[float], text: str) -> None:
    with pytest.raises(FeatureError, match=text):
        filled("linear", GAPS, times)


def test_dropped_values_leave_the_others_at_their_positions_and_times() -> None:
    series = fill(GAPS, TIMES, "drop")
    assert series.positions.tolist() == [0, 3, 4]
    assert series.value_times().tolist() == [0, 60, 70]
    assert series.events == 5


def test_times_that_are_not_one_for_each_event_are_refused_where_they_are_needed() -> None:
    series: Series = fill(GAPS, TIMES[:4], "zero")
    with pytest.raises(FeatureError, match="has 5 events and 4 event times"):
        series.value_times()


def test_what_is_present_may_be_nothing() -> None:
    series = present(to_column([None, None]), TIMES[:2])
    assert (series.values.size, series.events) == (0, 2)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 3.5e38, -1e300])
def test_a_value_beyond_float32_is_refused_even_beside_missing_ones(value: float) -> None:
    with pytest.raises(FeatureError, match="too large for float32"):
        to_column([None, value])
