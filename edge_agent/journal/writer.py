"""The thread "store-writer": the only one that writes agent.db. Batches that wait together share one transaction."""

import logging
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from edge_agent.journal.admission import Admission, free_bytes
from edge_agent.journal.answered_table import AnsweredTable, Quality
from edge_agent.journal.ballast import Ballast
from edge_agent.journal.batch import Batch, Counts, Priority
from edge_agent.journal.dead_letter_table import DeadLetterTable, Held
from edge_agent.journal.errors import StoreError, StoreFull, is_corrupt, is_full, to_store_error
from edge_agent.journal.eviction import Cause
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
CARE_INTERVAL: Final = 30.0
"""Seconds between two looks for rows that are too old."""
BALLAST_INTERVAL: Final = 2.0
"""Seconds between two attempts to make the ballast again."""
EXPIRED_AT_ONCE: Final = 1_000
"""How many rows one transaction deletes for their age at most, so that commits do not wait long behind it."""
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
Evicted = Counter[tuple[Cause, Priority]]
"""Rows evicted, by what made them go and by class."""


class Writer:
    """Applies jobs in order and hands them to `finished`, with the counts after them and what was evicted.

    `finished` is called on the writer thread, without jobs when only rows that were too old have gone.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        settings: StoreSettings,
        counts: Counts,
        finished: Callable[[Finished, Counts, Evicted], None],
        ballast: Ballast,
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
        self._dead_letters = DeadLetterTable(connection, settings)
        self._answered = AnsweredTable(connection, settings.remembered_answers)
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._keys: deque[tuple[int, int]] = deque(
            (no, length // KEY_BYTES) for no, length in connection.execute("SELECT no, length(keys) FROM taken ORDER BY no")
        )
        self._kept = sum(count for _, count in self._keys)
        self._next_keys_no = self._keys[-1][0] + 1 if self._keys else 1
        self._ballast = ballast
        self._admission = Admission(path.parent, settings, self._unused_bytes, ballast)
        self._evicted: Evicted = Counter()
        """Since `finished` was called."""
        self._cared = clock()
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

    @property
    def dead_letters(self) -> Held:
        """What the dead-letter store holds, as of the last commit."""
        return self._dead_letters.held

    @property
    def quality(self) -> Quality:
        """How right the remembered answers were, as of the last commit."""
        return self._answered.quality

    def _age_now(self) -> int:
        """The age clock: seconds that the agent has run with this file. Time while it was off does not count, nor do jumps."""
        return int(self._clock() + self._age_offset)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            jobs, stopping = self._gather()
            if jobs:
                self._tell(self._commit(jobs))
            if self._clock() >= self._next_care():
                self._care()
        self._connection.close()

    def _tell(self, outcomes: Finished) -> None:
        evicted, self._evicted = self._evicted, Counter()
        self._finished(outcomes, self._counts, evicted)

    def _gather(self) -> tuple[list[Job], bool]:
        """Wait for work; take all that waits. A job that is not urgent gives others a moment to join it."""
        jobs: list[Job] = []
        urgent = False
        deadline: float | None = None
        while len(jobs) < MERGED_BATCHES:
            try:
                if not jobs:
                    job = self._queue.get(timeout=max(self._next_care() - self._clock(), 0.05))
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
            if is_full(error) and self._ballast.give_up():
                self._admission.look_again()
                self._shrink_wal()
                return self._commit(jobs)
            if len(jobs) == 1:
                return [(jobs[0], self._failed(error))]
        return [outcome for job in jobs for outcome in self._commit([job])]

    def _shrink_wal(self) -> None:
        """What the WAL holds goes to the file, so that it begins anew in the space that it has."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.Error as error:
            log.warning("no checkpoint on the full disk", extra={"error": str(error)})

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

    def _next_care(self) -> float:
        return self._cared + (BALLAST_INTERVAL if self._ballast.missing else CARE_INTERVAL)

    def _care(self) -> None:
        """Delete what is too old and have the ballast, also while nothing comes."""
        self._cared = self._clock()
        try:
            if self._ballast.missing and self._ballast.make(free_bytes(self._path.parent) - self._settings.min_free_bytes):
                self._admission.look_again()
                self._tell([])
            if self._expire():
                self._cared -= CARE_INTERVAL  # there may be more
                self._tell([])
        except (sqlite3.Error, OSError) as error:
            self._failed(error)

    def _expire(self) -> int:
        """Delete rows for their age; how many."""
        ages = {Priority.PLAIN: self._settings.max_age, Priority.RESULT: self._settings.max_durable_age}
        ages[Priority.NOTE] = ages[Priority.RESULT]
        counts = self._counts
        evicted: Evicted = Counter()
        if not counts.outbox_rows:
            return 0
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for priority, age in ages.items():
                if age and (before := self._age_now() - int(age)) > 0:
                    gone, counts = self._outbox.expire(priority, before, EXPIRED_AT_ONCE, counts)
                    evicted[Cause.AGE, priority] = gone
            gone = evicted.total()
            if gone:
                connection.execute(_SET_TOTALS, (*counts, self._age_now()))
            connection.execute("COMMIT" if gone else "ROLLBACK")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._counts = counts
        self._evicted += evicted
        return gone

    def _unused_bytes(self) -> int:
        pages, size = (self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
        return int(pages) * int(size)

    def _transact(self, jobs: list[Job]) -> Finished:
        counts = self._counts
        evicted: list[tuple[Cause, Priority, int]] = []
        outcomes: Finished = []
        keys: list[bytes] = []
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        self._dead_letters.begin()
        self._answered.begin()
        try:
            for job in jobs:
                cuts = self._admission.judge(job.batch, counts)
                if isinstance(cuts, StoreFull):
                    outcomes.append((job, cuts))
                    continue
                for cut in cuts:
                    gone, counts = self._outbox.evict(cut, counts)
                    evicted.append((cut.cause, cut.priority, gone))
                counts = self._apply(job.batch, counts)
                keys += job.batch.taken
                outcomes.append((job, None))
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
        for cause, priority, gone in evicted:
            self._evicted[cause, priority] += gone
        self._dead_letters.committed()
        self._answered.committed()
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
        journal_rows, last_event_no = counts.journal_rows, max(counts.last_event_no, batch.last_event_no)
        if batch.journal:
            # as in `OutboxTable.add`: an int and a bytearray are bound in half the time of a bool and bytes
            rows = [(row[0], row[1], bytearray(row[2]), row[3], int(row[4]), *row[5:]) for row in batch.journal]
            connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            journal_rows += len(batch.journal)
            last_event_no = max(last_event_no, batch.journal[-1].event_no)
        if batch.outbox:
            counts = self._outbox.add(batch.outbox, self._age_now(), counts)
        if batch.dead_letters:
            self._dead_letters.add(batch.dead_letters)
        if batch.answered:
            self._answered.add(batch.answered)
        if batch.truths:
            self._answered.take(batch.truths)
        self._replace("pipeline_state", "pipeline = ? AND key = ?", batch.pipeline_states.items(), pairs=True)
        self._replace("value", "key = ?", batch.values.items(), pairs=False)
        for low, high in to_ranges(batch.forget):
            journal_rows -= connection.execute("DELETE FROM journal WHERE event_no BETWEEN ? AND ?", (low, high)).rowcount
        if batch.delivered:
            counts = self._outbox.settle(batch.delivered, counts)
        if batch.dead_letters_gone:
            self._dead_letters.remove(batch.dead_letters_gone)
        if journal_rows != counts.journal_rows or last_event_no != counts.last_event_no:
            counts = counts._replace(journal_rows=journal_rows, last_event_no=last_event_no)
        return counts

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
