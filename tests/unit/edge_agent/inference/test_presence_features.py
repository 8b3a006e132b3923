from typing import Any

import numpy as np
import pytest

from edge_agent.inference.worker.presence_features import PRESENCE
from edge_agent.inference.worker.series import FeatureError, present, to_column


def value(op: str, window: list[float | None], times: list[float]) -> float:
    return PRESENCE[op](present(to_column(window), np.array(times, dtype=np.float64)))


GAPS: list[float | None] = [1.0, None, 3.0, 5.0, None]
TIMES = [0.0, 600.0, 1800.0, 5400.0, 5700.0]


@pytest.mark.parametrize(
    ("op", "expected"),
    [("count", 3), ("count_missing", 2), ("rate_per_hour", 2 / 1.5), ("minutes_since_last", 5)],
)
def test_each_operation_gives_its_value(op: str, expected: float) -> None:
    assert value(op, GAPS, TIMES) == pytest.approx(expected)


@pytest.mark.parametrize(("op", "expected"), [("count", 0), ("count_missing", 2), ("rate_per_hour", 0)])
def test_a_window_without_values_is_counted(op: str, expected: float) -> None:
    assert value(op, [None, None], [0, 60]) == expected


def test_one_value_has_no_rate_and_is_as_old_as_the_events_behind_it() -> None:
    assert value("rate_per_hour", [None, 4.0, None], [0, 60, 180]) == 0
    assert value("minutes_since_last", [None, 4.0, None], [0, 60, 180]) == 2
    assert value("minutes_since_last", [4.0], [0]) == 0


@pytest.mark.parametrize(
    ("op", "window", "times", "text"),
    [
        ("rate_per_hour", [1.0, 2.0], [5.0, 5.0], "no time between"),
        ("rate_per_hour", [1.0, 2.0], [], "0 event times"),
        ("minutes_since_last", [None], [5.0], "has no values"),
        ("minutes_since_last", [1.0], [], "0 event times"),
    ],
)
def test_what_has_no_answer_is_the_fault_of_the_window(op: str, window: list[Any], times: list[float], text: str) -> None:
    with pytest.raises(FeatureError, match=text):
        value(op, window, times)
