"""The state machine of a rollout, as one table, and the states of a device inside it."""

from enum import StrEnum
from typing import Final


class RolloutState(StrEnum):
    """Where a rollout stands."""

    RUNNING = "running"
    PAUSED = "paused"
    """No further wave starts; by the operator, or by a failed gate (then there is a reason)."""
    DONE = "done"
    ABORTED = "aborted"
    """Ended early; every device keeps what it has."""
    RETURNED = "returned"
    """Ended; every device it had touched is told to go back to its previous release."""


class Event(StrEnum):
    """What moves a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    RETURN = "return"
    GATE_FAILED_PAUSE = "gate_failed_pause"
    GATE_FAILED_RETURN = "gate_failed_return"
    FINISH = "finish"


TRANSITIONS: Final[dict[tuple[RolloutState, Event], RolloutState]] = {
    (RolloutState.RUNNING, Event.PAUSE): RolloutState.PAUSED,
    (RolloutState.RUNNING, Event.ABORT): RolloutState.ABORTED,
    (RolloutState.RUNNING, Event.RETURN): RolloutState.RETURNED,
    (RolloutState.RUNNING, Event.GATE_FAILED_PAUSE): RolloutState.PAUSED,
    (RolloutState.RUNNING, Event.GATE_FAILED_RETURN): RolloutState.RETURNED,
    (RolloutState.RUNNING, Event.FINISH): RolloutState.DONE,
    (RolloutState.PAUSED, Event.RESUME): RolloutState.RUNNING,
    (RolloutState.PAUSED, Event.ABORT): RolloutState.ABORTED,
    (RolloutState.PAUSED, Event.RETURN): RolloutState.RETURNED,
    (RolloutState.DONE, Event.RETURN): RolloutState.RETURNED,
    (RolloutState.ABORTED, Event.RETURN): RolloutState.RETURNED,
}

ACTIVE: Final = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})
"""Two rollouts of one model in these states never share a device."""


class DeviceState(StrEnum):
    """Where one device stands in a rollout. Judged anew from the evidence at each look, so there is no table."""

    PENDING = "pending"
    """Its wave has not started."""
    ASSIGNED = "assigned"
    """Told, and not yet seen running the release."""
    ATTESTED = "attested"
    """Reports the release with the right digest, but is not (or no longer) known to be healthy with it."""
    HEALTHY = "healthy"
    """Healthy with it since `healthy_since`."""
    REJECTED = "rejected"
    """It refused the release, or took it back: the reason is its own."""
    LOST = "lost"
    """Did not attest in time, attests other bytes, or left the fleet."""
    RETURNED = "returned"
    """Told to go back to its previous release."""


FAILED: Final = frozenset({DeviceState.REJECTED, DeviceState.LOST})


class InvalidTransition(RuntimeError):
    """The rollout is not in a state in which this can be done."""


def follow(state: RolloutState, event: Event) -> RolloutState:
    """The state after `event`; raises InvalidTransition."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        allowed = sorted(event.value for known, event in TRANSITIONS if known is state)
        raise InvalidTransition(
            f"a rollout that is {state} cannot {event}; possible now: {', '.join(allowed) or 'nothing'}"
        ) from None
