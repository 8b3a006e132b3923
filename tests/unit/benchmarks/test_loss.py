"""The account of a run with kills."""

from benchmarks.loss import Account, account


def test_an_event_without_a_result_is_lost() -> None:
    assert account(4, [0, 1, 3]) == Account(lost=1, repeated=0)


def test_a_second_result_of_an_event_is_a_repeat_and_makes_up_for_no_other_event() -> None:
    assert account(3, [0, 0, 0, 2]) == Account(lost=1, repeated=2)


def test_results_of_other_events_do_not_count() -> None:
    assert account(2, [0, 1, 2, 7, -1]) == Account(lost=0, repeated=0)
