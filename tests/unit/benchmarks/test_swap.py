import pytest

from benchmarks.swap import RATE, Scored, judge, read
from fleet_contract.messages import EventsRef, ModelRef, Outcome, Result, WindowRef, encode


def answers(late: float = 0.01) -> list[Scored]:
    """Twenty seconds; the new release is desired at 10 and answers from 11 on, and around that results are `late`."""
    found = []
    for number in range(int(20 * RATE)):
        sent = number / RATE
        delay = late if 10.5 <= sent < 11.5 else 0.002
        found.append(Scored(number, sent, sent + delay, 1 if sent + delay < 11 else 2))
    return found


def test_the_second_around_the_swap_is_held_against_the_steady_state() -> None:
    found = judge(answers(), int(20 * RATE), 10.0)
    assert found.steady_p99 == pytest.approx(2.0)
    assert found.swap_p99 == pytest.approx(10.0)
    assert found.trial_p99 == pytest.approx(10.0)
    assert found.seconds == pytest.approx(1.0, abs=0.01)
    assert (found.account.lost, found.account.repeated) == (0, 0)


def test_what_is_missed_and_repeated_is_counted() -> None:
    found = answers()
    found[5:8] = [found[4]]
    account = judge(found, int(20 * RATE), 10.0).account
    assert (account.lost, account.repeated) == (3, 1)


def test_a_swap_that_has_not_come_about_is_no_figure() -> None:
    with pytest.raises(ValueError, match="second release"):
        judge([item for item in answers() if item.release == 1], 1000, 10.0)


def test_a_result_is_read_as_it_arrived() -> None:
    result = Result(
        result_id="r",
        pipeline="bench",
        source="s",
        time=None,
        outcome=Outcome(score=0.5),
        model=ModelRef(name="bench", version="2.0.0", release=2, digest="d", provider="CPU"),
        window=WindowRef(kind="count", start=None, end=None, count=1),
        events=EventsRef(count=1, ids=("17-1700000000.250000",)),
    )
    assert read([b"1700000000.5 " + encode(result)]) == [Scored(17, 1700000000.25, 1700000000.5, 2)]
