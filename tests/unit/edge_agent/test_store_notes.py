"""What was dropped is told at once, and a flood of it once a minute."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from edge_agent.journal.batch import Counts, OutboxRow, Priority
from edge_agent.journal.errors import StoreError, StoreFull
from edge_agent.journal.eviction import Cause
from edge_agent.journal.opening import Damaged
from edge_agent.notes import Notes
from edge_agent.store_notes import StoreNotes
from fleet_contract.messages import Note, NoteKind, decode
from fleet_contract.reasons import Reason


class VirtualTime:
    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, delay: float, call: Callable[[], object]) -> None:
        self.timers.append((self.now + delay, call))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, call in due:
            call()


def test_a_damaged_file_is_told_of_with_what_it_held_if_that_can_be_read() -> None:
    time = VirtualTime()
    rows: list[OutboxRow] = []
    told = StoreNotes(Notes("d", rows.append), time)
    told.set_aside(Damaged(Path("/x/agent.db.damaged-1"), Counts(journal_rows=7, outbox_rows=5)))
    told.set_aside(Damaged(Path("/x/agent.db.damaged-2"), None))
    readable, unreadable = (decode(row.payload, Note) for row in rows)
    assert readable.fields == {"set_aside": "/x/agent.db.damaged-1", "outbox_rows": 5, "journal_rows": 7}
    assert "5 rows in the outbox and 7 events" in readable.detail
    assert unreadable.fields == {"set_aside": "/x/agent.db.damaged-2"}


def test_a_bound_that_refuses_events_is_told_of_once_in_ten_minutes() -> None:
    time = VirtualTime()
    rows: list[OutboxRow] = []
    told = StoreNotes(Notes("d", rows.append, lambda: time.now), time, now=lambda: time.now)
    full = StoreFull("the journal is full: max_journal_rows is 2", Reason.JOURNAL_FULL)
    for _ in range(3):
        told.refused(full)
        told.refused(StoreError("the disk is slow", temporary=True))
        time.advance(300)
    found = [decode(row.payload, Note) for row in rows]
    assert [note.reason for note in found] == ["journal_full", "journal_full"]
    assert found[0].detail == "the journal is full: max_journal_rows is 2; events wait at the broker until there is room"


def test_the_first_eviction_is_told_at_once_and_the_others_together_a_minute_later() -> None:
    time = VirtualTime()
    rows: list[OutboxRow] = []
    told = StoreNotes(Notes("d", rows.append, lambda: time.now), time, now=lambda: time.now)

    def notes() -> list[tuple[str | None, dict[str, object]]]:
        found = [decode(row.payload, Note) for row in rows]
        assert all(note.kind is NoteKind.STORE for note in found)
        return [(note.reason, note.fields["dropped"]) for note in found]

    told.evicted(Counter({(Cause.ROWS, Priority.PLAIN): 3}))
    assert notes() == [("outbox_full", {"plain": 3})]
    for _ in range(10):
        time.advance(1)
        told.evicted(Counter({(Cause.BYTES, Priority.PLAIN): 2, (Cause.BYTES, Priority.RESULT): 1}))
    told.evicted(Counter({(Cause.AGE, Priority.PLAIN): 1}))
    assert notes()[1:] == [("outbox_expired", {"plain": 1})]
    time.advance(50)
    assert notes()[2:] == [("outbox_full", {"plain": 20, "results": 10})]
    time.advance(1000)
    assert len(rows) == 3
    told.evicted(Counter({(Cause.ROWS, Priority.NOTE): 1}))
    assert notes()[3:] == [("outbox_full", {"notes": 1})]
