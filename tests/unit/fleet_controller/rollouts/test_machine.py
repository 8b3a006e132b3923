"""The table of a rollout."""

import pytest

from fleet_controller.rollouts.machine import ACTIVE, TRANSITIONS, Event, InvalidTransition, RolloutState, follow


def test_every_state_is_reached_from_running() -> None:
    reached = {RolloutState.RUNNING}
    while more := {after for (before, _), after in TRANSITIONS.items() if before in reached} - reached:
        reached |= more
    assert reached == set(RolloutState)


def test_what_has_ended_never_runs_again() -> None:
    ended = set(RolloutState) - ACTIVE
    assert not [event for (before, event), after in TRANSITIONS.items() if before in ended and after in ACTIVE]


def test_a_refused_transition_says_what_is_possible() -> None:
    with pytest.raises(InvalidTransition, match="paused cannot pause; possible now: abort, resume, return"):
        follow(RolloutState.PAUSED, Event.PAUSE)
