"""The group commits of the engine: what waits is written together, and acknowledged when it is on disk.

A commit starts as soon as the writer is free and every event that waits is done, or the oldest has waited `commit_delay`, or
`commit_rows` wait. A refused commit (full disk, full outbox) is tried again, and until it succeeds nothing is acknowledged.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from edge_agent.ingest.kept import to_kept
from edge_agent.journal.batch import Batch, JournalRow, pack_properties
from edge_agent.journal.errors import StoreError, StoreFull
from edge_agent.link.port import Delivery
from edge_agent.loop import Loop, Timer
from edge_agent.settings import StoreSettings
from edge_agent.taking import KEPT, PLACED, SKIPPED, GroupCommit

log = logging.getLogger(__name__)

RETRY_MIN: Final = 0.5
RETRY_MAX: Final = 30.0
FULL_RETRY_MAX: Final = 1.0
"""A bound is asked without touching the disk, and room comes as soon as the controller is back."""


class Committing(Protocol):
    """What is needed of the store."""

    def submit(self, batch: Batch, done: Callable[[StoreError | None], None] | None = None, *, urgent: bool = True) -> None: ...


class Commits:
    """One commit runs at a time; what comes meanwhile is gathered for the next.

    Args:
        event_no: the highest event number given so far.
        acknowledge: deliveries that are on disk, in order of arrival.
        on_scored: (model, release, seconds from arrival to commit) of each committed result of a model.
        on_refused: the first commit since the last one that passed was refused and will be tried again.
        on_broken: a commit failed for good; no further one is made.
    """

    def __init__(
        self,
        settings: StoreSettings,
        loop: Loop,
        store: Committing,
        counters: Counter[str],
        event_no: int,
        *,
        acknowledge: Callable[[Sequence[Delivery]], None],
        on_scored: Callable[[str, int, float], None],
        on_refused: Callable[[StoreError], None],
        on_broken: Callable[[StoreError], None],
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._store = store
        self._counters = counters
        self._acknowledge = acknowledge
        self._on_scored = on_scored
        self._on_refused = on_refused
        self._on_broken = on_broken
        self._running: GroupCommit | None = None
        self._retry_delay = RETRY_MIN
        self._timer: Timer | None = None
        self.next = GroupCommit()
        self.event_no = event_no
        """The highest given so far."""
        self.refused = False
        """The last commit was refused, and the time to try again has not come."""
        self.gathering = False
        """Deliveries are being taken over: a commit now could hold the acknowledgement of one without its journal row."""
        self.qos0_waiting = 0
        """Events of QoS 0 that are not committed."""
        self.count = 0

    @property
    def idle(self) -> bool:
        """Whether everything is committed."""
        return self._running is None and self.next.oldest is None

    def flush(self) -> None:
        """Start the next group commit if it is time."""
        pending = self.next
        if self.gathering or self.refused or self._running is not None or pending.oldest is None:
            return
        wait = self._settings.commit_delay - (time.monotonic() - pending.oldest)
        if pending.waiting and wait > 0 and len(pending.takings) < self._settings.commit_rows:
            if self._timer is None:
                self._timer = self._loop.call_later(wait, self._flush_now)
            return
        self._commit(pending)

    def _flush_now(self) -> None:
        self._timer = None
        self.flush()

    def _commit(self, pending: GroupCommit) -> None:
        self.next, self._running = GroupCommit(), pending
        received = time.time()
        for taking in pending.takings:
            if taking.holds and taking.delivery is not None:
                delivery = taking.delivery
                taking.journaled = True
                properties = delivery.properties
                if taking.decoded is not None:
                    properties = {**properties, KEPT: {name: to_kept(item) for name, item in taking.decoded.items()}}
                if taking.placed is not None:
                    properties = {**properties, PLACED: taking.placed}
                if taking.skipped:
                    properties = {**properties, SKIPPED: taking.skipped}
                pending.batch.journal.append(
                    JournalRow(
                        taking.event_no,
                        delivery.topic,
                        delivery.payload,
                        delivery.qos,
                        delivery.retain,
                        pack_properties(properties),
                        received,
                    )
                )
            taking.delivery = None
        pending.takings.clear()
        for (name, key), pipeline in pending.states.items():
            pending.batch.pipeline_states[name, key] = pipeline.state(key)
        pending.batch.last_event_no = self.event_no
        self._store.submit(pending.batch, self._committed)

    def _committed(self, error: StoreError | None) -> None:
        pending = self._running
        assert pending is not None
        if error is not None:
            self._counters["commits_refused"] += 1
            if not error.temporary:
                self._on_broken(error)  # the daemon ends, and what was not acknowledged comes again
                return
            first = self._retry_delay == RETRY_MIN
            if first or self._retry_delay > FULL_RETRY_MAX:  # not once a second for hours
                log.warning("commit refused, acknowledgements wait", extra={"error": str(error), "retry_s": self._retry_delay})
            if first:
                self._on_refused(error)
            # What comes meanwhile joins it: the journal rows that are done by then are what makes room in a full journal.
            pending.append(self.next)
            self._save_notes(pending)
            self.next, self._running, self.refused = pending, None, True
            self._loop.call_later(self._retry_delay, self._try_again)
            self._retry_delay = min(self._retry_delay * 2, FULL_RETRY_MAX if isinstance(error, StoreFull) else RETRY_MAX)
            return
        self._retry_delay = RETRY_MIN
        self._running = None
        self.qos0_waiting -= pending.qos0
        self.count += 1
        try:
            if pending.deliveries:
                self._acknowledge(pending.deliveries)
            now = time.monotonic()
            for model, release, started in pending.scored:
                self._on_scored(model, release, now - started)
        finally:
            self.flush()

    def _save_notes(self, refused: GroupCommit) -> None:
        """A full outbox still has room for notes: they go ahead alone, without waiting for what is refused with them."""
        rows = refused.batch.outbox
        notes = [row for row in rows if row.kind == "note"]
        if not notes:
            return
        refused.batch.outbox = [row for row in rows if row.kind != "note"]

        def done(error: StoreError | None) -> None:
            if error is not None:
                self.next.batch.outbox += notes
                self.next.touch()
                self.flush()

        self._store.submit(Batch(outbox=notes), done, urgent=False)

    def _try_again(self) -> None:
        self.refused = False
        self.next.drop_finished()
        self._commit(self.next)
