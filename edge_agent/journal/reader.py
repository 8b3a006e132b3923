"""Reading agent.db on a connection of its own that cannot write.

Every read ends before it returns, or is made in pages: an open read transaction would keep the writer from recycling its WAL.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from edge_agent.journal.batch import FLEET, Counts, DeadLetterRow, JournalRow, OutboxRow, Priority, Publishing
from edge_agent.journal.dead_letter_table import COLUMNS

PAGE_ROWS: Final = 256
PAGE_BYTES: Final = 1024 * 1024
KEY_BYTES: Final = 16
WALKED_SEQS: Final = 4096


_NEWEST: Final = 2**63 - 1


class Page(NamedTuple):
    """Some rows of the outbox."""

    rows: list[OutboxRow]
    after: int
    """Where the next page begins: no row of this link and class up to this seq is missing from the pages so far."""
    more: bool
    """Whether there may be more."""


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
                f"SELECT {', '.join(Counts._fields)} FROM totals"  # noqa: S608 - names of columns
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

    def outbox_page(self, link: str, priority: Priority, after: int, *, rows: int = PAGE_ROWS, size: int = PAGE_BYTES) -> Page:
        """Rows of one link and class with a seq above `after`, in order.

        A page ends with `rows` rows or with the row that brings it to `size` bytes of payload. Plain rows of the fleet link
        have no index: their page ends at the latest `WALKED_SEQS` behind its start, and may be empty although more follow.
        """
        if link == FLEET and priority is Priority.PLAIN:
            first = self._connection.execute("SELECT min(seq) FROM outbox WHERE seq > ?", (after,)).fetchone()[0]
            if first is None:
                return Page([], after, False)
            end = first + WALKED_SEQS
            cursor = self._connection.execute(
                "SELECT seq, kind, topic, payload, durable, publishing FROM outbox "
                "WHERE seq > ? AND seq < ? AND link = 'fleet' AND class = 2 ORDER BY seq LIMIT ?",
                (after, end, rows),
            )
            walked = end - 1
        else:
            cursor = self._connection.execute(
                "SELECT seq, kind, topic, payload, durable, publishing FROM outbox WHERE (link <> 'fleet' OR class <> 2) "
                "AND link = ? AND class = ? AND seq > ? ORDER BY seq LIMIT ?",
                (link, int(priority), after, rows),
            )
            walked = None
        page: list[OutboxRow] = []
        read = 0
        for seq, kind, topic, payload, durable, packed in cursor:
            publishing = None if packed is None else msgspec.msgpack.decode(packed, type=Publishing)
            page.append(
                OutboxRow(
                    kind,
                    topic,
                    payload,
                    durable=bool(durable),
                    link=link,
                    seq=seq,
                    priority=priority,
                    publishing=publishing,
                )
            )
            read += len(payload)
            if read >= size:
                cursor.close()
                return Page(page, seq, True)
        if len(page) == rows:
            return Page(page, page[-1].seq, True)
        if walked is None:
            return Page(page, page[-1].seq if page else after, False)
        beyond = self._connection.execute("SELECT 1 FROM outbox WHERE seq > ? LIMIT 1", (walked,)).fetchone()
        return Page(page, walked if beyond else page[-1].seq if page else after, beyond is not None)

    def dead_letters(self, after: int, *, through: int = _NEWEST, rows: int = PAGE_ROWS) -> list[tuple[int, DeadLetterRow]]:
        """Dead letters with numbers above `after` and up to `through`, oldest first, at most a page."""
        return self._letters("no > ? AND no <= ? ORDER BY no LIMIT ?", (after, through, rows))

    def dead_letter(self, number: int) -> DeadLetterRow | None:
        """One dead letter, None if there is none of that number."""
        found = self._letters("no = ?", (number,))
        return found[0][1] if found else None

    def newest_dead_letters(self, rows: int, topic: str | None, reason: str | None) -> list[tuple[int, int, DeadLetterRow]]:
        """(number, size, letter without its payload) of the newest letters, newest first."""
        found = self._connection.execute(
            f"SELECT no, length(payload), {COLUMNS} FROM dead_letter "  # noqa: S608 - a constant
            "WHERE (?1 IS NULL OR topic = ?1) AND (?2 IS NULL OR reason = ?2) ORDER BY no DESC LIMIT ?3",
            (topic, reason, rows),
        )
        return [(number, size, _letter(row)._replace(payload=b"")) for number, size, *row in found]

    def dead_letter_totals(self) -> tuple[int, int, int]:
        """How many there are, the bytes of their payloads, and the newest number."""
        rows, size, newest = self._connection.execute(
            "SELECT count(*), coalesce(sum(length(payload)), 0), coalesce(max(no), 0) FROM dead_letter"
        ).fetchone()
        return rows, size, newest

    def _letters(self, where: str, values: tuple[int, ...]) -> list[tuple[int, DeadLetterRow]]:
        found = self._connection.execute(f"SELECT no, {COLUMNS} FROM dead_letter WHERE {where}", values)  # noqa: S608 - constants
        return [(number, _letter(row)) for number, *row in found]

    def close(self) -> None:
        """Release the file."""
        self._connection.close()


def _letter(row: Sequence[Any]) -> DeadLetterRow:
    topic, payload, reason, detail, pipeline, qos, retain, properties, received, is_message = row
    return DeadLetterRow(topic, payload, reason, detail, pipeline, qos, bool(retain), properties, received, bool(is_message))
