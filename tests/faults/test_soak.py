"""The soak itself: which seed plays what, what is played again, and what counts as a failure."""

import json
from pathlib import Path

import pytest

from edge_agent.journal.batch import Batch, JournalRow, OutboxRow
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from tests.faults.account import Account, excused_by, is_drop, lost_with_damage
from tests.faults.inflict import copy_store
from tests.faults.matrix import CASES, LINKS, PROCESSES, case_named, case_of
from tests.faults.soak import Soak, read_lines, summary


def line(seed: int, failures: list[str]) -> dict[str, object]:
    return {
        "case": case_of(seed).name,
        "seed": seed,
        "failures": failures,
        "account": {"events": 10, "results": 9},
        "total_s": 2.0,
    }


def test_two_hundred_seeds_play_every_cell_at_least_five_times() -> None:
    played = [case_of(seed).name for seed in range(200)]
    assert {played.count(case.name) >= 5 for case in CASES} == {True}


@pytest.mark.parametrize("target", PROCESSES)
@pytest.mark.parametrize("action", ["killed", "paused", "restarted"])
def test_each_process_is_killed_paused_and_restarted(target: str, action: str) -> None:
    assert case_named(f"{target}: {action}").conditions.qos == 1


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("action", ["cut", "half-open", "slowed", "reset mid-packet"])
def test_each_link_is_disturbed_in_each_way(link: str, action: str) -> None:
    assert case_named(f"{link} link: {action}").conditions.proxied


def test_finished_seeds_are_not_played_again_and_a_line_that_was_cut_off_is_none(tmp_path: Path) -> None:
    log = tmp_path / "seeds.jsonl"
    log.write_text(json.dumps(line(0, [])) + "\n" + json.dumps(line(1, []))[:20])
    assert [entry["seed"] for entry in read_lines(log)] == [0]
    assert Soak(tmp_path, [0]).run() == 0


def test_a_failed_seed_gives_exit_status_1_also_when_it_was_played_earlier(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text(json.dumps(line(3, ["missing results: 1"])) + "\n")
    assert Soak(tmp_path, [3]).run() == 1


def test_the_table_sums_up_by_case() -> None:
    again = len(CASES)
    ended = {"case": "nothing", "seed": 2 * again, "failures": ["exit status 1"]}
    table = summary([line(0, []), line(again, ["missing results: 1"]), ended])
    row = next(row for row in table.splitlines() if row.startswith("nothing"))
    assert row.split()[:5] == ["nothing", "3", "2", "20", "0"]
    assert table.splitlines()[-3].split()[:4] == ["all", "3", "2", "20"]
    assert table.endswith(f"seed {2 * again} failed (nothing): exit status 1")


@pytest.mark.parametrize(
    ("account", "failures"),
    [
        (Account(missing=2), ["missing results: 2"]),
        (Account(repeated=1), ["repeated results: 1"]),
        (Account(unexpected=1), ["unexpected results: 1"]),
        (Account(untold=3), ["dead letters without a note: 3"]),
        (Account(holes=1), ["holes in the stream: 1"]),
        (Account(holes=1, holes_allowed=True), []),
        (Account(drops={"outbox_evicted_rows": 1}), ["counter outbox_evicted_rows: 1"]),
        (Account(defects={"loop_errors": 1}), ["counter loop_errors: 1"]),
        (Account(complaints=["the agent is not back"]), ["the agent is not back"]),
        (Account(lost_qos0=5, only_in_damaged_file=5, told_again=1, broker_lost=1), []),
    ],
)
def test_what_breaks_the_promise_is_a_failure(account: Account, failures: list[str]) -> None:
    assert account.failures() == failures


def test_an_overflow_of_qos_0_is_a_drop_for_the_other_levels_alone() -> None:
    assert is_drop("qos0_overflow", 1)
    assert not is_drop("qos0_overflow", 0)
    assert is_drop("outbox_evicted_age", 0)
    assert not is_drop("replies_dropped", 1)


def test_a_damaged_file_excuses_what_waited_in_its_outbox_and_windows_of_its_open_events_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "agent.db", StoreSettings(), lambda call, *arguments: call(*arguments))
    batch = Batch()
    batch.outbox.append(OutboxRow("result", "t", b'{"result_id": "waited"}', durable=True))
    batch.journal.append(JournalRow(1, "t", b'{"id": "held"}', 1, False, b"", 0.0))
    store.submit(batch)
    assert store.close()
    lost = lost_with_damage(copy_store(tmp_path / "agent.db", tmp_path / "copy"))
    events = {"waited": frozenset({"a"}), "open": frozenset({"a", "held"}), "else": frozenset({"a"})}
    assert [excused_by(lost, [result], events) for result in ("waited", "open", "else")] == [1, 1, 0]
