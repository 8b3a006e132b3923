"""What a change of configuration goes through, as one table, and where a restart goes on.

The diagram in `docs/configuration-machine.md` is generated from this file.
"""

from enum import StrEnum
from typing import Final

from edge_agent.transitions import Machine, Transition
from fleet_contract.configuration import ConfigurationState as State


class Event(StrEnum):
    """What moves a change from one state to the next."""

    BEGIN = "begin"
    """An attempt starts: the trust child is started."""
    ON_DISK = "on disk"
    """The verified bytes are still here, or nothing is to be fetched: the device's own file alone is desired."""
    ALREADY_CURRENT = "already current"
    """What is desired is what the agent runs with."""
    ON_TRIAL = "on trial"
    """The same, but it has not proven itself yet."""
    FETCHED = "fetched"
    """The signed bytes are on the device."""
    VALID = "valid"
    """Together with the device's own file they make a configuration."""
    APPLIED = "applied"
    """The agent runs with it: changed live, or started again."""
    PROVEN = "proven"
    """The broker was reached, and the pipelines give results as before."""
    BREACHED = "breached"
    """The broker was not reached, or a pipeline fell silent: the one before takes over."""
    FAILED_TO_START = "failed to start"
    """The agent does not come up with it: the one before takes over."""
    RETRY = "retry"
    """A temporary failure with attempts left."""
    FAILED = "failed"
    """A permanent failure, or the attempts are used up."""
    SUPERSEDED = "superseded"
    """Another revision or none is desired now."""


INITIAL: Final = State.WAITING

TRANSITIONS: Final = (
    Transition(State.WAITING, Event.BEGIN, State.FETCHING),
    Transition(State.WAITING, Event.ON_DISK, State.CHECKING),
    Transition(State.WAITING, Event.ALREADY_CURRENT, State.COMMITTED),
    Transition(State.WAITING, Event.ON_TRIAL, State.PROBATION),
    Transition(State.WAITING, Event.FAILED, State.REJECTED),
    Transition(State.WAITING, Event.SUPERSEDED, State.WAITING),
    Transition(State.FETCHING, Event.FETCHED, State.CHECKING),
    Transition(State.FETCHING, Event.RETRY, State.WAITING),
    Transition(State.FETCHING, Event.FAILED, State.REJECTED),
    Transition(State.FETCHING, Event.SUPERSEDED, State.WAITING),
    Transition(State.CHECKING, Event.VALID, State.APPLYING),
    Transition(State.CHECKING, Event.RETRY, State.WAITING),
    Transition(State.CHECKING, Event.FAILED, State.REJECTED),
    Transition(State.CHECKING, Event.SUPERSEDED, State.WAITING),
    Transition(State.APPLYING, Event.APPLIED, State.PROBATION),
    Transition(State.APPLYING, Event.FAILED_TO_START, State.ROLLED_BACK),
    Transition(State.PROBATION, Event.PROVEN, State.COMMITTED),
    Transition(State.PROBATION, Event.BREACHED, State.ROLLED_BACK),
    Transition(State.PROBATION, Event.FAILED_TO_START, State.ROLLED_BACK),
    Transition(State.PROBATION, Event.SUPERSEDED, State.WAITING),
    Transition(State.COMMITTED, Event.FAILED_TO_START, State.ROLLED_BACK),
    Transition(State.COMMITTED, Event.SUPERSEDED, State.WAITING),
    Transition(State.REJECTED, Event.SUPERSEDED, State.WAITING),
    Transition(State.ROLLED_BACK, Event.FAILED_TO_START, State.ROLLED_BACK),
    Transition(State.ROLLED_BACK, Event.SUPERSEDED, State.WAITING),
)
"""Applying has no way out by `superseded`: the agent starts with it first, then the next revision gets its turn."""

RESUME: Final[dict[State, State]] = {
    State.WAITING: State.WAITING,
    State.FETCHING: State.WAITING,
    State.CHECKING: State.WAITING,
    State.APPLYING: State.PROBATION,
    State.PROBATION: State.PROBATION,
    State.COMMITTED: State.COMMITTED,
    State.REJECTED: State.REJECTED,
    State.ROLLED_BACK: State.ROLLED_BACK,
}
"""Recorded state to the state that a start goes on in. What is being applied is recorded as the current one already, so any
start, asked for or not, begins its probation."""

FINAL: Final = frozenset({State.COMMITTED, State.REJECTED, State.ROLLED_BACK})

_MACHINE: Final = Machine("configuration", TRANSITIONS)
step: Final = _MACHINE.step
allows: Final = _MACHINE.allows
