"""A backlog leaves at its rate, on top of what is new, and after a pause that differs from device to device."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.outbox.drain import AT_CONNECT, MOST_SAVED, Drain


def take_all(drain: Drain, now: float) -> int:
    taken = drain.allowed(now, 10**9)
    drain.sent(taken)
    return taken


def test_without_a_rate_all_may_go_at_once() -> None:
    drain = Drain()
    drain.connected(0.0, backlog=True)
    assert [take_all(drain, 0.0), take_all(drain, 0.0)] == [10**9, 10**9]


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=50), st.sampled_from([1.0, 37.5, 1000.0]))
def test_the_rate_holds_over_any_steps(steps: list[float], rate: float) -> None:
    drain = Drain(rate)
    drain.connected(100.0, backlog=True)
    now, taken = 100.0, 0
    for step in steps:
        now += step
        taken += take_all(drain, now)
    allowed = rate * (AT_CONNECT + now - 100.0)
    assert allowed - 1.1 < taken < allowed + 0.1


def test_new_rows_come_on_top_of_the_rate() -> None:
    drain = Drain(100.0)
    drain.connected(0.0, backlog=True)
    taken = 0
    for tenth in range(1, 101):
        drain.committed(50)
        taken += take_all(drain, tenth / 10)
    assert 10 + 10 * 100 + 100 * 50 - taken in (0, 1)


def test_what_is_not_used_is_saved_within_a_bound() -> None:
    drain = Drain(100.0)
    drain.connected(0.0, backlog=False)
    drain.committed(10**6)
    assert take_all(drain, 10**6) == 100 + MOST_SAVED


def test_a_backlog_waits_a_random_part_of_the_jitter_and_nothing_else_does() -> None:
    drain = Drain(1000.0, 2.0, lambda: 0.25)
    drain.connected(10.0, backlog=True)
    assert drain.allowed(10.0, 5) == 0
    assert drain.wait(10.0) == 0.5
    assert drain.allowed(10.49, 5) == 0
    assert drain.allowed(10.5, 500) == 1000 * AT_CONNECT
    drain.connected(20.0, backlog=False)
    assert drain.allowed(20.0, 5) == 5


def test_the_next_portion_is_waited_for_not_the_next_row() -> None:
    drain = Drain(1000.0)
    drain.connected(0.0, backlog=True)
    assert take_all(drain, 0.0) == 100
    wait = drain.wait(0.0)
    assert 0.019 < wait < 0.021
    assert take_all(drain, wait + 1e-6) == 20
    slow = Drain(0.5)
    slow.connected(0.0, backlog=True)
    assert take_all(slow, 0.0) == 0
    assert take_all(slow, slow.wait(0.0)) == 1
