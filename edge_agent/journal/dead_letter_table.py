"""The dead letters in agent.db: a bounded store that forgets the oldest, so that a broken sensor cannot fill the disk."""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from edge_agent.journal.batch import DeadLetterRow
from edge_agent.settings import StoreSettings

COLUMNS: Final = "topic, payload, reason, detail, pipeline, qos, retain, properties, received, is_message"
PAGE_ROWS: Final = 200
"""How many of the oldest are looked up at a time when room is made."""


class Held(NamedTuple):
    """What the table holds, and what it has dropped since the start."""

    rows: int
    size: int
    """Bytes of the payloads."""
    dropped: int = 0


class DeadLetterTable:
    """The table, over the writer's connection. `begin` and `committed` frame each transaction: a rollback undoes counts too."""

    def __init__(self, connection: sqlite3.Connection, settings: StoreSettings) -> None:
        self._connection = connection
        self._settings = settings
        found = connection.execute("SELECT count(*), coalesce(sum(length(payload)), 0) FROM dead_letter").fetchone()
        self.held = Held(*found)
        """As of the last commit."""
        self._staged = self.held

    def begin(self) -> None:
        """A transaction begins."""
        self._staged = self.held

    def committed(self) -> None:
        """It is on disk."""
        self.held = self._staged

    def add(self, letters: Sequence[DeadLetterRow]) -> None:
        """Insert, and drop the oldest beyond the bounds; a letter that is larger than all that may be kept keeps no payload."""
        most = self._settings.max_dead_letter_bytes
        rows = [letter if len(letter.payload) <= most else letter._replace(payload=b"", is_message=False) for letter in letters]
        self._connection.executemany(
            f"INSERT INTO dead_letter ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
            [(*row[:6], int(row.retain), row.properties, row.received, int(row.is_message)) for row in rows],
        )
        held = self._staged
        self._staged = Held(held.rows + len(rows), held.size + sum([len(row.payload) for row in rows]), held.dropped)
        self._make_room()

    def remove(self, numbers: Sequence[int]) -> None:
        """Take letters away that somebody has dealt with; unknown ones are ignored."""
        for number in numbers:
            delete = "DELETE FROM dead_letter WHERE no = ? RETURNING length(payload)"
            found = self._connection.execute(delete, (number,)).fetchone()
            if found is not None:
                held = self._staged
                self._staged = held._replace(rows=held.rows - 1, size=held.size - found[0])

    def _make_room(self) -> None:
        bounds = self._settings
        rows, size, dropped = self._staged
        while rows > bounds.max_dead_letters or size > bounds.max_dead_letter_bytes:
            gone = 0
            page = self._connection.execute(
                "SELECT no, length(payload) FROM dead_letter ORDER BY no LIMIT ?", (PAGE_ROWS,)
            ).fetchall()
            for number, length in page:
                if rows <= bounds.max_dead_letters and size <= bounds.max_dead_letter_bytes:
                    break
                rows, size, dropped, gone = rows - 1, size - length, dropped + 1, number
            self._connection.execute("DELETE FROM dead_letter WHERE no <= ?", (gone,))
        self._staged = Held(rows, size, dropped)
