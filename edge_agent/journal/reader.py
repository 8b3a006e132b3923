"""Reading agent.db on a connection of its own that cannot write.

Every read ends before it returns, or is made in pages: an open read transaction would keep the writer from recycling its WAL.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edge_agent.journal.batch import FLEET, Counts, JournalRow, OutboxRow

PAGE_ROWS: Final = 256
PAGE_BYTES: Final = 1024 * 1024
KEY_BYTES: Final = 16


class Reader:
    """Used on one thread, the one that made it. All methods raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5.0)

    def stream(self) -> str:
        """The random id of this file."""
        return str(self._connection.execute("SELECT stream FROM totals").fetchone()[0])

    def counts(self) -> Counts:
        """What the file holds."""
        return Counts._make(
            self._connection.execute(
                "SELECT journal_rows, outbox_rows, outbox_bytes, last_seq, last_event_no FROM totals"
            ).fetchone()
        )

    def journal_rows(self) -> Iterator[JournalRow]:
        """All journal rows in the order of their event numbers, read a page at a time."""
        after = -(2**63)
        while True:
            page = self._connection.execute(
                "SELECT event_no, topic, payload, qos, retain, properties, received FROM journal "
                "WHERE event_no > ? ORDER BY event_no LIMIT ?",
                (after, PAGE_ROWS),
            ).fetchall()
            for event_no, topic, payload, qos, retain, properties, received in page:
                yield JournalRow(event_no, topic, payload, qos, bool(retain), properties, received)
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]

    def taken_keys(self) -> list[bytes]:
        """Keys of the events taken over last, oldest first."""
        return [
            blob[start : start + KEY_BYTES]
            for (blob,) in self._connection.execute("SELECT keys FROM taken ORDER BY no").fetchall()
            for start in range(0, len(blob), KEY_BYTES)
        ]

    def pipeline_states(self, pipeline: str) -> dict[str, bytes]:
        """Key to state."""
        return dict(
            self._connection.execute("SELECT key, state FROM pipeline_state WHERE pipeline = ?", (pipeline,)).fetchall()
        )

    def values(self) -> dict[str, bytes]:
        """All key-value pairs."""
        return dict(self._connection.execute("SELECT key, value FROM value").fetchall())

    def outbox_page(
        self, link: str, after: int, *, rows: int = PAGE_ROWS, size: int = PAGE_BYTES
    ) -> tuple[list[OutboxRow], bool]:
        """Rows of one link with a seq above `after`, in order, and whether there may be more.

        A page ends with `rows` rows or with the row that brings it to `size` bytes of payload.
        """
        elsewhere = "" if link == FLEET else "link <> 'fleet' AND "  # lets SQLite use the partial index
        cursor = self._connection.execute(
            "SELECT seq, kind, topic, payload, durable FROM outbox "  # noqa: S608 - a constant
            f"WHERE {elsewhere}link = ? AND seq > ? ORDER BY seq LIMIT ?",
            (link, after, rows),
        )
        page: list[OutboxRow] = []
        read = 0
        for seq, kind, topic, payload, durable in cursor:
            page.append(OutboxRow(kind, topic, payload, durable=bool(durable), link=link, seq=seq))
            read += len(payload)
            if read >= size:
                cursor.close()
                return page, True
        return page, len(page) == rows

    def close(self) -> None:
        """Release the file."""
        self._connection.close()
