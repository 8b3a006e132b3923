import math

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.health.sketch import ACCURACY, Sketch

values = st.lists(st.floats(min_value=1e-5, max_value=3600), min_size=1, max_size=200)


@given(values, st.floats(min_value=0, max_value=1))
def test_a_quantile_is_within_the_stated_accuracy(numbers: list[float], q: float) -> None:
    sketch = Sketch()
    for number in numbers:
        sketch.add(number)
    exact = sorted(numbers)[math.floor(q * (len(numbers) - 1))]
    found = sketch.quantile(q)
    assert found is not None
    assert exact * (1 - 2 * ACCURACY) <= found <= exact * (1 + 2 * ACCURACY)


@given(values, values)
def test_two_sketches_merged_are_the_sketch_of_all(one: list[float], other: list[float]) -> None:
    left, right, both = Sketch(), Sketch(), Sketch()
    for number in one:
        left.add(number)
        both.add(number)
    for number in other:
        right.add(number)
        both.add(number)
    left.merge(right)
    assert left.count == both.count
    assert [left.quantile(q) for q in (0, 0.5, 0.95, 1)] == [both.quantile(q) for q in (0, 0.5, 0.95, 1)]


def test_an_empty_sketch_knows_no_quantile() -> None:
    assert Sketch().quantile(0.5) is None


def test_zero_is_counted_as_the_least_value() -> None:
    sketch = Sketch()
    sketch.add(0.0)
    assert sketch.count == 1
