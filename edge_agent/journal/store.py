"""The door of the journal: submit batches from the loop's thread, be called back when they are on disk."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge_agent.journal.admission import free_bytes
from edge_agent.journal.answered_table import Quality
from edge_agent.journal.ballast import Ballast
from edge_agent.journal.batch import Batch, Counts, JournalRow, OutboxRow, Priority
from edge_agent.journal.dead_letter_table import Held
from edge_agent.journal.errors import StoreError, StoreFull, find_fault, is_full
from edge_agent.journal.eviction import Cause
from edge_agent.journal.opening import Damaged, open_writable, take_lock
from edge_agent.journal.reader import Reader
from edge_agent.journal.writer import Evicted, Finished, Job, Writer
from edge_agent.settings import StoreSettings
from fleet_contract.reasons import Reason


class Store:
    """agent.db. Everything is called on the loop's thread; the writer thread only posts to it."""

    def __init__(self, path: Path, settings: StoreSettings, post: Callable[..., None]) -> None:
        """Open or make the file and start the writer.

        Raises StoreInUse (another process has it), StoreTooNew (written by a newer release) or StoreError. A damaged file does
        not raise: it is moved to `set_aside`, and a fresh one is made with a new `stream`.
        """
        self._path = Path(path)
        self._post = post
        self._waiting = 0
        self._listeners: list[Callable[[list[OutboxRow]], object]] = []
        self._evicted: Evicted = Counter()
        self.on_evicted: Callable[[Evicted], object] = lambda _: None
        self.fault: Reason | None = None
        """What is wrong with the disk; None once a commit has passed again."""
        """Called on the loop with the rows that bounds have made go: rows by (cause, class)."""
        self._ballast_told = 0
        self.on_ballast_given_up: Callable[[], object] = lambda: None
        """Called on the loop when the disk was full."""
        self._lock = take_lock(self._path)
        self._ballast = Ballast(self._path.with_name(f"{self._path.name}.ballast"), settings.ballast_bytes)
        try:
            connection, self.set_aside = self._open()
            self._ballast.make(free_bytes(self._path.parent) - settings.min_free_bytes)
        except BaseException:
            os.close(self._lock)
            raise
        self._reader = Reader(self._path)
        self.stream = self._reader.stream()
        """Random id of this file, made once; with a seq it names a durable message for ever."""
        self.counts: Counts = self._reader.counts()
        """As of the last commit whose `done` was called."""
        self._seq = self.counts.last_seq
        self._writer = Writer(connection, self._path, settings, self.counts, self._finished, self._ballast)
        self._writer.start()

    def _open(self) -> tuple[sqlite3.Connection, Damaged | None]:
        try:
            return open_writable(self._path)
        except StoreError as error:
            if error.__cause__ is None or not is_full(error.__cause__) or not self._ballast.give_up():
                raise
            return open_writable(self._path)

    @property
    def busy(self) -> bool:
        """An urgent batch is being committed or waits."""
        return self._waiting > 0

    def submit(self, batch: Batch, done: Callable[[StoreError | None], None] | None = None, *, urgent: bool = True) -> None:
        """Commit `batch`, then call `done(None)` on the loop: it is on disk. Callbacks come in the order of submission.

        `done(error)`: nothing of the batch was applied. With `error.temporary` (disk full or failing, a bound reached) the
        caller keeps the batch and submits it again later; its outbox rows then get new seqs, or the same if none were given
        since: a batch that is refused for days must not use up millions. Batches that wait share a transaction. One that is
        not urgent waits up to 25 ms for another to join and does not count as `busy`.
        """
        rows = batch.outbox
        refused = sum(1 for row in rows if row.seq) if rows and rows[0].seq else 0
        seq = rows[0].seq - 1 if refused and rows[refused - 1].seq == self._seq else self._seq
        for row in rows:
            seq += 1
            row.seq = seq
        self._seq = seq
        if urgent:
            self._waiting += 1
        self._writer.put(Job(batch, done, urgent))

    def on_outbox(self, call: Callable[[list[OutboxRow]], object]) -> None:
        """Have `call(rows)` called on the loop after each commit of outbox rows, in order of seq and before their `done`."""
        self._listeners.append(call)

    def open_reader(self) -> Reader:
        """A read-only connection for the calling thread, which also closes it."""
        return Reader(self._path)

    def journal_rows(self) -> Iterator[JournalRow]:
        """What open windows are rebuilt from, in order of event number. At start, before the first `submit`."""
        return self._reader.journal_rows()

    def taken_keys(self) -> list[bytes]:
        """Keys of the events taken over last (about 65,536), oldest first."""
        return self._reader.taken_keys()

    def pipeline_states(self, pipeline: str) -> dict[str, bytes]:
        """Key to stored state of one pipeline."""
        return self._reader.pipeline_states(pipeline)

    def values(self) -> dict[str, bytes]:
        """The stored key-value pairs."""
        return self._reader.values()

    @property
    def ballast_missing(self) -> bool:
        """Whether there should be a ballast file and is none."""
        return self._ballast.missing > 0

    def stats(self) -> dict[str, int]:
        """Counters since the start."""
        by_cause, by_class = Counter[Cause](), Counter[Priority]()
        for (cause, priority), rows in self._evicted.items():
            by_cause[cause] += rows
            by_class[priority] += rows
        return {
            "store_transactions": self._writer.transactions,
            "store_failures": self._writer.failures,
            "dead_letters_dropped": self._writer.dead_letters.dropped,
            **self._writer.quality.counters,
            "store_ballast_given_up": self._ballast.given_up,
            "outbox_evicted_rows": by_cause[Cause.ROWS],
            "outbox_evicted_bytes": by_cause[Cause.BYTES],
            "outbox_evicted_age": by_cause[Cause.AGE],
            "outbox_evicted_notes": by_class[Priority.NOTE],
            "outbox_evicted_results": by_class[Priority.RESULT],
            "outbox_evicted_plain": by_class[Priority.PLAIN],
        }

    @property
    def dead_letters(self) -> Held:
        """What the dead-letter store holds."""
        return self._writer.dead_letters

    @property
    def quality(self) -> Quality:
        """How right the remembered answers were, as far as is known."""
        return self._writer.quality

    def close(self, timeout: float = 10.0) -> bool:
        """Commit what waits (its callbacks are still posted), close the file, end the thread. False: not within `timeout` s."""
        self._reader.close()
        ended = self._writer.stop(timeout)
        if ended:
            os.close(self._lock)
        return ended

    def _finished(self, outcomes: Finished, counts: Counts, evicted: Evicted) -> None:
        self._post(self._report, outcomes, counts, evicted)

    def _report(self, outcomes: Finished, counts: Counts, evicted: Evicted) -> None:
        self.counts = counts
        for job, error in outcomes:
            if job.urgent:
                self._waiting -= 1
            if not isinstance(error, StoreFull):  # a bound of ours says nothing of the disk
                self.fault = find_fault(error, self._path) if error is not None else None
        rows = [row for job, error in outcomes if error is None for row in job.batch.outbox]
        calls: list[tuple[Callable[[Any], object], Any]] = [(listener, rows) for listener in self._listeners] if rows else []
        calls += [(job.done, error) for job, error in outcomes if job.done is not None]
        if evicted:
            self._evicted += evicted
            calls.append((self.on_evicted, evicted))
        if self._ballast.given_up > self._ballast_told:
            self._ballast_told = self._ballast.given_up
            calls.append((lambda _: self.on_ballast_given_up(), None))
        failed: list[Exception] = []
        for call, argument in calls:
            try:
                call(argument)
            except Exception as raised:  # noqa: BLE001 - one callback must not cost the others theirs; raised again below
                failed.append(raised)
        if failed:
            raise failed[0]


def read_counts(path: Path) -> Counts:
    """What a store holds that another process may have open. Raises sqlite3.Error."""
    reader = Reader(path)
    try:
        return reader.counts()
    finally:
        reader.close()
