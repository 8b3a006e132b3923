"""What is under way on one connection."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.link.inflight import Arrivals, Window


def test_a_window_counts_what_is_not_confirmed() -> None:
    window = Window(2)
    window.start(7, 100)
    window.start(8, 101)
    assert window.free == 0
    assert window.finish([(8, True)]) == [(101, True)]
    assert window.free == 1


def test_a_packet_id_that_is_not_ours_gives_no_outcome() -> None:
    window = Window(2)
    assert window.finish([(3, True)]) == []


def test_what_is_unfinished_is_lost_once_and_in_order() -> None:
    window = Window(3)
    for mid, token in ((5, 1), (6, 2), (7, 3)):
        window.start(mid, token)
    window.finish([(6, False)])
    assert window.lose() == [(1, False), (3, False)]
    assert window.lose() == []
    assert window.free == 3


@given(st.permutations(range(1, 9)))
def test_acknowledgements_leave_in_the_order_of_arrival(asked: list[int]) -> None:
    arrivals = Arrivals()
    for mid in range(1, 9):
        arrivals.arrived(mid)
    left = [mid for each in asked for mid in arrivals.acknowledge(each)]
    assert left == list(range(1, 9))
    assert len(arrivals) == 0


def test_an_early_acknowledgement_waits_for_those_before_it() -> None:
    arrivals = Arrivals()
    arrivals.arrived(1)
    arrivals.arrived(2)
    assert arrivals.acknowledge(2) == []
    assert arrivals.acknowledge(1) == [1, 2]


def test_a_repeated_or_unknown_acknowledgement_sends_nothing() -> None:
    arrivals = Arrivals()
    arrivals.arrived(1)
    assert arrivals.acknowledge(9) == []
    assert arrivals.acknowledge(1) == [1]
    assert arrivals.acknowledge(1) == []
