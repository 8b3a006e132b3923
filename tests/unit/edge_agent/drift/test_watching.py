"""When drift is told, and when it is told to be over."""

from typing import Any

from edge_agent.drift.counting import Counting
from edge_agent.drift.watching import DriftWatch
from edge_agent.settings import DriftSettings
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason
from tests.unit.edge_agent.drift.test_counting import add, counting, flows


class Told:
    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        self.answering: tuple[int, Counting] | None = (7, counting(remembered=100))
        self.watch = DriftWatch(DriftSettings(inputs=100), lambda _model: self.answering, self._write)

    def _write(self, **note: Any) -> None:
        self.notes.append(note)

    def see(self, seed: int, count: int, mean: float = 10.0) -> list[Any]:
        assert self.answering is not None
        add(self.answering[1], flows(seed, count, mean))
        self.notes.clear()
        self.watch.report("leak")
        return [note["reason"] for note in self.notes]


def test_each_change_is_one_note() -> None:
    told = Told()
    assert told.see(2, 200) == []
    assert told.see(3, 200, mean=20.0) == [Reason.DRIFTED]
    note = told.notes[0]
    assert (note["kind"], note["model"], note["release"]) == (NoteKind.DRIFT, "leak", 7)
    assert "input.flow (PSI" in note["detail"]
    assert told.see(4, 10, mean=20.0) == []
    assert told.see(5, 300) == [Reason.DRIFT_OVER]
    assert told.see(6, 10) == []


def test_another_release_begins_without_a_word_of_the_one_before() -> None:
    told = Told()
    told.see(2, 200, mean=20.0)
    told.answering = (8, counting(remembered=100))
    assert told.see(3, 200) == []
    assert told.see(4, 200, mean=20.0) == [Reason.DRIFTED]
    assert told.notes[0]["release"] == 8


def test_without_a_model_there_is_nothing_to_report() -> None:
    told = Told()
    told.answering = None
    assert told.watch.report("leak") is None
    assert told.notes == []
