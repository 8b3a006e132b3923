"""The store on a real file with its real thread."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.journal import reader as reading
from edge_agent.journal.batch import Batch, JournalRow, OutboxRow, Priority, pack_properties, unpack_properties
from edge_agent.journal.errors import StoreError, StoreFull, StoreInUse, StoreTooNew
from edge_agent.journal.eviction import Cause
from edge_agent.journal.reader import Reader
from edge_agent.journal.schema import STEPS
from edge_agent.journal.store import Store, read_counts
from edge_agent.loop import Loop
from edge_agent.settings import StoreSettings


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def event(number: int, payload: bytes = b"{}") -> JournalRow:
    return JournalRow(number, "site/a", payload, 1, False, None, 1.5)


def row(payload: bytes = b'{"a":1}', *, link: str = "fleet", durable: bool = True) -> OutboxRow:
    return OutboxRow("result", "t", payload, durable=durable, link=link)


def commit(loop: Loop, store: Store, *batches: Batch) -> list[StoreError | None]:
    answers: list[StoreError | None] = []
    for batch in batches:
        store.submit(batch, answers.append)
    assert loop.run_until(lambda: len(answers) == len(batches), 20)
    return answers


def test_what_was_committed_is_there_after_reopening_in_order(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    stream = store.stream
    packed = pack_properties({"content_type": "a/b", "correlation": b"\x00", "user": [("k", "v")]})
    rows = [event(5), event(7)._replace(properties=packed, retain=True), event(9)]
    batch = Batch(
        journal=rows,
        outbox=[row(), row(link="site")],
        pipeline_states={("p", "k"): b"s", ("p", "gone"): b"x"},
        values={"a": b"1", "b": b"2"},
        taken=[b"%016d" % number for number in range(3)],
        last_event_no=12,
    )
    assert commit(loop, store, batch) == [None]
    more = Batch(pipeline_states={("p", "gone"): None}, values={"b": None, "a": b"3"}, taken=[b"%016d" % 3], forget=[5, 6])
    assert commit(loop, store, more) == [None]
    assert store.close()
    again = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    assert again.stream == stream
    assert list(again.journal_rows()) == rows[1:]
    assert unpack_properties(packed) == {"content_type": "a/b", "correlation": b"\x00", "user": [("k", "v")]}
    assert again.taken_keys() == [b"%016d" % number for number in range(4)]
    assert again.pipeline_states("p") == {"k": b"s"}
    assert again.values() == {"a": b"3"}
    assert again.counts == (2, 2, 14, 2, 12, 2, 14, 0, 0) == read_counts(tmp_path / "agent.db")
    assert again.set_aside is None
    assert again.close()


def test_seqs_grow_with_submission_and_are_never_given_twice(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    first = Batch(outbox=[row(), row()])
    commit(loop, store, first, Batch(delivered=[1, 2]))
    assert store.counts.outbox_rows == store.counts.outbox_bytes == 0
    assert store.close()
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    batch = Batch(outbox=[row()])
    commit(loop, store, batch)
    assert [first.outbox[1].seq, batch.outbox[0].seq] == [2, 3]
    assert store.close()


def test_a_bad_batch_among_those_that_wait_together_fails_alone_and_callbacks_keep_their_order(
    tmp_path: Path, loop: Loop
) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    order: list[tuple[int, bool]] = []
    told: list[int] = []
    store.on_outbox(lambda rows: told.extend(row.seq for row in rows))
    for number, batch in enumerate(
        [
            Batch(journal=[event(1)], outbox=[row()]),
            Batch(outbox=[row()], journal=[event(1)]),
            Batch(journal=[event(2)], outbox=[row()]),
        ]
    ):
        store.submit(batch, lambda error, number=number: order.append((number, error is None)))  # type: ignore[misc]
    assert store.busy
    assert loop.run_until(lambda: len(order) == 3, 20)
    assert order == [(0, True), (1, False), (2, True)]
    assert told == [1, 3]
    assert not store.busy
    assert store.counts[:2] == (2, 2)
    assert [found.event_no for found in store.journal_rows()] == [1, 2]
    assert store.close()


def test_a_clash_of_event_numbers_is_a_permanent_error(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    commit(loop, store, Batch(journal=[event(1, b"first")]))
    (error,) = commit(loop, store, Batch(journal=[event(1, b"second")]))
    assert error is not None
    assert not error.temporary
    assert [found.payload for found in store.journal_rows()] == [b"first"]
    assert store.close()


@pytest.mark.parametrize(
    "settings",
    [
        StoreSettings(max_journal_rows=2),
        StoreSettings(max_outbox_rows=2),
        StoreSettings(max_outbox_bytes=14),
    ],
)
def test_a_bound_refuses_what_adds_and_lets_through_what_deletes(tmp_path: Path, loop: Loop, settings: StoreSettings) -> None:
    store = Store(tmp_path / "agent.db", settings, loop.post)
    assert commit(loop, store, Batch(journal=[event(1), event(2)], outbox=[row(), row()])) == [None]
    full = Batch(journal=[event(3)], outbox=[row()])
    (error,) = commit(loop, store, full)
    assert isinstance(error, StoreFull)
    assert error.temporary
    assert commit(loop, store, Batch(forget=[1], delivered=[1], values={"a": b"b"})) == [None]
    assert commit(loop, store, full) == [None]
    assert store.close()


@pytest.mark.parametrize(
    "settings",
    [
        StoreSettings(max_journal_rows=10),
        StoreSettings(max_outbox_rows=10),
        StoreSettings(max_outbox_bytes=80),
    ],
)
def test_a_batch_larger_than_a_bound_passes_once_hardly_anything_is_held(
    tmp_path: Path, loop: Loop, settings: StoreSettings
) -> None:
    store = Store(tmp_path / "agent.db", settings, loop.post)
    assert commit(loop, store, Batch(journal=[event(1), event(2)], outbox=[row(), row()])) == [None]
    large = Batch(journal=[event(number) for number in range(3, 18)], outbox=[row() for _ in range(15)])
    (error,) = commit(loop, store, large)
    assert isinstance(error, StoreFull)
    assert commit(loop, store, Batch(forget=[1], delivered=[1])) == [None]
    assert commit(loop, store, large) == [None]
    assert isinstance(commit(loop, store, Batch(journal=[event(20)], outbox=[row()]))[0], StoreFull)
    assert store.close()


def test_a_batch_that_is_submitted_again_uses_up_no_more_numbers(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(max_outbox_rows=20), loop.post)
    commit(loop, store, Batch(outbox=[row() for _ in range(18)]))
    refused = Batch(outbox=[row(), row()])
    for _ in range(3):
        assert isinstance(commit(loop, store, refused)[0], StoreFull)
        refused.outbox.append(row())
    assert [item.seq for item in refused.outbox] == [19, 20, 21, 22, 0]
    assert commit(loop, store, Batch(outbox=[row()])) == [None]  # another batch has had the next number meanwhile
    commit(loop, store, Batch(delivered=list(range(1, 24))))
    assert commit(loop, store, refused) == [None]
    assert [item.seq for item in refused.outbox] == [24, 25, 26, 27, 28]
    assert store.close()


def test_a_nearly_full_disk_refuses_what_adds(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(min_free_bytes=2**62), loop.post)
    error, passed = commit(loop, store, Batch(outbox=[row()]), Batch(delivered=[1], pipeline_states={("a", "b"): b"c"}))
    assert isinstance(error, StoreFull)
    assert passed is None
    assert store.close()


def test_sqlite_out_of_space_is_temporary_and_nothing_of_the_batch_is_applied(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    store._writer._connection.execute("PRAGMA max_page_count = 20")  # SQLite then answers as on a full disk
    (error,) = commit(loop, store, Batch(values={"a": b"b"}, journal=[event(1, bytes(200_000))]))
    assert error is not None
    assert error.temporary
    assert store.values() == {}
    assert commit(loop, store, Batch(values={"a": b"b"})) == [None]
    assert store.close()


def test_a_damaged_file_is_set_aside_and_a_fresh_one_made(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(b"this is no database" * 1000)
    store = Store(path, StoreSettings(), loop.post)
    assert store.set_aside is not None
    assert store.set_aside.path.read_bytes() == b"this is no database" * 1000
    assert store.set_aside.held is None
    assert commit(loop, store, Batch(journal=[event(1)])) == [None]
    assert store.close()


def test_damage_inside_the_file_is_found_at_start(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "agent.db"
    store = Store(path, StoreSettings(), loop.post)
    commit(loop, store, Batch(journal=[event(number, bytes(500)) for number in range(200)]))
    stream = store.stream
    assert store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 12)
        file.write(os.urandom(4096 * 6))
    store = Store(path, StoreSettings(), loop.post)
    assert store.set_aside is not None
    assert store.set_aside.held is not None
    assert store.set_aside.held.journal_rows == 200
    assert store.stream != stream
    assert store.close()


def test_the_wal_of_a_damaged_file_goes_with_it_and_into_no_fresh_one(tmp_path: Path, loop: Loop) -> None:
    running = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    commit(loop, running, Batch(outbox=[row()], values={"a": b"b"}))
    folder = tmp_path / "after-a-crash"
    folder.mkdir()
    for name in ("agent.db", "agent.db-wal", "agent.db-shm"):
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    wal = (folder / "agent.db-wal").read_bytes()
    assert running.close()
    with (folder / "agent.db").open("r+b") as file:
        file.write(b"not a database!!")
    store = Store(folder / "agent.db", StoreSettings(), loop.post)
    assert store.set_aside is not None
    aside = store.set_aside.path
    assert aside.with_name(f"{aside.name}-wal").read_bytes() == wal
    assert (store.values(), store.counts.outbox_rows) == ({}, 0)
    assert commit(loop, store, Batch(outbox=[row()])) == [None]
    assert store.close()
    again = Store(folder / "agent.db", StoreSettings(), loop.post)
    assert (again.set_aside, again.counts.outbox_rows) == (None, 1)
    assert aside.exists()
    assert again.close()


def test_the_file_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "agent.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreTooNew, match="newer release"):
        Store(path, StoreSettings(), loop.post)
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (99,)


def test_a_second_store_on_the_same_file_is_refused(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    with pytest.raises(StoreInUse):
        Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    assert store.close()


def test_old_event_keys_are_pruned_but_65536_stay(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    for start in range(0, 80_000, 8_000):
        assert commit(loop, store, Batch(taken=[b"%016d" % number for number in range(start, start + 8_000)])) == [None]
    assert store.taken_keys() == [b"%016d" % number for number in range(8_000, 80_000)]
    assert store.close()


def pages_of(reader: Reader, link: str, priority: Priority, *, rows: int = 256, size: int = 2**20) -> list[list[int]]:
    pages: list[list[int]] = []
    after, more = 0, True
    while more:
        found, after, more = reader.outbox_page(link, priority, after, rows=rows, size=size)
        pages.append([row.seq for row in found])
    return pages


@pytest.mark.parametrize("durable", [False, True])
def test_pages_hold_one_link_and_class_in_order_and_end_at_their_bounds(tmp_path: Path, loop: Loop, durable: bool) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    commit(loop, store, Batch(outbox=[row(link="site" if number % 3 else "fleet", durable=durable) for number in range(9)]))
    commit(loop, store, Batch(outbox=[row(link=link, durable=not durable) for link in ("site", "fleet")]))
    reader = store.open_reader()
    priority = Priority.RESULT if durable else Priority.PLAIN
    assert pages_of(reader, "site", priority, rows=3) == [[2, 3, 5], [6, 8, 9], []]
    assert pages_of(reader, "fleet", priority, size=8) == [[1, 4], [7]]
    assert pages_of(reader, "fleet", Priority.NOTE) == [[]]
    reader.close()
    assert store.close()


def test_a_few_plain_rows_among_many_durable_ones_are_found_in_bounded_steps(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WALKED_SEQS", 10)
    store = Store(tmp_path / "agent.db", StoreSettings(), loop.post)
    commit(loop, store, Batch(outbox=[row(durable=number not in (30, 31, 77)) for number in range(90)]))
    commit(loop, store, Batch(delivered=list(range(1, 26))))
    reader = store.open_reader()
    steps = pages_of(reader, "fleet", Priority.PLAIN)
    assert [seq for step in steps for seq in step] == [31, 32, 78]
    assert len(steps) == 7
    reader.close()
    assert store.close()


def test_a_file_of_the_first_schema_gets_its_classes_and_totals(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "agent.db"
    old = sqlite3.connect(path, isolation_level=None)
    for statement in STEPS[0]:
        old.execute(statement)
    rows = [("fleet", "note", 1), ("fleet", "result", 1), ("fleet", "result", 0), ("site", "result", 0)]
    for number, (link, kind, durable) in enumerate(rows, start=5):
        old.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, 't', ?)", (number, link, kind, durable, bytes(number)))
    old.execute("INSERT INTO totals VALUES (1, 'old', 0, 4, 26, 8, 3)")
    old.execute("PRAGMA user_version = 1")
    old.close()
    store = Store(path, StoreSettings(), loop.post)
    assert store.counts == (0, 4, 26, 8, 3, 1, 6, 2, 15)
    reader = store.open_reader()
    assert [pages_of(reader, "fleet", priority) for priority in Priority] == [[[5]], [[6]], [[7]]]
    assert pages_of(reader, "site", Priority.PLAIN) == [[8]]
    reader.close()
    assert commit(loop, store, Batch(outbox=[row()], delivered=[5, 6, 7, 8])) == [None]
    assert store.counts == (0, 1, 7, 9, 3, 1, 7, 0, 0)
    assert store.close()


def seqs_of(store: Store) -> dict[Priority, list[int]]:
    reader = store.open_reader()
    found = {
        priority: sorted(seq for link in ("fleet", "site") for page in pages_of(reader, link, priority) for seq in page)
        for priority in Priority
    }
    reader.close()
    return found


def note() -> OutboxRow:
    return OutboxRow("note", "t", b'{"a":1}', durable=True)


def test_a_full_outbox_drops_the_oldest_plain_rows_of_both_links_and_counts_them(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(max_outbox_rows=20), loop.post)
    told: list[object] = []
    store.on_evicted = told.append
    rows = [row(link="site" if number % 2 else "fleet", durable=number % 3 == 0) for number in range(19)]
    assert commit(loop, store, Batch(outbox=rows)) == [None]
    assert told == []
    assert commit(loop, store, Batch(outbox=[row(), row(durable=False), row()])) == [None]
    assert told == [{(Cause.ROWS, Priority.PLAIN): 3}]
    assert seqs_of(store) == {
        Priority.NOTE: [],
        Priority.RESULT: [1, 4, 7, 10, 13, 16, 19, 20, 22],
        Priority.PLAIN: [6, 8, 9, 11, 12, 14, 15, 17, 18, 21],
    }
    assert commit(loop, store, Batch(outbox=[row() for _ in range(10)])) == [None]
    assert commit(loop, store, Batch(outbox=[note()])) == [None]
    (error,) = commit(loop, store, Batch(outbox=[row(durable=False)]))
    assert isinstance(error, StoreFull)
    counted = {"outbox_evicted_rows": 13, "outbox_evicted_plain": 13, "outbox_evicted_bytes": 0, "outbox_evicted_results": 0}
    assert counted.items() <= store.stats().items()
    assert store.counts == (0, 20, 140, 33, 0, 19, 133, 0, 0)
    assert store.close()


def test_a_batch_that_is_rolled_back_evicts_nothing(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(max_outbox_rows=20), loop.post)
    commit(loop, store, Batch(journal=[event(1)], outbox=[row(durable=False) for _ in range(19)]))
    (error,) = commit(loop, store, Batch(journal=[event(1)], outbox=[row()]))
    assert error is not None
    assert store.counts.outbox_rows == 19
    assert store.stats()["outbox_evicted_rows"] == 0
    assert commit(loop, store, Batch(outbox=[row()])) == [None]
    assert seqs_of(store)[Priority.PLAIN] == list(range(2, 20))
    assert store.close()


def test_durable_rows_go_by_bytes_only_if_the_configuration_says_so_and_notes_last(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(max_outbox_bytes=140, evict_durable=True), loop.post)
    commit(loop, store, Batch(outbox=[note(), row(durable=False), *(row() for _ in range(17))]))
    assert commit(loop, store, Batch(outbox=[row(b"{}" * 10)])) == [None]
    assert seqs_of(store) == {Priority.NOTE: [1], Priority.RESULT: list(range(5, 21)), Priority.PLAIN: []}
    evicted = {"outbox_evicted_bytes": 3, "outbox_evicted_results": 2, "outbox_evicted_plain": 1, "outbox_evicted_notes": 0}
    assert evicted.items() <= store.stats().items()
    assert store.close()


def test_an_almost_full_disk_still_takes_notes(tmp_path: Path, loop: Loop) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(min_free_bytes=2**62), loop.post)
    assert commit(loop, store, Batch(outbox=[note()])) == [None]
    (error,) = commit(loop, store, Batch(outbox=[note()], journal=[event(1)]))
    assert isinstance(error, StoreFull)
    assert store.close()


COMMITTER = """
import sys
from pathlib import Path
from edge_agent.journal.batch import Batch, JournalRow, OutboxRow
from edge_agent.journal.store import Store
from edge_agent.loop import Loop
from edge_agent.settings import StoreSettings
loop = Loop()
store = Store(Path(sys.argv[1]), StoreSettings(), loop.post)
number = store.counts.last_event_no
def again(error=None):
    global number
    assert error is None
    number += 1
    mine = number
    batch = Batch(
        journal=[JournalRow(mine, "t", b"x" * 300, 1, False, None, 0.0)],
        outbox=[OutboxRow("result", "t", b"%d" % mine, durable=True)], taken=[b"%016d" % mine], forget=[mine - 3])
    def done(error):
        print(mine, batch.outbox[0].seq, flush=True)
        again(error)
    store.submit(batch, done)
