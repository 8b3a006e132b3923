"""The outbox rows in agent.db, for the writer thread: add, settle, evict.

Each method takes the counts and returns the new ones. Called inside a transaction; what it keeps in memory stays right if that
is rolled back.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from edge_agent.journal.batch import FLEET, SITE, Counts, OutboxRow, Priority
from edge_agent.journal.eviction import Cut
from fleet_contract.messages import to_ranges

PAGE_ROWS: Final = 1000
"""How many rows an eviction looks up at a time."""

_OLDEST_FLEET_PLAIN: Final = (
    f"SELECT seq, length(payload), stored FROM outbox WHERE seq > ? AND link = '{FLEET}' AND class = {int(Priority.PLAIN)} "  # noqa: S608
    "ORDER BY seq LIMIT ?"
)
_OLDEST_SORTED: Final = (
    "SELECT seq, length(payload), stored FROM outbox "
    "WHERE (link <> 'fleet' OR class <> 2) AND link = ? AND class = ? AND seq > ? ORDER BY seq LIMIT ?"
)
_LOAD_OF_RANGE: Final = (
    "SELECT count(*), sum(size), sum(class = 1), sum((class = 1) * size), sum(class = 2), sum((class = 2) * size) "
    "FROM (SELECT class, length(payload) AS size FROM outbox WHERE seq BETWEEN ? AND ?)"
)


class OutboxTable:
    """The table, over the writer's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._no_fleet_plain_to = 0
        """Up to this seq there is no plain row of the fleet link: they have no index, and are not searched for twice."""

    def add(self, rows: Sequence[OutboxRow], stored: int, counts: Counts) -> Counts:
        """Insert rows that came when the age clock stood at `stored`."""
        # sqlite3 looks for an adapter of each bool and bytes, but not of an int or a bytearray: half a microsecond and more
        self._connection.executemany(
            "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    row.seq,
                    row.link,
                    row.kind,
                    1 if row.durable else 0,
                    row.topic,
                    bytearray(row.payload),
                    int(row.priority),
                    stored,
                    None if row.publishing is None else msgspec.msgpack.encode(row.publishing),
                )
                for row in rows
            ],
        )
        size = results = result_size = plain = plain_size = 0
        for row in rows:
            length = len(row.payload)
            size += length
            if row.priority is Priority.PLAIN:
                plain += 1
                plain_size += length
            elif row.priority is Priority.RESULT:
                results += 1
                result_size += length
        return _changed(counts, 1, (len(rows), size, results, result_size, plain, plain_size), rows[-1].seq)

    def settle(self, seqs: Sequence[int], counts: Counts) -> Counts:
        """Delete rows; unknown ones are ignored."""
        execute = self._connection.execute
        for bounds in to_ranges(seqs):
            loads = execute(_LOAD_OF_RANGE, bounds).fetchone()
            if loads[0]:
                execute("DELETE FROM outbox WHERE seq BETWEEN ? AND ?", bounds)
                counts = _changed(counts, -1, loads)
        return counts

    def evict(self, cut: Cut, counts: Counts) -> tuple[int, Counts]:
        """Delete the oldest rows of a class until at least `cut.least` has gone; how many went."""
        gone: list[int] = []
        size = 0
        for seq, length, _ in self._oldest(cut.priority):
            if len(gone) >= cut.least.rows and size >= cut.least.size:
                break
            gone.append(seq)
            size += length
        return len(gone), self._delete(gone, size, cut.priority, counts)

    def expire(self, priority: Priority, before: int, most: int, counts: Counts) -> tuple[int, Counts]:
        """Delete rows of a class, at most `most`, that came when the age clock stood below `before`; how many went."""
        gone: list[int] = []
        size = 0
        for seq, length, stored in self._oldest(priority):
            if stored >= before or len(gone) >= most:
                break
            gone.append(seq)
            size += length
        return len(gone), self._delete(gone, size, priority, counts)

    def _delete(self, seqs: Sequence[int], size: int, priority: Priority, counts: Counts) -> Counts:
        self._connection.executemany("DELETE FROM outbox WHERE seq = ?", [(seq,) for seq in seqs])
        load, none = (len(seqs), size), (0, 0)
        result, plain = (load if priority is each else none for each in (Priority.RESULT, Priority.PLAIN))
        return _changed(counts, -1, (*load, *result, *plain))

    def _oldest(self, priority: Priority) -> Iterator[tuple[int, int, int]]:
        """(seq, bytes, stored) of all rows of a class over both links, oldest first."""
        if priority is Priority.PLAIN:
            streams = [self._fleet_plain(), self._sorted(SITE, priority)]
        else:
            streams = [self._sorted(FLEET, priority), self._sorted(SITE, priority)]
        heads = [next(stream, None) for stream in streams]
        while any(heads):
            at, head = min(((at, head) for at, head in enumerate(heads) if head is not None), key=lambda pair: pair[1][0])
            yield head
            heads[at] = next(streams[at], None)

    def _fleet_plain(self) -> Iterator[tuple[int, int, int]]:
        after = self._no_fleet_plain_to
        while True:
            page = self._connection.execute(_OLDEST_FLEET_PLAIN, (after, PAGE_ROWS)).fetchall()
            if after == self._no_fleet_plain_to:
                # new rows come above all others, so this stays true whatever becomes of the transaction
                newest = self._connection.execute("SELECT max(seq) FROM outbox").fetchone()[0]
                self._no_fleet_plain_to = page[0][0] - 1 if page else newest or after
            yield from page
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]

    def _sorted(self, link: str, priority: Priority) -> Iterator[tuple[int, int, int]]:
        after = 0
        while True:
            page = self._connection.execute(_OLDEST_SORTED, (link, int(priority), after, PAGE_ROWS)).fetchall()
            yield from page
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]


def _changed(counts: Counts, sign: int, loads: tuple[int, int, int, int, int, int], last_seq: int = 0) -> Counts:
    """The counts after rows came (sign 1) or went (-1); `loads`: rows and bytes of all, of class RESULT, of class PLAIN."""
    rows, size, results, result_size, plain, plain_size = loads
    return Counts(
        counts.journal_rows,
        counts.outbox_rows + sign * rows,
        counts.outbox_bytes + sign * size,
        last_seq or counts.last_seq,
        counts.last_event_no,
        counts.result_rows + sign * results,
        counts.result_bytes + sign * result_size,
        counts.plain_rows + sign * plain,
        counts.plain_bytes + sign * plain_size,
    )
