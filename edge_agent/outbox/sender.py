"""Takes the outbox's rows to a link, in order of seq, and has them deleted when they have reached their end.

Caught up, it holds what the engine has just committed; behind, or after a restart, it reads pages from the store. Either way
it holds a bounded number of rows. Everything runs on the loop's thread.
"""

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from edge_agent.journal.batch import Batch, OutboxRow
from edge_agent.journal.errors import StoreError
from edge_agent.outbox.outstanding import Outstanding
from edge_agent.outbox.policy import covers, stamp, stamp_prefix
from fleet_contract.messages import Ack

log = logging.getLogger(__name__)

MAX_READY_ROWS: Final = 512
MAX_READY_BYTES: Final = 4 * 1024**2
STORE_RETRY: Final = 1.0
"""Seconds until a failed read or delete is tried again."""


class Publisher(Protocol):
    """What the sender asks of a link."""

    @property
    def free_window(self) -> int:
        """How many more messages the link would take now."""

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, token: int) -> bool:
        """False: not taken; try again after the next `on_published` or `on_up`."""


class Pages(Protocol):
    """A read-only connection to the store."""

    def outbox_page(self, link: str, after: int) -> tuple[list[OutboxRow], bool]:
        """Rows above seq `after`, in order, and whether there may be more. Raises sqlite3.Error."""

    def close(self) -> None:
        """Release it."""


class RowStore(Protocol):
    """What the sender asks of the store."""

    @property
    def stream(self) -> str:
        """The id of the file, which goes into durable messages."""

    def on_outbox(self, call: Callable[[list[OutboxRow]], object]) -> None:
        """Have `call(rows)` called after each commit of outbox rows."""

    def open_reader(self) -> Pages:
        """A read-only connection for this thread."""

    def submit(self, batch: Batch, done: Callable[[StoreError | None], None] | None = None, *, urgent: bool = True) -> None:
        """Commit, then call `done`."""


class Timers(Protocol):
    """What the sender asks of the loop."""

    def call_later(self, delay: float, call: Callable[[], object]) -> object:
        """Run `call()` after `delay` seconds."""


