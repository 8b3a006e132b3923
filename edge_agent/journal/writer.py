"""The thread "store-writer": the only one that writes agent.db. Batches that wait together share one transaction."""

import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from edge_agent.journal.batch import Batch, Counts
from edge_agent.journal.errors import StoreError, StoreFull, is_corrupt, to_store_error
from edge_agent.journal.opening import suspect_mark
from edge_agent.journal.outbox_table import OutboxTable
from edge_agent.journal.reader import KEY_BYTES
from edge_agent.settings import StoreSettings
from fleet_contract.messages import to_ranges

log = logging.getLogger(__name__)

KEPT_KEYS: Final = 65_536
"""How many recent event keys are kept at least."""
LAZY_DELAY: Final = 0.025
"""How long a batch that is not urgent waits for company (seconds): a transaction costs an fsync, whatever is in it."""
MERGED_BATCHES: Final = 64
DISK_INTERVAL: Final = 1.0
"""Seconds between two looks at the free space of the disk."""
_SET_TOTALS: Final = f"UPDATE totals SET {', '.join(f'{name} = ?' for name in Counts._fields)}, age_clock = ?"  # noqa: S608


def _seconds_since_boot() -> float:
    """Goes on during suspend, and never jumps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Job(NamedTuple):
    """A submitted batch."""

    batch: Batch
    done: Callable[[StoreError | None], None] | None
    urgent: bool


Finished = list[tuple[Job, StoreError | None]]


class Writer:
    """Applies jobs in order and hands them to `finished` (called on the writer thread) with the counts after them."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        settings: StoreSettings,
        counts: Counts,
        finished: Callable[[Finished, Counts], None],
        *,
        clock: Callable[[], float] = _seconds_since_boot,
    ) -> None:
        self._connection = connection
        self._path = path
        self._settings = settings
        self._counts = counts
        self._finished = finished
        self._clock = clock
        self._age_offset = connection.execute("SELECT age_clock FROM totals").fetchone()[0] - clock()
        self._outbox = OutboxTable(connection)
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._keys: deque[tuple[int, int]] = deque(
            (no, length // KEY_BYTES) for no, length in connection.execute("SELECT no, length(keys) FROM taken ORDER BY no")
        )
        self._kept = sum(count for _, count in self._keys)
        self._next_keys_no = self._keys[-1][0] + 1 if self._keys else 1
        self._disk_looked = -DISK_INTERVAL
        self._disk_full = False
        self.transactions = 0
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Any thread; jobs of one thread keep their order."""
        self._queue.put(job)

    def stop(self, timeout: float) -> bool:
        """Finish everything that was put before, close the file, end. False: not within `timeout` seconds."""
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _age_now(self) -> int:
        """The age clock: seconds that the agent has run with this file. Time while it was off does not count, nor do jumps."""
        return int(self._clock() + self._age_offset)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            jobs, stopping = self._gather()
            if jobs:
                self._finished(self._commit(jobs), self._counts)
        self._connection.close()

    def _gather(self) -> tuple[list[Job], bool]:
        """Wait for work; take all that waits. A job that is not urgent gives others a moment to join it."""
        jobs: list[Job] = []
        urgent = False
        deadline: float | None = None
        while len(jobs) < MERGED_BATCHES:
            try:
                if not jobs:
                    job = self._queue.get()
                elif urgent:
                    job = self._queue.get_nowait()
                else:
                    deadline = time.monotonic() + LAZY_DELAY if deadline is None else deadline
                    job = self._queue.get(timeout=max(deadline - time.monotonic(), 0.0))
            except Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
            urgent = urgent or job.urgent
        return jobs, False

    def _commit(self, jobs: list[Job]) -> Finished:
        """All jobs in one transaction; if that fails, each in its own, so that a bad one does not cost the others."""
        try:
            return self._transact(jobs)
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: whatever is in a batch, the thread goes on
            if len(jobs) == 1:
                return [(jobs[0], self._failed(error))]
        outcomes: Finished = []
        for job in jobs:
            try:
                outcomes += self._transact([job])
            except Exception as error:  # noqa: BLE001 - as above
                outcomes.append((job, self._failed(error)))
        return outcomes

    def _failed(self, error: Exception) -> StoreError:
        self.failures += 1
        if is_corrupt(error):
            try:
                suspect_mark(self._path).touch()
            except OSError as cannot:
                log.error("the damaged store could not be marked", extra={"error": str(cannot)})
        wrapped = to_store_error(error)
        log.error("a batch was not stored", extra={"error": str(wrapped), "temporary": wrapped.temporary})
        return wrapped

    def _transact(self, jobs: list[Job]) -> Finished:
        counts = self._counts
        outcomes: Finished = []
        keys: list[bytes] = []
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                refusal = self._refusal(job.batch, counts)
                if refusal is None:
                    counts = self._apply(job.batch, counts)
                    keys += job.batch.taken
                outcomes.append((job, refusal))
            if keys:
                connection.execute("INSERT INTO taken VALUES (?, ?)", (self._next_keys_no, b"".join(keys)))
            forgotten = self._keys_to_prune(len(keys))
            if forgotten:
                connection.execute("DELETE FROM taken WHERE no <= ?", (self._keys[forgotten - 1][0],))
            connection.execute(_SET_TOTALS, (*counts, self._age_now()))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._counts = counts
        self.transactions += 1
        for _ in range(forgotten):
            self._kept -= self._keys.popleft()[1]
        if keys:
            self._keys.append((self._next_keys_no, len(keys)))
            self._next_keys_no += 1
            self._kept += len(keys)
        return outcomes

    def _apply(self, batch: Batch, counts: Counts) -> Counts:
        connection = self._connection
        journal_rows, last_event_no = counts.journal_rows, counts.last_event_no
        if batch.journal:
            connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", batch.journal)
            journal_rows += len(batch.journal)
            last_event_no = max(last_event_no, batch.journal[-1].event_no)
        if batch.outbox:
            counts = self._outbox.add(batch.outbox, self._age_now(), counts)
        self._replace("pipeline_state", "pipeline = ? AND key = ?", batch.pipeline_states.items(), pairs=True)
        self._replace("value", "key = ?", batch.values.items(), pairs=False)
        for low, high in to_ranges(batch.forget):
            journal_rows -= connection.execute("DELETE FROM journal WHERE event_no BETWEEN ? AND ?", (low, high)).rowcount
        if batch.delivered:
            counts = self._outbox.settle(batch.delivered, counts)
        return counts._replace(journal_rows=journal_rows, last_event_no=max(last_event_no, batch.last_event_no))

    def _replace(self, table: str, where: str, items: Iterable[tuple[object, bytes | None]], *, pairs: bool) -> None:
        kept: list[tuple[object, ...]] = []
        removed: list[tuple[object, ...]] = []
        for key, value in items:
            columns = key if pairs and isinstance(key, tuple) else (key,)
            if value is None:
                removed.append(columns)
            else:
                kept.append((*columns, value))
        if kept:
            marks = "?, ?, ?" if pairs else "?, ?"
            self._connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", kept)  # noqa: S608 - as below
        if removed:
            self._connection.executemany(f"DELETE FROM {table} WHERE {where}", removed)  # noqa: S608 - both are constants

    def _refusal(self, batch: Batch, counts: Counts) -> StoreFull | None:
        """Why a batch that adds rows cannot be taken now."""
        if not batch.adds():
            return None
        bounds = self._settings
        # what the batch itself forgets counts too: in a full journal nothing else makes room
        if (more := len(batch.journal) - len(batch.forget)) > 0 and counts.journal_rows + more > bounds.max_journal_rows:
            return StoreFull(f"the journal is full: max_journal_rows is {bounds.max_journal_rows}")
        if batch.outbox:
            if counts.outbox_rows + len(batch.outbox) > bounds.max_outbox_rows:
                return StoreFull(f"the outbox is full: max_outbox_rows is {bounds.max_outbox_rows}")
            if counts.outbox_bytes + sum([len(row.payload) for row in batch.outbox]) > bounds.max_outbox_bytes:
                return StoreFull(f"the outbox is full: max_outbox_bytes is {bounds.max_outbox_bytes}")
        now = time.monotonic()
        if now - self._disk_looked >= DISK_INTERVAL:
            self._disk_looked = now
            disk = os.statvfs(self._path.parent)
            self._disk_full = disk.f_bavail * disk.f_frsize < bounds.min_free_bytes
        if self._disk_full:
            return StoreFull(f"the disk is nearly full: min_free_bytes is {bounds.min_free_bytes}")
        return None

    def _keys_to_prune(self, added: int) -> int:
        """How many of the oldest rows of keys can go while KEPT_KEYS keys remain."""
        left = self._kept + added
        prune = 0
        for _, count in self._keys:
            if left - count < KEPT_KEYS:
                break
            left -= count
            prune += 1
        return prune
