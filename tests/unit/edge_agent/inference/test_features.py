import math
from typing import Any

import numpy as np
import pytest

from edge_agent.inference.worker.features import FeatureError, FeatureSpecError, compute, require_known

WINDOW = {"flow": [1.0, 3.0, 2.0, 6.0], "gap": [1.0, None, 3.0, 5.0]}
TIMES = [0.0, 1800.0, 3600.0, 5400.0]


def one(op: str, name: str | None = "flow", **args: Any) -> list[float]:
    feature = {"op": op, "input": name, "args": args}
    vector = compute([feature], WINDOW, TIMES)
    assert vector.dtype == np.float32

    return [float(value) for value in vector]


@pytest.mark.parametrize(
    ("missing", "expected"), [("drop", 3.0), ("mean", 3.0), ("zero", 2.25), (-1, 2.0)], ids=["drop", "mean", "zero", "number"]
)
def test_missing_values_are_filled_as_the_feature_says(missing: Any, expected: float) -> None:
    assert one("mean", "gap", missing=missing) == pytest.approx([expected])


def test_a_missing_value_is_an_error_unless_the_feature_says_otherwise() -> None:
    with pytest.raises(FeatureError, match="'gap' lacks 1 of 4"):
        one("mean", "gap")
    assert one("count_missing", "gap") == [1]


def test_results_are_joined_in_order() -> None:
    features = [{"op": "last", "input": "flow"}, {"op": "values", "input": "flow", "args": {"n": 2}}]
    assert list(compute(features, WINDOW, TIMES)) == [6, 2, 6]


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        ({"op": "mode", "input": "flow"}, "'mode': no such operation"),
        ({"op": "mean", "input": "flow", "args": {"window": 3}}, "'mean'.*'window'"),
        ({"op": "values", "input": "flow"}, "'values'.*'n'"),
        ({"op": "count", "input": "flow", "args": {"missing": "drop"}}, "'count'.*'missing'"),
        ({"op": "hour", "args": {"missing": "drop"}}, "'hour'.*'missing'"),
    ],
)
def test_what_this_code_does_not_have_is_refused_before_any_event(feature: dict[str, Any], text: str) -> None:
    with pytest.raises(FeatureSpecError, match=text):
        require_known([feature])


def test_known_features_are_let_through() -> None:
    require_known([{"op": "mean", "input": "flow", "args": {"missing": "drop"}}, {"op": "hour"}, {"op": "char_ngrams"}])


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        ({"op": "values", "input": "flow", "args": {"n": 5}}, "values: input 'flow' has 4 values, 5 are needed"),
        ({"op": "mean", "input": "level"}, "mean: input 'level' is missing from the window"),
        ({"op": "mean"}, "mean: is missing"),
        ({"op": "char_ngrams"}, "char_ngrams: no text"),
    ],
)
def test_what_a_window_lacks_is_its_own_fault_and_named(feature: dict[str, Any], text: str) -> None:
    with pytest.raises(FeatureError, match=text):
        compute([feature], WINDOW, TIMES)


def test_a_feature_on_time_needs_times_that_are_finite() -> None:
    with pytest.raises(FeatureError, match="hour: the window has no event times"):
        compute([{"op": "hour"}], {}, [])
    with pytest.raises(FeatureError, match="not finite"):
        compute([{"op": "hour"}], {}, [math.inf])


def test_a_result_that_float32_cannot_hold_is_the_fault_of_the_window() -> None:
    feature = {"op": "slope", "input": "flow"}
    with pytest.raises(FeatureError, match="not finite in float32"):
        compute([feature], {"flow": [0.0, 1e38]}, [0.0, 1.0])
    assert compute([feature], {"flow": [0.0, 1e34]}, [0.0, 1.0]) == pytest.approx([3.6e37])