class Sender:
    """The outbox of one link.

    A plain row leaves on the broker's PUBACK, a durable one on `acknowledged`. At most 256 rows are unsettled at a time; while
    the controller is silent and all of them are durable, the rows behind them wait too, because there is one order.
    """

    def __init__(
        self,
        link: Publisher,
        store: RowStore,
        loop: Timers,
        link_name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._store = store
        self._loop = loop
        self._name = link_name
        self._clock = clock
        self._reader = store.open_reader()
        self._prefix = stamp_prefix(store.stream)
        self._outstanding = Outstanding()
        self._ready: deque[OutboxRow] = deque()
        self._ready_bytes = 0
        self._cursor = 0
        """All rows up to this seq have been in `_ready` or are still."""
        self._behind = True
        """The store may hold rows above the cursor that `committed` did not leave in memory."""
        self._up = False
        self._pausing = False
        self._wake_at: float | None = None
        self._settled: list[int] = []
        self._deleting = False
        self._closed = False
        store.on_outbox(self.committed)
        self.counters: dict[str, int] = dict.fromkeys(
            ("published", "resent", "failed", "settled", "acks_foreign", "acks_unknown", "pages", "store_errors"), 0
        )

    @property
    def unsettled(self) -> int:
        """Rows handed to the link that are not settled."""
        return len(self._outstanding)

    def committed(self, rows: Sequence[OutboxRow]) -> None:
        """These rows are in the store now. The store calls this after each commit; rows of other links are ignored."""
        name = self._name
        for row in rows:
            if row.link != name or row.seq <= self._cursor:
                continue  # a page read since the commit has already brought it
            if self._behind or len(self._ready) >= MAX_READY_ROWS or self._ready_bytes >= MAX_READY_BYTES:
                self._behind = True
                break
            self._ready.append(row)
            self._ready_bytes += len(row.payload)
            self._cursor = row.seq
        self._pump()

    def on_up(self, session_present: bool = True) -> None:
        """The link is connected: everything unsettled is sent again, then the rest."""
        self._up = True
        self._outstanding.connected()
        self._pump()

    def on_down(self, reason: str = "") -> None:
        """The link is gone."""
        self._up = False
        self._outstanding.disconnected()

    def on_published(self, outcomes: Sequence[tuple[int, bool]]) -> None:
        """(seq, ok) for publishes that the link had taken; not ok: refused, or lost with the connection."""
        now = self._clock()
        outstanding = self._outstanding
        failed = 0
        for seq, ok in outcomes:
            if outstanding.published(seq, ok, now):
                self._settled.append(seq)
            elif not ok:
                failed += 1
        if failed:
            self.counters["failed"] += failed
            self._wake(now)
        self._delete_settled()
        self._pump()

    def acknowledged(self, ack: Ack) -> None:
        """The controller has these rows in its database. An ack for another stream is another file's: ignored and counted."""
        if ack.stream != self._store.stream:
            self.counters["acks_foreign"] += 1
            return
        settled = self._outstanding.acknowledged(ack.ranges)
        # sent by an earlier run of the agent: its acknowledgement may come before this run has sent the row again
        early = [row for row in self._ready if row.durable and covers(ack.ranges, row.seq)]
        if early:
            gone = {row.seq for row in early}
            self._ready = deque(row for row in self._ready if row.seq not in gone)
            self._ready_bytes -= sum(len(row.payload) for row in early)
            settled += sorted(gone)
        if not settled:
            self.counters["acks_unknown"] += 1
            return
        self._settled += settled
        self._delete_settled()
        self._pump()

    def close(self) -> None:
        """Send nothing more; hand over what is settled. Before the store closes."""
        self._up = False
        if self._settled and not self._deleting:
            self._store.submit(Batch(delivered=self._settled), urgent=False)
            self._settled = []
        self._closed = True
        self._reader.close()

    def _pump(self) -> None:
        """Hand rows to the link until it or the bound says stop."""
        if not self._up:
            return
        outstanding = self._outstanding
        now = self._clock()
        sent = 0
        for _ in range(self._link.free_window):
            row = outstanding.next_again()
            if row is not None:
                if not self._publish(row):
                    break
                self.counters["resent"] += 1
            else:
                if not self._ready and not (self._behind and self._load()):
                    break
                row = self._ready[0]
                if not outstanding.room(len(row.payload)) or not self._publish(row):
                    break
                self._ready.popleft()
                self._ready_bytes -= len(row.payload)
            outstanding.sent(row, now)
            sent += 1
        if sent:
            self.counters["published"] += sent
        if self._wake_at is None and len(outstanding):
            self._wake(now)

    def _publish(self, row: OutboxRow) -> bool:
        payload = stamp(self._prefix, row.seq, row.payload) if row.durable else row.payload
        return self._link.publish(row.topic, payload, qos=1, token=row.seq)

    def _load(self) -> bool:
        """Read the next page; False: there is none, or it cannot be read now."""
        if self._pausing:
            return False
        try:
            rows, self._behind = self._reader.outbox_page(self._name, self._cursor)
        except sqlite3.Error as error:
            self._store_failed("the outbox cannot be read", error)
            return False
        self.counters["pages"] += 1
        if rows:
            self._ready.extend(rows)
            self._ready_bytes += sum([len(row.payload) for row in rows])
            self._cursor = rows[-1].seq
        return bool(rows)

    def _delete_settled(self) -> None:
        """One delete at a time, so that what settles meanwhile is deleted together."""
        if self._deleting or self._pausing or not self._settled:
            return
        settled, self._settled = self._settled, []
        self._deleting = True

        def done(error: StoreError | None) -> None:
            self._deleting = False
            if error is not None:
                self._settled = settled + self._settled
                self._store_failed("settled rows cannot be deleted", error)
                return
            self.counters["settled"] += len(settled)
            if not self._closed:
                self._delete_settled()

        self._store.submit(Batch(delivered=settled), done, urgent=False)

    def _store_failed(self, what: str, error: Exception) -> None:
        self.counters["store_errors"] += 1
        log.error(what, extra={"link": self._name, "error": str(error)})
        if not self._pausing and not self._closed:
            self._pausing = True
            self._loop.call_later(STORE_RETRY, self._resume)

    def _resume(self) -> None:
        self._pausing = False
        if not self._closed:
            self._delete_settled()
            self._pump()

    def _wake(self, now: float) -> None:
        """Have `_look` called when the first row is due, unless it will be called by then anyway."""
        due = self._outstanding.next_due()
        if due is None:
            due = now + 30.0  # all are on their way; their outcomes decide
        if self._wake_at is None or due < self._wake_at:
            self._wake_at = due
            self._loop.call_later(max(due - now, 0.0), lambda: self._look(due))

    def _look(self, planned: float) -> None:
        if self._closed or planned != self._wake_at:
            return  # an earlier look was planned since, and plans the next one itself
        self._wake_at = None
        if not self._up:
            return  # `on_up` sends everything again
        now = self._clock()
        self._outstanding.collect_due(now)
        self._pump()
        if self._wake_at is None and len(self._outstanding):
            self._wake(now)
