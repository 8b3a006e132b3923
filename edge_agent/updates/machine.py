"""The update machine as one table: states, events, transitions, and where to go on after a crash.

The diagram in `docs/update-machine.md` is generated from this file.
"""

from enum import StrEnum
from typing import Final

from edge_agent.transitions import Machine, Transition
from fleet_contract.update_report import UpdateState as State


class Event(StrEnum):
    """What moves an update from one state to the next."""

    BEGIN = "begin"
    """An attempt starts: the trust child is started."""
    ALREADY_ACTIVE = "already active"
    """The desired release is the one that answers."""
    FETCHED = "fetched"
    """All bytes are on the device."""
    ON_DISK = "on disk"
    """The bundle is still unpacked from earlier, so nothing has to be fetched."""
    VERIFIED = "verified"
    """The bytes are the signed ones, and the bundle is sound."""
    STAGED = "staged"
    PASSED = "passed"
    """The golden samples gave the expected answers in a fresh worker."""
    UNSHADOWED = "nothing to shadow"
    """The same, and there is no incumbent to stand beside, or the rollout or the device skips it."""
    SHADOWED = "shadowed"
    """It did well on live inputs beside the incumbent, unpublished."""
    ACTIVATED = "activated"
    PROVEN = "proven"
    """It did well on live inputs after the switch."""
    BREACHED = "breached"
    """It broke a limit after the switch: the release before takes over."""
    HELD = "held"
    """A condition holds it back: it waits, and that is no failure."""
    RETRY = "retry"
    """A temporary failure with attempts left."""
    FAILED = "failed"
    """A permanent failure, or the attempts are used up."""
    SUPERSEDED = "superseded"
    """Desired names another release or none."""
    BROKEN = "broken"
    """The active model can no longer be loaded, and the one before it takes over."""


INITIAL: Final = State.WAITING

TRANSITIONS: Final = (
    Transition(State.WAITING, Event.BEGIN, State.FETCHING),
    Transition(State.WAITING, Event.ALREADY_ACTIVE, State.COMMITTED),
    Transition(State.WAITING, Event.FAILED, State.REJECTED),
    Transition(State.WAITING, Event.SUPERSEDED, State.REJECTED),
    Transition(State.FETCHING, Event.FETCHED, State.VERIFYING),
    Transition(State.FETCHING, Event.ON_DISK, State.TESTING),
    Transition(State.FETCHING, Event.RETRY, State.WAITING),
    Transition(State.FETCHING, Event.HELD, State.WAITING),
    Transition(State.FETCHING, Event.FAILED, State.REJECTED),
    Transition(State.FETCHING, Event.SUPERSEDED, State.REJECTED),
    Transition(State.VERIFYING, Event.VERIFIED, State.STAGING),
    Transition(State.VERIFYING, Event.RETRY, State.WAITING),
    Transition(State.VERIFYING, Event.FAILED, State.REJECTED),
    Transition(State.VERIFYING, Event.SUPERSEDED, State.REJECTED),
    Transition(State.STAGING, Event.STAGED, State.TESTING),
    Transition(State.STAGING, Event.RETRY, State.WAITING),
    Transition(State.STAGING, Event.HELD, State.WAITING),
    Transition(State.STAGING, Event.FAILED, State.REJECTED),
    Transition(State.STAGING, Event.SUPERSEDED, State.REJECTED),
    Transition(State.TESTING, Event.PASSED, State.SHADOWING),
    Transition(State.TESTING, Event.UNSHADOWED, State.ACTIVATING),
    Transition(State.TESTING, Event.RETRY, State.WAITING),
    Transition(State.TESTING, Event.HELD, State.WAITING),
    Transition(State.TESTING, Event.FAILED, State.REJECTED),
    Transition(State.TESTING, Event.SUPERSEDED, State.REJECTED),
    Transition(State.SHADOWING, Event.SHADOWED, State.ACTIVATING),
    Transition(State.SHADOWING, Event.RETRY, State.WAITING),
    Transition(State.SHADOWING, Event.HELD, State.WAITING),
    Transition(State.SHADOWING, Event.FAILED, State.REJECTED),
    Transition(State.SHADOWING, Event.SUPERSEDED, State.REJECTED),
    Transition(State.ACTIVATING, Event.ACTIVATED, State.PROBATION),
    Transition(State.ACTIVATING, Event.FAILED, State.REJECTED),
    Transition(State.PROBATION, Event.PROVEN, State.COMMITTED),
    Transition(State.PROBATION, Event.BREACHED, State.ROLLED_BACK),
    Transition(State.PROBATION, Event.BROKEN, State.ROLLED_BACK),
    Transition(State.PROBATION, Event.SUPERSEDED, State.ROLLED_BACK),
    Transition(State.COMMITTED, Event.BROKEN, State.ROLLED_BACK),
)
"""Activating has no way out by `superseded`: the swap is finished or refused first, then the next release gets its turn."""

RESUME: Final[dict[State, State]] = {
    State.WAITING: State.WAITING,
    State.FETCHING: State.WAITING,
    State.VERIFYING: State.WAITING,
    State.STAGING: State.STAGING,
    State.TESTING: State.TESTING,
    State.SHADOWING: State.TESTING,
    State.ACTIVATING: State.TESTING,
    State.PROBATION: State.PROBATION,
    State.COMMITTED: State.COMMITTED,
    State.REJECTED: State.REJECTED,
    State.ROLLED_BACK: State.ROLLED_BACK,
}
"""Persisted state to the state that a restart goes on in. A part file outlives the restart, so fetching again is cheap; a
swap that was cut off left the incumbent as the recorded active model, so the candidate is tested again. What it did as a shadow
is forgotten with its worker; what it did on probation counts on."""

FINAL: Final = frozenset({State.COMMITTED, State.REJECTED, State.ROLLED_BACK})

SETTLED: Final = FINAL | {State.PROBATION}
"""Nothing is to be done but to watch: another model's update may have its turn."""

_MACHINE: Final = Machine("update machine", TRANSITIONS)
step: Final = _MACHINE.step
allows: Final = _MACHINE.allows
