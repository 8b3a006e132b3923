"""The log of an update's states: what moved it from which to which, and why. Pure, and bounded: a loop fills no disk."""

from typing import Final

from edge_agent.updates.ledger import Ledger, Move, UpdateRecord
from edge_agent.updates.machine import FINAL, RESUME, Event, step
from fleet_contract.update_report import UpdateState as State

KEPT: Final = 32
"""Moves of one model, the newest."""
DESIRED: Final = "desired"
"""The word for the beginning: desired has named the release. From no state."""
RESTART: Final = "restart"
"""The word for a move of `RESUME`: the agent has started anew in the middle of an update."""


EXPLAINED: Final = frozenset({Event.HELD, Event.RETRY, Event.FAILED, Event.SUPERSEDED, Event.BREACHED, Event.BROKEN})
"""Events that have a reason. At the others a record may still carry that of an earlier attempt."""


def begin(ledger: Ledger, record: UpdateRecord) -> None:
    """A fresh record is the model's newest update now."""
    ledger.records[record.model] = record
    _keep(ledger, record, None, DESIRED, record.since)


def advance(ledger: Ledger, record: UpdateRecord, event: Event, now: str) -> None:
    """To the state after `event`; `record.reason` is why. Raises IllegalTransition. `now`: RFC 3339."""
    before = record.state
    record.state = step(before, event)
    record.since = now
    _keep(ledger, record, before, event, now)


def resume(ledger: Ledger, record: UpdateRecord, now: str) -> None:
    """To the state that a restart goes on in; one in the middle of an update is counted."""
    before = record.state
    record.state = RESUME[before]
    if before in FINAL or before is State.WAITING:
        return
    record.interruptions += 1
    _keep(ledger, record, before, RESTART, now)


def _keep(ledger: Ledger, record: UpdateRecord, before: State | None, event: str, now: str) -> None:
    reason = record.reason if event in EXPLAINED else None
    move = Move(time=now, release=record.release, before=before, event=event, after=record.state, reason=reason)
    ledger.history[record.model] = (*ledger.history.get(record.model, ()), move)[-KEPT:]
