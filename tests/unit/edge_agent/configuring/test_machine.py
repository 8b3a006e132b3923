import pytest

from edge_agent.configuring.machine import FINAL, INITIAL, RESUME, TRANSITIONS, Event, allows, step
from edge_agent.transitions import IllegalTransition
from fleet_contract.configuration import ConfigurationState as State


def test_every_state_is_reached_and_has_a_place_to_resume_in() -> None:
    reached = {INITIAL} | {item.target for item in TRANSITIONS}
    assert reached == set(State)
    assert set(RESUME) == set(State)


def test_one_event_leads_to_one_state() -> None:
    assert len({(item.state, item.event) for item in TRANSITIONS}) == len(TRANSITIONS)


def test_a_final_state_is_left_by_another_wish_or_by_a_start_that_fails_alone() -> None:
    ways = {item.event for item in TRANSITIONS if item.state in FINAL}
    assert ways == {Event.SUPERSEDED, Event.FAILED_TO_START}


def test_a_start_that_fails_leads_back_from_wherever_the_configuration_is_in_use() -> None:
    assert all(allows(state, Event.FAILED_TO_START) for state in (State.APPLYING, State.PROBATION, State.COMMITTED))


def test_what_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(IllegalTransition):
        step(State.REJECTED, Event.PROVEN)
