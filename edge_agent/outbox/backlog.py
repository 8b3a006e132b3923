"""The rows of one class that have not been sent: the next ones in memory, the others in the store.

Caught up, it holds what has just been committed; behind, or after a restart, it reads pages. What it holds is bounded.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from edge_agent.journal.batch import OutboxRow, Priority
from edge_agent.journal.reader import Page
from edge_agent.outbox.policy import covers

MAX_READY_ROWS: Final = 512
MAX_READY_BYTES: Final = 4 * 1024**2


class Pages(Protocol):
    """A read-only connection to the store."""

    def outbox_page(self, link: str, priority: Priority, after: int) -> Page:
        """Rows above seq `after`, in order. Raises sqlite3.Error."""

    def close(self) -> None:
        """Release it."""


class Backlog:
    """One link's rows of one class, in order of seq."""

    __slots__ = ("_bytes", "_cursor", "_link", "_ready", "behind", "priority")

    def __init__(self, link: str, priority: Priority) -> None:
        self.priority = priority
        self._link = link
        self._ready: deque[OutboxRow] = deque()
        self._bytes = 0
        self._cursor = 0
        """All rows up to this seq have been in `_ready` or are still."""
        self.behind = True
        """The store may hold rows above the cursor that `committed` did not leave in memory."""

    def __bool__(self) -> bool:
        return bool(self._ready)

    def committed(self, row: OutboxRow) -> None:
        """The row is in the store now. Kept if it is the next and there is room; otherwise read again later."""
        if row.seq <= self._cursor or self.behind:
            return  # a page read since the commit has brought it, or one will
        if len(self._ready) >= MAX_READY_ROWS or self._bytes >= MAX_READY_BYTES:
            self.behind = True
            return
        self._ready.append(row)
        self._bytes += len(row.payload)
        self._cursor = row.seq

    def load(self, pages: Pages) -> None:
        """Read the next page. Raises sqlite3.Error. `behind` says whether there may be more."""
        rows, self._cursor, self.behind = pages.outbox_page(self._link, self.priority, self._cursor)
        self._ready.extend(rows)
        self._bytes += sum([len(row.payload) for row in rows])

    def first(self) -> OutboxRow:
        """The next row; there must be one."""
        return self._ready[0]

    def pop(self) -> None:
        """The first row was sent."""
        self._bytes -= len(self._ready.popleft().payload)

    def drop_acknowledged(self, ranges: Sequence[tuple[int, int]]) -> list[int]:
        """Remove durable rows in the inclusive ranges; their seqs."""
        gone = [row for row in self._ready if row.durable and covers(ranges, row.seq)]
        if gone:
            seqs = {row.seq for row in gone}
            self._ready = deque(row for row in self._ready if row.seq not in seqs)
            self._bytes -= sum(len(row.payload) for row in gone)
        return [row.seq for row in gone]
