"""Properties of the table."""

import pytest

from edge_agent.transitions import IllegalTransition
from edge_agent.updates.machine import FINAL, INITIAL, RESUME, TRANSITIONS, Event, allows, step
from fleet_contract.update_report import UpdateState as State


def reachable(start: State) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for item in TRANSITIONS:
            if item.state is state and item.target not in found:
                found.add(item.target)
                todo.append(item.target)
    return found


def test_every_state_can_be_reached() -> None:
    assert reachable(INITIAL) == set(State)


def test_no_state_and_event_lead_to_two_states() -> None:
    assert len({(item.state, item.event) for item in TRANSITIONS}) == len(TRANSITIONS)


def test_every_event_is_used() -> None:
    assert {item.event for item in TRANSITIONS} == set(Event)


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
def test_every_unfinished_state_can_fail_and_can_still_be_committed(state: State) -> None:
    if state is State.PROBATION:
        assert step(state, Event.BREACHED) is State.ROLLED_BACK
    else:
        assert step(state, Event.FAILED) is State.REJECTED
    assert State.COMMITTED in reachable(state)


@pytest.mark.parametrize("state", sorted(set(State) - FINAL - {State.ACTIVATING, State.PROBATION}))
def test_every_state_before_the_swap_can_be_superseded(state: State) -> None:
    assert step(state, Event.SUPERSEDED) is State.REJECTED


def test_only_what_was_active_is_rolled_back() -> None:
    assert {item.state for item in TRANSITIONS if item.target is State.ROLLED_BACK} == {
        State.PROBATION,
        State.COMMITTED,
    }


def test_a_restart_has_a_place_to_go_on_from_every_state_and_never_skips_a_check() -> None:
    assert set(RESUME) == set(State)
    order = list(State)
    for state, target in RESUME.items():
        assert RESUME[target] is target
        assert (state in FINAL) == (target in FINAL)
        if state not in FINAL:
            assert order.index(target) <= order.index(state)


def test_a_transition_that_the_table_does_not_have_is_an_error() -> None:
    assert not allows(State.REJECTED, Event.BEGIN)
    with pytest.raises(IllegalTransition, match="rejected by begin"):
        step(State.REJECTED, Event.BEGIN)
