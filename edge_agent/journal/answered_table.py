"""The newest answers of models in agent.db, and what is known of how right they were: a bounded table without an index."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from edge_agent.journal.batch import AnsweredRow
from fleet_contract.feedback import Said, Tally, Truth, find_contradictions, find_fault, judge
from fleet_contract.reasons import Reason

SLACK: Final = 16
"""The table grows by this part of its bound before the oldest go: not every commit writes at both of its ends."""

COUNTED: Final = {
    Reason.BAD_FEEDBACK: "feedback_bad",
    Reason.UNKNOWN_RESULT: "feedback_unknown",
    Reason.CONTRADICTORY: "feedback_contradictory",
}
"""The counter of each refusal."""

_encode = msgspec.msgpack.Encoder().encode
_decode_answer: Final = msgspec.msgpack.Decoder(Said)
_decode_truth: Final = msgspec.msgpack.Decoder(Truth)


def encode_answer(answer: Said) -> bytes:
    """For `AnsweredRow.answer`."""
    return _encode(answer)


class Quality(NamedTuple):
    """How the releases did on the answers that are remembered, and what has come since the start."""

    tallies: dict[tuple[str, int], Tally]
    """By model and release."""
    counters: Counter[str]


class AnsweredTable:
    """The table, over the writer's connection. `begin` and `committed` frame each transaction: a rollback undoes counts too."""

    def __init__(self, connection: sqlite3.Connection, most: int) -> None:
        """`most`: how many answers are kept; with 0 those that are there stay as they are."""
        self._connection = connection
        self._most = most
        low, high = connection.execute("SELECT coalesce(min(no), 1), coalesce(max(no), 0) FROM answered").fetchone()
        self._low, self._high = int(low), int(high)
        self.quality = Quality(self._count_all(), Counter())
        """As of the last commit."""
        self._staged = self._low, self._high, self.quality

    def begin(self) -> None:
        """A transaction begins."""
        self._staged = self._low, self._high, self.quality

    def committed(self) -> None:
        """It is on disk."""
        self._low, self._high, self.quality = self._staged

    def add(self, rows: Sequence[AnsweredRow]) -> None:
        """Remember answers; the oldest beyond the bound go, and with them what was known of them."""
        low, high, quality = self._staged
        insert = "INSERT INTO answered (no, result_id, model, release, answer) VALUES (?, ?, ?, ?, ?)"
        self._connection.executemany(insert, [(high + at, *row) for at, row in enumerate(rows, 1)])
        high += len(rows)
        if high - low >= self._most + self._most // SLACK + 1:
            low = high - self._most + 1
            known = "DELETE FROM answered WHERE no < ? RETURNING truth IS NOT NULL"
            if any(row[0] for row in self._connection.execute(known, (low,)).fetchall()):
                quality = quality._replace(tallies=self._count_all())
        self._staged = low, high, quality

    def take(self, truths: Sequence[Truth]) -> None:
        """Hold what was right against the answers: the newest one of each result counts, a later truth replaces an earlier."""
        low, high, quality = self._staged
        counters = quality.counters.copy()
        contradictory = find_contradictions(truths)
        wanted = {truth.result_id for truth in truths}
        found: dict[str, tuple[int, bytes, bytes | None]] = {}
        for no, result_id, answer, truth in self._connection.execute("SELECT no, result_id, answer, truth FROM answered"):
            if result_id in wanted:
                found[result_id] = no, answer, truth
        for truth in truths:
            kept = found.get(truth.result_id)
            answer = _decode_answer.decode(kept[1]) if kept is not None else None
            refused = judge(truth, answer)
            packed = _encode(truth)
            if truth.result_id in contradictory and find_fault(truth) is None:
                counters[COUNTED[Reason.CONTRADICTORY]] += 1
            elif refused is not None:
                counters[COUNTED[refused[0]]] += 1
            elif kept is not None and kept[2] is not None and _means_the_same(_decode_truth.decode(kept[2]), truth):
                counters["feedback_repeated"] += 1
            elif kept is not None:
                counters["feedback_corrected" if kept[2] is not None else "feedback_taken"] += 1
                self._connection.execute("UPDATE answered SET truth = ? WHERE no = ?", (packed, kept[0]))
                found[truth.result_id] = kept[0], kept[1], packed
        self._staged = low, high, Quality(self._count_all(), counters)

    def _count_all(self) -> dict[tuple[str, int], Tally]:
        tallies: dict[tuple[str, int], Tally] = {}
        query = "SELECT model, release, answer, truth FROM answered WHERE truth IS NOT NULL"
        for model, release, answer, truth in self._connection.execute(query):
            tally = tallies.setdefault((model, release), Tally())
            tally.add(_decode_answer.decode(answer), _decode_truth.decode(truth))
        return tallies


def _means_the_same(one: Truth, other: Truth) -> bool:
    return (one.label, one.value) == (other.label, other.value)
