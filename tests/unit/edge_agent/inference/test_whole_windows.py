"""All windows of a batch at once, to the bit what each gives alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inference.worker.features import compute
from edge_agent.inference.worker.whole_windows import ALONG, WholeWindows

INPUTS = ("a", "b")
FEATURES = [{"op": op, "input": name, "args": {"missing": "drop"}} for name in INPUTS for op in ALONG]
Windows = list[dict[str, list[float]]]


@st.composite
def batches(draw: Any) -> Windows:
    sizes = draw(st.tuples(st.integers(1, 40), st.integers(1, 300)))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    scale = draw(st.sampled_from([1e-20, 1.0, 1e6, 1e20]))
    return [
        {name: (random.normal(size=size) * scale).tolist() for name, size in zip(INPUTS, sizes, strict=True)}
        for _ in range(draw(st.integers(1, 9)))
    ]


def as_frame(windows: Windows, times: list[float]) -> tuple[list[list[int]], Any]:
    lengths = [[*(len(window[name]) for name in INPUTS), len(times)] for window in windows]
    return lengths, np.concatenate([np.array([*window["a"], *window["b"], *times]) for window in windows])


@given(batches(), st.lists(st.floats(0, 1e10), max_size=3))
def test_a_batch_gives_to_the_bit_what_each_window_gives_alone(windows: Windows, times: list[float]) -> None:
    got = WholeWindows(INPUTS, FEATURES).compute(*as_frame(windows, times))
    assert got is not None
    alone = np.stack([compute(FEATURES, window, times) for window in windows])
    assert got.dtype == np.float32
    assert got.tobytes() == alone.tobytes()


@pytest.mark.parametrize(
    "windows",
    [
        [{"a": [1.0], "b": [float("nan")]}],
        [{"a": [1.0], "b": [float("inf")]}],
        [{"a": [1.0], "b": [1e39]}],
        [{"a": [], "b": [1.0]}],
        [{"a": [1.0], "b": [1.0]}, {"a": [1.0, 2.0], "b": [1.0]}],
        [{"a": [1.0, 2.0], "b": [1.0]}, {"a": [1.0], "b": [1.0, 2.0]}],
    ],
)
def test_windows_that_are_not_whole_are_left_to_be_looked_at_one_by_one(windows: Windows) -> None:
    assert WholeWindows(INPUTS, FEATURES).compute(*as_frame(windows, [])) is None


def test_an_event_time_that_is_not_finite_is_left_too() -> None:
    assert WholeWindows(INPUTS, FEATURES).compute(*as_frame([{"a": [1.0], "b": [1.0]}], [float("nan")])) is None


@pytest.mark.parametrize(
    "feature",
    [
        {"op": "median", "input": "a", "args": {}},
        {"op": "hour", "args": {}},
        {"op": "char_ngrams", "input": None, "args": {"buckets": 8}},
        {"op": "last", "input": "other", "args": {}},
    ],
)
def test_other_operations_are_not_of_this_kind(feature: dict[str, Any]) -> None:
    assert not WholeWindows(INPUTS, [feature]).usable
    assert WholeWindows(INPUTS, FEATURES).usable
