"""Whether a batch that adds rows can be taken now, and what has to be evicted for it: bounds of agent.db and of the disk."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_agent.journal.ballast import Ballast
from edge_agent.journal.batch import Batch, Counts, Priority
from edge_agent.journal.errors import StoreFull
from edge_agent.journal.eviction import Bounds, Cause, Cut, must_pass, plan
from edge_agent.settings import StoreSettings
from fleet_contract.reasons import Reason

DISK_INTERVAL: Final = 1.0
"""Seconds between two looks at the free space of the disk."""


class Admission:
    """Asked by the writer before each batch.

    Args:
        unused: bytes inside agent.db that rows can be written to before the file grows.
        ballast: while it is given up, as much space is left to deletes and notes.
    """

    def __init__(
        self,
        folder: Path,
        settings: StoreSettings,
        unused: Callable[[], int],
        ballast: Ballast,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._unused = unused
        self._ballast = ballast
        self._clock = clock
        self._bounds = Bounds(settings.max_outbox_rows, settings.max_outbox_bytes, settings.evict_durable)
        self._disk_looked = -DISK_INTERVAL
        self._disk_full = False

    def judge(self, batch: Batch, counts: Counts) -> tuple[Cut, ...] | StoreFull:
        """What has to be evicted first, or why the batch is refused. A batch that only deletes always passes."""
        if not batch.adds():
            return ()
        settings = self._settings
        # what the batch itself forgets counts too: in a full journal nothing else makes room
        more, held, most = len(batch.journal) - len(batch.forget), counts.journal_rows, settings.max_journal_rows
        if more > 0 and held + more > most and not must_pass(held, more, most):
            return StoreFull(f"the journal is full: max_journal_rows is {settings.max_journal_rows}", Reason.JOURNAL_FULL)
        if not _only_notes(batch) and self._is_disk_full():
            return StoreFull(f"the disk is nearly full: min_free_bytes is {settings.min_free_bytes}", Reason.DISK_FULL)
        if not batch.outbox:
            return ()
        cuts = plan(counts, batch.outbox, self._bounds)
        if cuts is Cause.ROWS:
            return StoreFull(f"the outbox is full: max_outbox_rows is {settings.max_outbox_rows}", Reason.OUTBOX_FULL)
        if cuts is Cause.BYTES:
            return StoreFull(f"the outbox is full: max_outbox_bytes is {settings.max_outbox_bytes}", Reason.OUTBOX_FULL)
        assert isinstance(cuts, tuple)
        return cuts

    def _is_disk_full(self) -> bool:
        now = self._clock()
        if now - self._disk_looked >= DISK_INTERVAL:
            self._disk_looked = now
            # the file never shrinks: without what is unused in it, a disk that it has filled would stay full for ever
            room = free_bytes(self._folder) + self._unused() - self._ballast.missing
            self._disk_full = room < self._settings.min_free_bytes
        return self._disk_full

    def look_again(self) -> None:
        """What was known of the disk is not true any more."""
        self._disk_looked = -DISK_INTERVAL


def free_bytes(folder: Path) -> int:
    """Space that is left on the disk for this process. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _only_notes(batch: Batch) -> bool:
    return not batch.journal and all(row.priority is Priority.NOTE for row in batch.outbox)
