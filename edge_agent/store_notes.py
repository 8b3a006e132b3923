"""Tells of what happens to agent.db: one note at once, then at most one a minute for each reason, with what has gathered."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from edge_agent.journal.batch import Priority
from edge_agent.journal.errors import StoreError, StoreFull
from edge_agent.journal.eviction import Cause
from edge_agent.journal.opening import Damaged
from edge_agent.journal.writer import Evicted
from edge_agent.notes import Notes
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason

INTERVAL: Final = 60.0
REFUSED_INTERVAL: Final = 600.0
_REASONS: Final = {Cause.ROWS: Reason.OUTBOX_FULL, Cause.BYTES: Reason.OUTBOX_FULL, Cause.AGE: Reason.OUTBOX_EXPIRED}
_CLASSES: Final = {Priority.NOTE: "notes", Priority.RESULT: "results", Priority.PLAIN: "plain"}


class Timers(Protocol):
    """What is needed of the loop."""

    def call_later(self, delay: float, call: Callable[[], object]) -> object: ...


class StoreNotes:
    """Gathers evictions and writes notes of them."""

    def __init__(self, notes: Notes, loop: Timers, *, now: Callable[[], float] = time.monotonic) -> None:
        self._notes = notes
        self._loop = loop
        self._now = now
        self._gone: dict[Reason, Counter[str]] = {}
        self._told: dict[Reason, float] = {}
        self._waiting: set[Reason] = set()
        self._refused: dict[Reason, float] = {}
        """When it was last told of a refusal."""

    def evicted(self, rows: Evicted) -> None:
        """Rows were dropped: `Store.on_evicted`."""
        for (cause, priority), count in rows.items():
            reason = _REASONS[cause]
            self._gone.setdefault(reason, Counter())[_CLASSES[priority]] += count
        for reason in list(self._gone):
            wait = self._told.get(reason, self._now() - INTERVAL) + INTERVAL - self._now()
            if wait <= 0:
                self._tell(reason)
            elif reason not in self._waiting:
                self._waiting.add(reason)
                self._loop.call_later(wait, lambda reason=reason: self._tell(reason))  # type: ignore[misc]

    def refused(self, error: StoreError) -> None:
        """A bound keeps events from being taken over: told of once in ten minutes."""
        if not isinstance(error, StoreFull):
            return
        now = self._now()
        if now - self._refused.get(error.reason, now - REFUSED_INTERVAL) >= REFUSED_INTERVAL:
            self._refused[error.reason] = now
            detail = f"{error}; events wait at the broker until there is room"
            self._notes.write(kind=NoteKind.STORE, reason=error.reason, detail=detail)

    def ballast_given_up(self) -> None:
        """The disk was full: `Store.on_ballast_given_up`."""
        self._notes.write(
            kind=NoteKind.STORE,
            reason=Reason.DISK_FULL,
            detail="the disk is full: the ballast file was given up so that the outbox can drain; no new events are taken over",
        )

    def set_aside(self, damaged: Damaged) -> None:
        """agent.db was damaged at the start: `Store.set_aside`."""
        held = damaged.held
        lost = (
            f"with {held.outbox_rows} rows in the outbox and {held.journal_rows} events in open windows"
            if held is not None
            else "and cannot tell what it held"
        )
        self._notes.write(
            kind=NoteKind.STORE,
            detail=f"agent.db was damaged; it was set aside {lost}, and a fresh one made",
            fields={"set_aside": str(damaged.path)}
            | ({"outbox_rows": held.outbox_rows, "journal_rows": held.journal_rows} if held is not None else {}),
        )

    def _tell(self, reason: Reason) -> None:
        self._waiting.discard(reason)
        gone = self._gone.pop(reason, None)
        if gone is None:
            return
        self._told[reason] = self._now()
        listed = ", ".join(f"{count} {name}" for name, count in gone.items())
        self._notes.write(
            kind=NoteKind.STORE,
            reason=reason,
            detail=f"rows dropped from the outbox: {listed}",
            fields={"dropped": dict(gone)},
        )
