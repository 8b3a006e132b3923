"""Ages, on a clock that the test moves: rows expire by the time that the agent ran, whatever the wall clock says."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from edge_agent.journal.ballast import Ballast
from edge_agent.journal.batch import Batch, Counts, OutboxRow
from edge_agent.journal.errors import StoreError
from edge_agent.journal.opening import open_writable
from edge_agent.journal.reader import Reader
from edge_agent.journal.writer import CARE_INTERVAL, Evicted, Finished, Job, Writer
from edge_agent.settings import StoreSettings

DAY = 86400.0


class World:
    """A writer whose age clock is `now`."""

    def __init__(self, path: Path, settings: StoreSettings) -> None:
        self.path, self.settings = path, settings
        self.now = 5000.0
        self.told: Counter[tuple[str, str]] = Counter()
        self.open()

    def open(self) -> None:
        self.answers: SimpleQueue[tuple[Finished, Counts, Evicted]] = SimpleQueue()
        connection, _ = open_writable(self.path)
        reader = Reader(self.path)
        self.counts = reader.counts()
        reader.close()
        ballast = Ballast(self.path.with_name("ballast"), 0)
        self.writer = Writer(
            connection,
            self.path,
            self.settings,
            self.counts,
            lambda *answer: self.answers.put(answer),
            ballast,
            clock=lambda: self.now,
        )
        self.writer.start()

    def hear(self) -> Finished:
        outcomes, self.counts, evicted = self.answers.get(timeout=20)
        for (cause, priority), rows in evicted.items():
            self.told[cause.value, priority.name] += rows
        return outcomes

    def commit(self, *rows: OutboxRow) -> StoreError | None:
        start = self.counts.last_seq
        for number, row in enumerate(rows, start=1):
            row.seq = start + number
        self.writer.put(Job(Batch(outbox=list(rows)), None, True))
        while not (outcomes := self.hear()):
            pass  # only rows that were too old have gone
        return outcomes[0][1]

    def close(self) -> None:
        assert self.writer.stop(20)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[StoreSettings], World]]:
    worlds: list[World] = []

    def make(settings: StoreSettings) -> World:
        worlds.append(World(tmp_path / "agent.db", settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def rows(count: int, *, durable: bool = False, kind: str = "result", link: str = "fleet") -> list[OutboxRow]:
    return [OutboxRow(kind, "t", b"{}", durable=durable, link=link) for _ in range(count)]


def test_plain_rows_go_when_they_are_too_old_and_durable_ones_stay(make: Callable[[StoreSettings], World]) -> None:
    world = make(StoreSettings(max_age=7 * DAY))
    assert world.commit(*rows(3), *rows(2, link="site"), *rows(4, durable=True)) is None
    world.now += 6 * DAY
    assert world.commit(*rows(5)) is None
    assert not world.told
    world.now += 1.5 * DAY
    world.commit(*rows(1))
    while world.told.total() < 5:
        world.hear()
    assert world.told == {("age", "PLAIN"): 5}
    assert (world.counts.plain_rows, world.counts.result_rows) == (6, 4)


def test_durable_rows_and_notes_go_by_an_age_of_their_own(make: Callable[[StoreSettings], World]) -> None:
    world = make(StoreSettings(max_age=0, max_durable_age=30 * DAY))
    world.commit(*rows(2), *rows(3, durable=True), *rows(1, kind="note", durable=True))
    world.now += 31 * DAY
    world.commit(*rows(1))
    while world.told.total() < 4:
        world.hear()
    assert world.told == {("age", "RESULT"): 3, ("age", "NOTE"): 1}
    assert (world.counts.outbox_rows, world.counts.plain_rows) == (3, 3)


def test_time_while_the_agent_is_off_makes_no_row_old(make: Callable[[StoreSettings], World]) -> None:
    world = make(StoreSettings(max_age=7 * DAY))
    world.commit(*rows(3))
    world.now += 6 * DAY
    world.commit(*rows(1))
    world.close()
    world.now = 0.0  # since the new boot, weeks later
    world.open()
    world.now += CARE_INTERVAL + 0.5 * DAY
    world.commit(*rows(1))
    world.now += CARE_INTERVAL
    world.commit(*rows(1))
    assert not world.told
    world.now += 0.6 * DAY
    world.commit(*rows(1))
    while world.told.total() < 3:
        world.hear()
    assert world.counts.plain_rows == 4
