import math
from typing import Any

import numpy as np
import pytest

from edge_agent.inference.worker.features import FeatureError, FeatureSpecError, compute, width

WINDOW = {"flow": [1.0, 3.0, 2.0, 6.0], "gap": [1.0, None, 3.0, 5.0]}
TIMES = [0.0, 1800.0, 3600.0, 5400.0]


def one(op: str, name: str | None = "flow", **args: Any) -> list[float]:
    feature = {"op": op, "input": name, "args": args}
    vector = compute([feature], WINDOW, TIMES)
    assert vector.dtype == np.float32
    assert len(vector) == width([feature])
    return [float(value) for value in vector]


@pytest.mark.parametrize(
    ("op", "args", "expected"),
    [
        ("last", {}, [6]),
        ("first", {}, [1]),
        ("mean", {}, [3]),
        ("min", {}, [1]),
        ("max", {}, [6]),
        ("range", {}, [5]),
        ("delta", {}, [5]),
        ("std", {}, [math.sqrt(3.5)]),
        ("lag", {"k": 1}, [2]),
        ("lag", {"k": 0}, [6]),
        ("values", {"n": 3}, [3, 2, 6]),
        ("count_missing", {}, [0]),
        ("slope", {"per": "step"}, [1.4]),
        ("slope", {}, [2.8]),
    ],
)
def test_each_operation_gives_its_value(op: str, args: dict[str, Any], expected: list[float]) -> None:
    assert one(op, **args) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("missing", "expected"), [("drop", 3.0), ("mean", 3.0), ("zero", 2.25), (-1, 2.0)], ids=["drop", "mean", "zero", "number"]
)
def test_missing_values_are_filled_as_the_feature_says(missing: Any, expected: float) -> None:
    assert one("mean", "gap", missing=missing) == pytest.approx([expected])


def test_a_missing_value_is_an_error_unless_the_feature_says_otherwise() -> None:
    with pytest.raises(FeatureError, match="'gap' lacks 1 of 4"):
        one("mean", "gap")
    assert one("count_missing", "gap") == [1]


def test_a_dropped_event_keeps_the_others_at_their_own_times() -> None:
    assert one("slope", "gap", missing="drop") == pytest.approx([float(np.polyfit([0, 1, 1.5], [1, 3, 5], 1)[0])], rel=1e-6)


def test_calendar_features_lie_on_the_circle_of_the_last_time() -> None:
    monday_six = 1_704_088_800.0  # 2024-01-01T06:00:00Z
    vector = compute([{"op": "hour"}, {"op": "day_of_week"}, {"op": "day_of_year"}], {}, [monday_six])
    quarter = 2 * math.pi * 0.25
    assert vector[:2] == pytest.approx([1, 0], abs=1e-6)
    assert vector[2:4] == pytest.approx([math.sin(quarter / 7), math.cos(quarter / 7)], abs=1e-6)
    assert vector[4:] == pytest.approx([math.sin(quarter / 365.25), math.cos(quarter / 365.25)], abs=1e-6)
    assert compute([{"op": "hour", "args": {"offset_hours": -6}}], {}, [monday_six]) == pytest.approx([0, 1], abs=1e-6)


def test_results_are_joined_in_order() -> None:
    features = [{"op": "last", "input": "flow"}, {"op": "values", "input": "flow", "args": {"n": 2}}]
    assert list(compute(features, WINDOW, TIMES)) == [6, 2, 6]


@pytest.mark.parametrize(
    "feature",
    [
        {"op": "median", "input": "flow"},
        {"op": "mean"},
        {"op": "mean", "input": "flow", "args": {"missing": "guess"}},
        {"op": "mean", "input": "flow", "args": {"window": 3}},
        {"op": "values", "input": "flow"},
        {"op": "values", "input": "flow", "args": {"n": 2, "missing": "drop"}},
        {"op": "lag", "input": "flow", "args": {"k": -1}},
        {"op": "slope", "input": "flow", "args": {"per": "day"}},
        {"op": "char_ngrams", "args": {"n_min": 4, "n_max": 2}},
        {"op": "hour", "args": {"offset_hours": "2"}},
    ],
)
def test_a_wrong_feature_is_refused_before_any_event(feature: dict[str, Any]) -> None:
    with pytest.raises(FeatureSpecError):
        width([feature])


def test_a_window_too_short_for_a_feature_is_the_fault_of_the_window() -> None:
    with pytest.raises(FeatureError, match="5 are needed"):
        one("values", n=5)
    with pytest.raises(FeatureError, match="no event times"):
        compute([{"op": "hour"}], {}, [])
