"""Takes the outbox's rows to a link and has them deleted when they have reached their end.

Higher classes go first, and the rows of one class in order of seq. Everything runs on the loop's thread.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from edge_agent.journal.batch import Batch, OutboxRow, Priority
from edge_agent.journal.errors import StoreError
from edge_agent.link.port import Receipt
from edge_agent.outbox.backlog import Backlog, Pages
from edge_agent.outbox.drain import Drain
from edge_agent.outbox.outstanding import Outstanding
from edge_agent.outbox.policy import stamp, stamp_prefix
from fleet_contract.messages import Ack

log = logging.getLogger(__name__)

STORE_RETRY: Final = 1.0
"""Seconds until a failed read or delete is tried again."""


class Publisher(Protocol):
    """What the sender asks of a link."""

    @property
    def free_window(self) -> int:
        """How many more messages the link would take now."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        token: int,
        properties: Mapping[str, object] | None = None,
    ) -> bool:
        """False: not taken; try again after the next `on_published` or `on_up`."""


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

    A plain row leaves on the broker's PUBACK, a durable one on `acknowledged`. At most 256 rows are unsettled at a time, and
    each class has places of its own among them, so a silent controller keeps no plain rows from leaving.
    """

    def __init__(
        self,
        link: Publisher,
        store: RowStore,
        loop: Timers,
        link_name: str,
        *,
        drain: Drain | None = None,
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
        self._backlogs = tuple(Backlog(link_name, priority) for priority in Priority)
        """By class, the first to be sent first."""
        self._walking = False
        self._drain = drain or Drain()
        self._draining = False
        """`_drain_on` will be called."""
        self._up = False
        self._pausing = False
        self._wake_at: float | None = None
        self._settled: list[int] = []
        self._deleting = False
        self._closed = False
        store.on_outbox(self.committed)
        self.counters: dict[str, int] = dict.fromkeys(
            ("published", "resent", "failed", "unheard", "settled", "acks_foreign", "acks_unknown", "pages", "store_errors"), 0
        )

    @property
    def unsettled(self) -> int:
        """Rows handed to the link that are not settled."""
        return len(self._outstanding)

    def committed(self, rows: Sequence[OutboxRow]) -> None:
        """These rows are in the store now. The store calls this after each commit; rows of other links are ignored."""
        name = self._name
        backlogs = self._backlogs
        own = 0
        for row in rows:
            if row.link == name:
                backlogs[row.priority].committed(row)
                own += 1
        if own:
            self._drain.committed(own)
            self._pump()

    def on_up(self, session_present: bool = True) -> None:
        """The link is connected: everything unsettled is sent again, then the rest."""
        self._up = True
        self._outstanding.connected()
        for backlog in self._backlogs:
            if not backlog and backlog.behind:
                self._load(backlog)
        waiting = len(self._outstanding) > 0 or any(backlog or backlog.behind for backlog in self._backlogs)
        self._drain.connected(self._clock(), backlog=waiting)
        self._pump()

    def on_down(self, reason: str = "") -> None:
        """The link is gone."""
        self._up = False
        self._outstanding.disconnected()

    def on_published(self, outcomes: Sequence[tuple[int, Receipt]]) -> None:
        """(seq, receipt) for publishes that the link had taken."""
        now = self._clock()
        outstanding = self._outstanding
        failed = unheard = 0
        for seq, receipt in outcomes:
            if outstanding.published(seq, receipt, now):
                self._settled.append(seq)
            elif receipt is not Receipt.TAKEN:
                failed += not receipt
                unheard += receipt is Receipt.UNHEARD
        if failed or unheard:
            self.counters["failed"] += failed
            self.counters["unheard"] += unheard
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
        for backlog in self._backlogs:
            settled += backlog.drop_acknowledged(ack.ranges)
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
        now = self._clock()
        window = self._link.free_window
        notes, *others = self._backlogs
        sent = self._send(notes, window, now)
        if sent < window:
            sent += self._send_limited(others, window - sent, now)
        if sent:
            self.counters["published"] += sent
        if self._wake_at is None and len(self._outstanding):
            self._wake(now)

    def _send_limited(self, backlogs: Sequence[Backlog], most: int, now: float) -> int:
        """Send rows of several classes within the drain's limit; how many."""
        allowed = self._drain.allowed(now, most)
        sent = 0
        for backlog in backlogs:
            if sent < allowed:
                sent += self._send(backlog, allowed - sent, now)
        self._drain.sent(sent)
        if sent == allowed < most and not self._draining:
            self._draining = True
            self._loop.call_later(self._drain.wait(now), self._drain_on)
        return sent

    def _drain_on(self) -> None:
        self._draining = False
        if not self._closed:
            self._pump()

    def _send(self, backlog: Backlog, most: int, now: float) -> int:
        """Send rows of one class, first those that are sent again; how many."""
        outstanding = self._outstanding
        priority = backlog.priority
        sent = 0
        while sent < most:
            row = outstanding.next_again(priority)
            if row is not None:
                if not self._publish(row):
                    break
                self.counters["resent"] += 1
            else:
                if not backlog and not (backlog.behind and self._load(backlog)):
                    break
                row = backlog.first()
                if not outstanding.room(row) or not self._publish(row):
                    break
                backlog.pop()
            outstanding.sent(row, now)
            sent += 1
        return sent

    def _publish(self, row: OutboxRow) -> bool:
        payload = stamp(self._prefix, row.seq, row.payload) if row.durable else row.payload
        how = row.publishing
        if how is None:
            return self._link.publish(row.topic, payload, qos=1, token=row.seq)
        return self._link.publish(
            row.topic, payload, qos=1, retain=how.retain, token=row.seq, properties=how.properties() or None
        )

    def _load(self, backlog: Backlog) -> bool:
        """Read the next page; False: it holds no row, or it cannot be read now."""
        if self._pausing:
            return False
        try:
            backlog.load(self._reader)
        except sqlite3.Error as error:
            self._store_failed("the outbox cannot be read", error)
            return False
        self.counters["pages"] += 1
        if not backlog and backlog.behind and not self._walking:
            self._walking = True  # over many rows of other classes: in steps, so that the loop turns in between
            self._loop.call_later(0.0, self._walk_on)
        return bool(backlog)

    def _walk_on(self) -> None:
        self._walking = False
        if not self._closed:
            self._pump()

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
