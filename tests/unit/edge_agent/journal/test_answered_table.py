from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.journal.answered_table import encode_answer
from edge_agent.journal.batch import AnsweredRow, Batch
from edge_agent.journal.store import Store
from edge_agent.loop import Loop
from edge_agent.settings import StoreSettings
from fleet_contract.feedback import Tally, Truth, said
from fleet_contract.messages import Outcome

FROST = encode_answer(said(Outcome(label="frost", score=0.9, scores={"frost": 0.9, "mild": 0.1})))


def answered(number: int, release: int = 1) -> AnsweredRow:
    return AnsweredRow(f"r{number}", "frost", release, FROST)


def right(number: int, label: str = "frost") -> Truth:
    return Truth(result_id=f"r{number}", label=label)


class World:
    """A store that remembers 32 answers."""

    def __init__(self, path: Path) -> None:
        self.path = path / "agent.db"
        self.open()

    def open(self) -> None:
        self.loop = Loop()
        self.store = Store(self.path, StoreSettings(remembered_answers=32), self.loop.post)

    def close(self) -> None:
        assert self.store.close()
        self.loop.close()

    def commit(self, *rows: AnsweredRow, truths: tuple[Truth, ...] = ()) -> None:
        outcome: list[object] = []
        self.store.submit(Batch(answered=list(rows), truths=list(truths)), outcome.append)
        assert self.loop.run_until(lambda: bool(outcome), 10)
        assert outcome == [None]

    def tally(self, release: int = 1) -> tuple[int, int]:
        found = self.store.quality.tallies.get(("frost", release), Tally())
        return found.labelled, found.right

    def counted(self, name: str) -> int:
        return self.store.stats().get(f"feedback_{name}", 0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_what_was_right_is_counted_for_each_release_and_outlives_a_restart(world: World) -> None:
    world.commit(answered(1), answered(2), answered(3, release=2))
    world.commit(truths=(right(1), right(2, "mild"), right(3)))
    assert (world.tally(1), world.tally(2)) == ((2, 1), (1, 1))
    world.close()
    world.open()
    assert (world.tally(1), world.tally(2)) == ((2, 1), (1, 1))


def test_a_repeat_changes_nothing_and_a_correction_replaces(world: World) -> None:
    world.commit(answered(1))
    world.commit(truths=(right(1),))
    world.commit(truths=(right(1),))
    assert (world.tally(), world.counted("taken"), world.counted("repeated")) == ((1, 1), 1, 1)
    world.commit(truths=(right(1, "mild"),))
    assert (world.tally(), world.counted("corrected")) == ((1, 0), 1)


def test_unknown_bad_and_contradictory_truths_are_counted_and_cost_the_others_nothing(world: World) -> None:
    world.commit(answered(1), answered(2), answered(3))
    contradiction = (right(2), right(2, "mild"))
    world.commit(truths=(right(99), right(3, "forst"), Truth(result_id="r1"), *contradiction, right(1)))
    assert (world.tally(), world.counted("taken")) == ((1, 1), 1)
    assert [world.counted(name) for name in ("unknown", "bad", "contradictory")] == [1, 2, 2]


def test_the_oldest_answers_go_and_what_was_known_of_them(world: World) -> None:
    world.commit(*(answered(number) for number in range(32)))
    world.commit(truths=(right(0), right(31)))
    assert world.tally() == (2, 2)
    world.commit(*(answered(number) for number in range(100, 104)))
    assert world.tally() == (1, 1)
    world.commit(truths=(right(1), right(103)))
    assert (world.tally(), world.counted("unknown")) == ((2, 2), 1)


def test_a_result_that_was_given_again_is_held_to_its_newest_answer(world: World) -> None:
    mild = encode_answer(said(Outcome(label="mild", score=0.8, scores={"frost": 0.2, "mild": 0.8})))
    world.commit(answered(1), AnsweredRow("r1", "frost", 1, mild))
    world.commit(truths=(right(1, "mild"),))
    assert world.tally() == (1, 1)
