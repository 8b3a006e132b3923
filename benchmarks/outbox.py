"""Rows per second, CPU and bytes written of the outbox at several group sizes, beside raw sqlite3.

Each subject stores all rows in groups, one group after the other has been committed, and then deletes them in the same groups;
both have WAL and `synchronous = FULL`. The raw script has one table of three columns, no counts, no second thread, no bounds.
Bytes are what the kernel has written to storage for this process (`write_bytes`), WAL and checkpoints included; the files lie
below `build/`, which should be on a disk.
"""

import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.figures import FOLDER, Figure, write
from edge_agent.health.probes import written_bytes
from edge_agent.journal.batch import Batch, OutboxRow
from edge_agent.journal.store import Store
from edge_agent.loop import Loop
from edge_agent.settings import StoreSettings

GROUPS: Final = {1: 1_000, 10: 5_000, 100: 30_000, 1000: 100_000}
"""Group size to the number of rows."""
ROUNDS: Final = 3
TOPIC: Final = "sh/v1/farm-1/up/result/frost"
PAYLOAD: Final = b'{"stream":"","seq":0,"result_id":"0123456789abcdef"' + b',"window":{"kind":"count"}' * 22 + b"}"
"""As long as a usual result: about 600 bytes."""


class Measured:
    """Values of several rounds for one subject and group size."""

    def __init__(self) -> None:
        self.stored: list[float] = []
        self.settled: list[float] = []
        self.cpu: list[float] = []
        self.written: list[float] = []

    def take(self, rows: int, store: Callable[[], None], settle: Callable[[], None]) -> None:
        """One round: storing and deleting so many rows."""
        written, cpu = written_bytes() or 0, time.process_time()
        start = time.perf_counter()
        store()
        between = time.perf_counter()
        settle()
        end = time.perf_counter()
        self.stored.append(rows / (between - start))
        self.settled.append(rows / (end - between))
        self.cpu.append((time.process_time() - cpu) / rows * 1e6)
        self.written.append(((written_bytes() or 0) - written) / rows)


def measure_store(folder: Path, group: int, rows: int, into: Measured) -> None:
    """Our store, as the engine and the sender use it."""
    loop = Loop()
    store = Store(folder / "agent.db", StoreSettings(ballast_bytes=0), loop.post)
    answers: list[object] = []

    def commit(batch: Batch) -> None:
        answers.clear()
        store.submit(batch, answers.append)
        while not answers:
            loop.turn(1.0)
        if answers[0] is not None:
            raise RuntimeError(answers[0])

    def store_all() -> None:
        for _ in range(rows // group):
            commit(Batch(outbox=[OutboxRow("result", TOPIC, PAYLOAD, durable=False) for _ in range(group)]))

    def settle_all() -> None:
        for first in range(1, rows + 1, group):
            commit(Batch(delivered=list(range(first, first + group))))

    into.take(rows, store_all, settle_all)
    store.close()
    loop.close()


def measure_raw(folder: Path, group: int, rows: int, into: Measured) -> None:
    """A script that does the same with the standard library alone."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE outbox (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL)")

    def store_all() -> None:
        for first in range(1, rows + 1, group):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO outbox VALUES (?, ?, ?)", [(seq, TOPIC, PAYLOAD) for seq in range(first, first + group)]
            )
            connection.execute("COMMIT")

    def settle_all() -> None:
        for first in range(1, rows + 1, group):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM outbox WHERE seq BETWEEN ? AND ?", (first, first + group - 1))
            connection.execute("COMMIT")

    into.take(rows, store_all, settle_all)
    connection.close()


def main() -> None:
    """Measure and print; the subjects take turns."""
    ours, raw = ({group: Measured() for group in GROUPS} for _ in range(2))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for _ in range(ROUNDS):
        for group, rows in GROUPS.items():
            for measure, into in ((measure_store, ours), (measure_raw, raw)):
                with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
                    measure(Path(folder), group, rows, into[group])
    figures = []
    for group in GROUPS:
        mine, other = ours[group], raw[group]
        figures += [
            Figure(f"stored_rows_per_second_{group}", "rows/s", mine.stored, other.stored, "raw_sqlite3"),
            Figure(f"settled_rows_per_second_{group}", "rows/s", mine.settled, other.settled, "raw_sqlite3"),
            Figure(f"cpu_per_row_{group}", "us", mine.cpu, other.cpu, "raw_sqlite3"),
            Figure(f"written_bytes_per_row_{group}", "bytes", mine.written, other.written, "raw_sqlite3"),
        ]
    write("outbox", figures)


if __name__ == "__main__":
    main()
