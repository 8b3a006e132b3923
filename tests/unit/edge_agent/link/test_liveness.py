"""When a broker that does not answer is taken for gone."""

import pytest

from edge_agent.link.liveness import LONGEST, SECONDS_PER_ACK, Liveness


def test_a_silent_broker_is_alive_until_a_ping_was_not_answered_for_a_keep_alive() -> None:
    liveness = Liveness(5.0)
    assert not liveness.is_lost(1000.0)
    liveness.pinged(1000.0, acks=0)
    assert not liveness.is_lost(1004.9)
    assert liveness.is_lost(1005.0)


def test_an_answer_is_that_to_the_oldest_ping() -> None:
    liveness = Liveness(5.0)
    liveness.pinged(0.0, acks=0)
    liveness.pinged(4.0, acks=0)
    liveness.answered()
    assert not liveness.is_lost(8.9)
    assert liveness.is_lost(9.0)


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    liveness = Liveness(5.0)
    liveness.answered()
    liveness.pinged(0.0, acks=0)
    assert liveness.is_lost(5.0)


def test_a_broker_may_take_its_time_for_the_acknowledgements_before_the_ping() -> None:
    liveness = Liveness(5.0)
    liveness.pinged(0.0, acks=1000)
    assert not liveness.is_lost(5.0 + 1000 * SECONDS_PER_ACK - 0.1)
    assert liveness.is_lost(5.0 + 1000 * SECONDS_PER_ACK)


def test_acknowledgements_before_an_answered_ping_are_worked_off() -> None:
    liveness = Liveness(5.0)
    liveness.pinged(0.0, acks=1000)
    liveness.answered()
    liveness.pinged(50.0, acks=1000)
    assert liveness.is_lost(55.0)


def test_patience_has_an_end() -> None:
    liveness = Liveness(5.0)
    liveness.pinged(0.0, acks=10_000_000)
    assert liveness.is_lost(5.0 + LONGEST)


@pytest.mark.parametrize(("now", "lost"), [(64.9, False), (65.0, True)])
def test_while_we_do_not_read_no_answer_is_missed(now: float, lost: bool) -> None:
    liveness = Liveness(5.0)
    liveness.pinged(0.0, acks=0)
    liveness.not_listening(60.0)
    assert liveness.is_lost(now) is lost
