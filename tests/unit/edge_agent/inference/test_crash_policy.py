"""What counts against a release: different causes within a sliding window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inference.answers import ModelInput, TensorValue
from edge_agent.inference.crash_policy import CrashPolicy, content_of

Note = tuple[float, tuple[int, ...]]


def policy(*notes: Note, most: int = 2, window: float = 60.0) -> CrashPolicy:
    made = CrashPolicy(most, window)
    for time, inputs in notes:
        made.note(time, inputs)
    return made


@pytest.mark.parametrize(
    ("notes", "count"),
    [
        ([], 0),
        ([(0.0, (1,))], 1),
        ([(0.0, (1,)), (1.0, (1,))], 1),
        ([(0.0, (1,)), (1.0, (2,))], 2),
        ([(0.0, ()), (1.0, ())], 2),
        ([(0.0, (1, 2, 3))], 1),
        ([(0.0, (1, 2, 3)), (1.0, (2,))], 1),
        ([(0.0, (1, 2, 3)), (1.0, (4,))], 2),
        ([(0.0, (2,)), (1.0, (1, 2, 3))], 1),
        ([(0.0, (2,)), (59.0, (1, 2, 3)), (70.0, (4,))], 2),
        ([(0.0, (1,)), (61.0, (2,))], 1),
    ],
)
def test_each_cause_counts_once_within_the_window(notes: list[Note], count: int) -> None:
    assert policy(*notes).count(notes[-1][0] if notes else 0.0) == count


def test_one_more_than_is_borne_is_too_many_until_the_window_has_passed() -> None:
    crashes = policy((0.0, (1,)), (1.0, (2,)), (2.0, (3,)))
    assert crashes.is_too_many(2.0)
    assert not crashes.is_too_many(61.0)
    assert not policy((0.0, (1,)), (1.0, (2,))).is_too_many(1.0)


def test_a_policy_of_zero_bears_everything() -> None:
    assert not policy(*((float(number), (number,)) for number in range(50)), most=0).is_too_many(49.0)


@given(st.lists(st.lists(st.integers(1, 5), max_size=3), max_size=200))
def test_what_is_remembered_is_bounded(ends: list[list[int]]) -> None:
    crashes = policy(*((float(number), tuple(inputs)) for number, inputs in enumerate(ends)), window=1e9)
    assert len(crashes._ends) <= 3


def test_a_content_is_the_values_whenever_they_came() -> None:
    one = ModelInput({"a": [1.0, None], "b": [2.0]}, [0.0, 1.0])
    assert content_of(one) == content_of(ModelInput({"b": (2.0,), "a": (1.0, None)}, [5.0, 6.0]))
    others = [
        ModelInput({"a": [1.0, 2.0], "b": [2.0]}),
        ModelInput({"a": [1.0, None], "c": [2.0]}),
        ModelInput(text="a"),
        ModelInput(text="b"),
        ModelInput(tensors={"x": TensorValue("float32", (1,), b"\0\0\0\0")}),
        ModelInput(tensors={"x": TensorValue("int32", (1,), b"\0\0\0\0")}),
    ]
    assert len({content_of(item) for item in [one, *others]}) == 7
