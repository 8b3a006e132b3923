import pytest

from edge_agent.inference.batching import COMPANY, LOOK_AGAIN, Batching, BatchState


def taught(batching: Batching, costs: dict[int, float], times: int = 6) -> Batching:
    """After batches of these sizes, each input of which took so many seconds."""
    for size, each in costs.items():
        for _ in range(times):
            batching.note(size, size * each)
    return batching


@pytest.mark.parametrize(
    ("queued", "age", "wait"),
    [(1, 0.0, 0.005), (7, 0.0, 0.005), (8, 0.0, 0.0), (100, 0.0, 0.0), (1, 0.003, 0.002), (1, 0.005, 0.0), (1, 9.0, 0.0)],
)
def test_a_full_batch_goes_at_once_and_a_partial_one_when_its_oldest_has_waited(queued: int, age: float, wait: float) -> None:
    assert taught(Batching(8, 0.005), {1: 1e-3}).wait(queued, age) == pytest.approx(wait)


def test_without_a_delay_everything_goes_at_once() -> None:
    batching = Batching(8, 0.0)
    assert batching.state is BatchState.AT_ONCE
    assert [batching.wait(queued, 0.0) for queued in (1, 7, 8)] == [0, 0, 0]
    assert [batching.size(queued) for queued in (1, 7, 8, 30)] == [1, 7, 8, 8]


def test_a_model_that_takes_one_input_at_a_time_is_never_delayed() -> None:
    batching = Batching(1, 0.005)
    assert batching.state is BatchState.AT_ONCE
    assert batching.wait(1, 0.0) == 0


def test_what_one_alone_costs_is_measured_before_anything_is_delayed() -> None:
    batching = Batching(8, 0.005)
    sizes = []
    while not batching.wait(1, 0.0):
        sizes.append(batching.size(5))
        batching.note(1, 1e-3)
    assert sizes == [1] * 5
    assert batching.size(5) == 5


@pytest.mark.parametrize(
    ("alone", "together", "state"),
    [(1e-3, 2e-4, BatchState.DELAYED), (1e-3, 8.9e-4, BatchState.DELAYED), (1e-3, 9.5e-4, BatchState.NO_GAIN)],
)
def test_nothing_is_delayed_where_a_batch_saves_no_time(alone: float, together: float, state: BatchState) -> None:
    batching = taught(Batching(8, 0.005), {1: alone, 4: together})
    assert batching.state is state
    assert bool(batching.wait(1, 0.0)) == (state is BatchState.DELAYED)
    assert batching.size(6) == 6


def test_waiting_ends_where_those_that_wait_stay_alone() -> None:
    batching = taught(Batching(8, 0.005), {1: 1e-3})
    waits = 0
    while batching.wait(1, 0.0):
        batching.note(1, 1e-3)
        waits += 1
        assert waits < 100
    assert batching.state is BatchState.NO_GAIN
    assert 0.9**waits < COMPANY < 0.9 ** (waits - 1)


def test_a_batch_is_no_larger_than_pays_off() -> None:
    batching = taught(Batching(64, 0.0), {1: 1e-3, 8: 5e-4, 32: 9e-4})
    assert batching.limit == 31
    assert batching.size(64) == 31


def test_batches_that_are_always_slower_for_each_input_are_given_up() -> None:
    batching = taught(Batching(64, 0.005), {1: 1e-3, 2: 2e-3})
    assert batching.limit == 1
    assert batching.state is BatchState.NO_GAIN


def test_one_batch_that_was_disturbed_changes_nothing() -> None:
    batching = taught(Batching(64, 0.005), {1: 1e-3, 8: 5e-4})
    batching.note(8, 10.0)
    assert (batching.limit, batching.state) == (64, BatchState.DELAYED)


def test_the_first_batch_of_a_size_which_warms_up_does_not_count() -> None:
    batching = Batching(64, 0.0)
    batching.note(8, 60.0)
    taught(batching, {1: 1e-3, 8: 5e-4})
    assert batching.limit == 64


def test_what_was_of_no_use_is_tried_again_later() -> None:
    batching = taught(Batching(64, 0.005), {1: 1e-3, 2: 2e-3})
    for _ in range(LOOK_AGAIN):
        batching.note(1, 1e-3)
    assert (batching.limit, batching.state) == (64, BatchState.DELAYED)
    taught(batching, {2: 2e-3})
    assert batching.limit == 1


def test_a_late_answer_of_the_release_before_says_nothing() -> None:
    batching = Batching(4, 0.0)
    batching.note(64, 1.0)
    assert batching.limit == 4