again(); again(); again()
loop.run()
"""


def test_whatever_was_reported_as_stored_survives_sigkill(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "agent.db"
    chance = random.Random(7)
    reported: dict[int, int] = {}
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", COMMITTER, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 120)):
                number, seq = process.stdout.readline().split()
                reported[int(number)] = int(seq)
            process.send_signal(signal.SIGKILL)
            for line in process.stdout.read().splitlines(keepends=True):
                if line.endswith("\n"):
                    number, seq = line.split()
                    reported[int(number)] = int(seq)
        store = Store(path, StoreSettings(), loop.post)
        assert store.set_aside is None
        stored = {found.payload: found.seq for found in _all_rows(store)}
        assert {b"%d" % number: seq for number, seq in reported.items()}.items() <= stored.items()
        assert len(set(stored.values())) == len(stored)
        assert {b"%016d" % number for number in reported} <= set(store.taken_keys())
        journaled = {found.event_no for found in store.journal_rows()}
        # a row is gone only by the commit that forgets it, three numbers later, whether that one was reported or not
        assert {number for number in reported if b"%d" % (number + 3) not in stored} <= journaled
        assert not {number for number in reported if b"%d" % (number + 3) in stored} & journaled
        assert store.counts.journal_rows == len(journaled)
        assert store.counts.outbox_rows == len(stored)
        assert store.close()


def _all_rows(store: Store) -> list[OutboxRow]:
    reader = store.open_reader()
    rows: list[OutboxRow] = []
    after, more = 0, True
    while more:
        page, after, more = reader.outbox_page("fleet", Priority.RESULT, after)
        rows += page
    reader.close()
    return rows
