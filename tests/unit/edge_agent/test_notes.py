import json
from typing import Any

from edge_agent.journal.batch import OutboxRow
from edge_agent.notes import REPEAT_AFTER, Notes
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason


class Book:
    """Notes on a clock of our own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows: list[OutboxRow] = []
        self.notes = Notes("d", self.rows.append, lambda: self.now)

    def told(self) -> list[Any]:
        return [json.loads(row.payload) for row in self.rows]


def test_a_note_is_a_durable_row() -> None:
    book = Book()
    book.notes.write(kind=NoteKind.AGENT, detail="hello")
    assert [(row.kind, row.durable, row.topic) for row in book.rows] == [("note", True, "sh/v1/d/up/note")]


def test_dead_letters_of_one_kind_are_told_once_a_minute_with_their_number() -> None:
    book = Book()
    for _ in range(100):
        book.notes.dead_letter("t", b"\xff" * 1000, Reason.NOT_JSON, "no", "p")
    book.now = REPEAT_AFTER
    book.notes.dead_letter("t", b"", Reason.NOT_JSON, "no", "p")
    assert [note["fields"]["not_told_before"] for note in book.told()] == [0, 99]
    assert len(book.rows[0].payload) < 1000


def test_another_topic_or_reason_is_told_at_once() -> None:
    book = Book()
    book.notes.dead_letter("t", b"", Reason.NOT_JSON, "no", "p")
    book.notes.dead_letter("u", b"", Reason.NOT_JSON, "no", "p")
    book.notes.dead_letter("t", b"", Reason.TOO_DEEP, "no", "p")
    assert len(book.rows) == 3
