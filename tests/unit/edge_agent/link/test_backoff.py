"""Waiting between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.link.backoff import STABLE_AFTER, delay, failures_after


@given(attempt=st.integers(1, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_longer_than_the_longest_and_never_under_half_the_shortest(attempt: int, draw: float) -> None:
    assert 0.5 <= delay(attempt, 1.0, 120.0, draw) <= 120.0


def test_waits_double_until_the_longest() -> None:
    nearly_one = 1.0
    assert [delay(attempt, 1.0, 10.0, nearly_one) for attempt in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_half_of_a_wait_is_jitter() -> None:
    assert delay(3, 1.0, 120.0, 0.0) == 2.0
    assert delay(3, 1.0, 120.0, 0.5) == 3.0


def test_failures_count_up_while_no_connection_comes_up() -> None:
    assert failures_after(failures_after(0, None), None) == 2


def test_a_connection_that_is_dropped_at_once_goes_on_backing_off() -> None:
    assert failures_after(4, STABLE_AFTER - 0.1) == 5


def test_a_good_connection_makes_the_next_attempt_a_first_one() -> None:
    assert failures_after(9, STABLE_AFTER) == 1
