"""Which rows were handed to the link and are not settled: each stays until it may be deleted. Pure; the time is an argument.

A plain row is settled by the broker's PUBACK, a durable one by the controller's acknowledgement alone.
"""

from collections import deque
from collections.abc import Sequence

from edge_agent.journal.batch import OutboxRow, Priority
from edge_agent.link.port import Receipt
from edge_agent.outbox.policy import UNRESERVED_BYTES, UNRESERVED_ROWS, may_send, resend_delay, unheard_delay


class Unsettled:
    """One row on its way."""

    __slots__ = ("attempts", "due", "flying", "queued", "row")

    def __init__(self, row: OutboxRow, due: float) -> None:
        self.row = row
        self.attempts = 1
        self.due = due
        self.flying = True
        """The link has it: its outcome will come."""
        self.queued = False
        """It waits in the line of those to be sent again."""


class Outstanding:
    """The unsettled rows of one link. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._rows: dict[int, Unsettled] = {}
        self._again: list[deque[int]] = [deque() for _ in Priority]
        self._held = [0 for _ in Priority]
        self._bytes = [0 for _ in Priority]
        self._all_bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, seq: int) -> bool:
        return seq in self._rows

    def room(self, row: OutboxRow) -> bool:
        """Whether a row that was not sent yet may be sent."""
        size = len(row.payload)
        if len(self._rows) < UNRESERVED_ROWS and self._all_bytes + size <= UNRESERVED_BYTES:
            return True  # as a rule
        return may_send(self._held, self._bytes, row.priority, size)

    def sent(self, row: OutboxRow, now: float) -> None:
        """The link has taken `row`, for the first time or again."""
        seq = row.seq
        entry = self._rows.get(seq)
        if entry is None:
            self._rows[seq] = Unsettled(row, now + resend_delay(1, refused=False))
            self._held[row.priority] += 1
            self._bytes[row.priority] += len(row.payload)
            self._all_bytes += len(row.payload)
            return
        entry.attempts += 1
        entry.flying = True
        entry.due = now + resend_delay(entry.attempts, refused=False)
        if entry.queued:
            entry.queued = False
            again = self._again[row.priority]
            if again and again[0] == seq:
                again.popleft()

    def published(self, seq: int, receipt: Receipt, now: float) -> bool:
        """The link's outcome for `seq`; True: the row is settled and may be deleted."""
        entry = self._rows.get(seq)
        if entry is None:
            return False  # acknowledged by the controller before the broker's PUBACK was seen
        entry.flying = False
        if not receipt:
            entry.due = now + resend_delay(entry.attempts, refused=True)
            return False
        if entry.row.durable:
            if receipt is Receipt.UNHEARD:
                entry.due = now + unheard_delay(entry.attempts)
            return False
        self._remove(seq)
        return True

    def acknowledged(self, ranges: Sequence[tuple[int, int]]) -> list[int]:
        """Settle the durable rows that `ranges` cover; their seqs, which may be deleted. Costs the rows held, not the range."""
        rows = self._rows
        settled: list[int] = []
        for low, high in ranges:
            candidates = range(low, high + 1) if high - low < len(rows) else list(rows)
            for seq in candidates:
                entry = rows.get(seq)
                if entry is not None and entry.row.durable and low <= seq <= high:
                    settled.append(seq)
                    self._remove(seq)
        return settled

    def disconnected(self) -> None:
        """Whatever the link had is gone with the connection."""
        for entry in self._rows.values():
            entry.flying = False

    def connected(self) -> None:
        """A new connection: everything is sent again, in order, and waits anew."""
        for again in self._again:
            again.clear()
        self._line_up(sorted(self._rows))
        for entry in self._rows.values():
            entry.flying = False
            entry.queued = True
            entry.attempts = 0

    def collect_due(self, now: float) -> int:
        """Put the rows whose time has come into the line, in order; how many."""
        due = sorted(seq for seq, entry in self._rows.items() if entry.due <= now and not entry.flying and not entry.queued)
        for seq in due:
            self._rows[seq].queued = True
        self._line_up(due)
        return len(due)

    def next_again(self, priority: Priority) -> OutboxRow | None:
        """The row of a class to send again next; None when there is none. It stays in front until it is `sent` or settled."""
        again = self._again[priority]
        while again:
            entry = self._rows.get(again[0])
            if entry is not None and entry.queued:
                return entry.row
            again.popleft()
        return None

    def next_due(self) -> float | None:
        """When `collect_due` has something to do at the earliest."""
        return min((entry.due for entry in self._rows.values() if not entry.flying and not entry.queued), default=None)

    def _line_up(self, seqs: Sequence[int]) -> None:
        for seq in seqs:
            self._again[self._rows[seq].row.priority].append(seq)

    def _remove(self, seq: int) -> None:
        row = self._rows.pop(seq).row
        self._held[row.priority] -= 1
        self._bytes[row.priority] -= len(row.payload)
        self._all_bytes -= len(row.payload)
