import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.journal.batch import Batch, DeadLetterRow
from edge_agent.journal.errors import StoreError
from edge_agent.journal.reader import Reader
from edge_agent.journal.store import Store
from edge_agent.loop import Loop
from edge_agent.settings import StoreSettings


def letter(number: int, size: int = 10, **changes: Any) -> DeadLetterRow:
    return DeadLetterRow(f"t/{number}", bytes(size), "not_json", "why", "p", **changes)


class World:
    """A store with room for five letters or a hundred bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path / "agent.db"
        self.open()

    def open(self) -> None:
        self.loop = Loop()
        settings = StoreSettings(max_dead_letters=5, max_dead_letter_bytes=100)
        self.store = Store(self.path, settings, self.loop.post)
        self.reader = Reader(self.path)

    def close(self) -> None:
        self.reader.close()
        assert self.store.close()
        self.loop.close()

    def commit(self, batch: Batch) -> StoreError | None:
        outcome: list[StoreError | None] = []
        self.store.submit(batch, outcome.append)
        assert self.loop.run_until(lambda: bool(outcome), 10)
        return outcome[0]

    def numbers(self) -> list[int]:
        return [number for number, _ in self.reader.dead_letters(0)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_a_letter_is_read_back_as_it_was(world: World) -> None:
    kept = letter(1, qos=0, retain=True, properties=b"\x80", received=12.5, is_message=False)
    assert world.commit(Batch(dead_letters=[kept])) is None
    assert world.reader.dead_letters(0) == [(1, kept)]
    assert world.reader.dead_letter(1) == kept
    assert world.reader.dead_letter(2) is None


def test_the_oldest_go_when_there_are_too_many_and_are_counted(world: World) -> None:
    world.commit(Batch(dead_letters=[letter(number) for number in range(1, 4)]))
    world.commit(Batch(dead_letters=[letter(number) for number in range(4, 8)]))
    assert world.numbers() == [3, 4, 5, 6, 7]
    assert world.store.stats()["dead_letters_dropped"] == 2
    assert tuple(world.store.dead_letters) == (5, 50, 2)


def test_the_oldest_go_when_their_bytes_are_too_many(world: World) -> None:
    world.commit(Batch(dead_letters=[letter(1, 40), letter(2, 40), letter(3, 90)]))
    assert world.numbers() == [3]
    assert world.store.dead_letters.size == 90


def test_a_letter_larger_than_the_whole_store_is_kept_without_its_payload(world: World) -> None:
    world.commit(Batch(dead_letters=[letter(1, 20), letter(2, 101)]))
    kept = world.reader.dead_letter(2)
    assert kept is not None
    assert (kept.payload, kept.is_message) == (b"", False)
    assert world.numbers() == [1, 2]


def test_a_number_is_never_given_twice(world: World) -> None:
    world.commit(Batch(dead_letters=[letter(1), letter(2)]))
    world.commit(Batch(dead_letters_gone=[2, 2, 99]))
    world.commit(Batch(dead_letters=[letter(3)]))
    assert world.numbers() == [1, 3]
    assert world.store.dead_letters.rows == 2


def test_the_totals_are_found_again_after_a_restart(world: World) -> None:
    world.commit(Batch(dead_letters=[letter(1, 30), letter(2, 20)]))
    world.close()
    world.open()
    assert tuple(world.store.dead_letters) == (2, 50, 0)
    assert world.reader.dead_letter_totals() == (2, 50, 2)


def test_what_is_rolled_back_does_not_count(world: World) -> None:
    bad = Batch(dead_letters=[letter(1), letter(2)], values={"k": object()})  # type: ignore[dict-item]
    assert world.commit(bad) is not None
    assert tuple(world.store.dead_letters) == (0, 0, 0)
    assert world.numbers() == []


def test_the_newest_are_listed_first_by_topic_and_reason(world: World) -> None:
    world.commit(Batch(dead_letters=[letter(1), letter(2), letter(1)._replace(reason="too_deep")]))
    listed: Callable[..., list[int]] = lambda *arguments: [row[0] for row in world.reader.newest_dead_letters(*arguments)]  # noqa: E731
    assert listed(2, None, None) == [3, 2]
    assert listed(9, "t/1", None) == [3, 1]
    assert listed(9, "t/1", "not_json") == [1]


def test_an_older_file_gets_the_table(tmp_path: Path, world: World) -> None:
    world.close()
    with sqlite3.connect(world.path) as connection:
        connection.execute("DROP TABLE dead_letter")
        connection.execute("ALTER TABLE outbox DROP COLUMN publishing")  # which a later step adds
        connection.execute("DROP TABLE answered")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    world.open()
    assert world.commit(Batch(dead_letters=[letter(1)])) is None
