import dataclasses
from typing import Any

import pytest

from fleet_controller.demo.evidence import HealthRow, Row
from fleet_controller.demo.reconcile import Reconciled
from fleet_controller.demo.summary import (
    answers_during,
    answers_of,
    device_counts,
    end_to_end,
    find_problems,
    find_problems_with_worse,
    operators_table,
    percentiles,
)
from fleet_controller.demo.told import Told

GOOD = Reconciled(device="farm-1", pipeline="frost", sent=9, expected=3, found=3, missing=0, repeated=0, unexpected=0)
NOTED = {("farm-1", "frost", 3, "golden_mismatch"), ("farm-1", "frost", 4, "hash_mismatch")}
DURING = {"farm-1": {"2.0.0": 12}}
UPDATED = {"farm-1": ["frost"]}


def told(**changes: Any) -> Told:
    refusals = [
        {"device": "farm-1", "model": "frost", "version": "3.0.0", "release": 3, "reason": "golden_mismatch"},
        {"device": "farm-1", "model": "frost", "version": "4.0.0", "release": 4, "reason": "hash_mismatch"},
    ]
    attested = {"farm-1": {"frost": {"version": "2.0.0", "release": 2, "digest": "sha256:00"}}}
    return dataclasses.replace(
        Told(refusals=refusals, attested=attested, outbox_peak={"farm-1": 7}, online={"farm-1": True}, sensors_stopped=100.0),
        **changes,
    )


def row(received: float, *, version: str = "2.0.0", last_event: str = "e", model: str = "frost") -> Row:
    return Row("farm-1", "frost", "id", "window", last_event, model, version, 2, received)


def health(received: float, inferences: int, p50: float | None) -> HealthRow:
    model = {
        "model": "frost",
        "inferences": inferences,
        "p50_ms": p50,
        "p95_ms": p50,
        "p99_ms": p50,
        "memory_bytes": 5,
        "queue": 1,
    }
    return HealthRow(
        "farm-1",
        received,
        {"interval_s": 2.0, "daemon_memory_bytes": 3, "outbox_rows": 2, "results_per_minute": 0, "models": [model]},
    )


def test_a_good_run_has_no_problem() -> None:
    assert find_problems([GOOD], told(), DURING, NOTED, UPDATED) == []


def test_every_kind_of_miscount_is_a_problem() -> None:
    for word in ("missing", "repeated", "unexpected"):
        (problem,) = find_problems([dataclasses.replace(GOOD, **{word: 2})], told(), DURING, NOTED, UPDATED)
        assert problem == f"farm-1, frost: 2 {word} results"


def test_a_pipeline_that_should_have_no_results_proves_nothing() -> None:
    assert find_problems([dataclasses.replace(GOOD, expected=0, found=0)], told(), DURING, NOTED, UPDATED)


def test_both_refusals_must_have_happened() -> None:
    (problem,) = find_problems([GOOD], told(refusals=told().refusals[:1]), DURING, NOTED, UPDATED)
    assert "hash_mismatch" in problem


def test_a_refusal_needs_the_devices_own_note() -> None:
    (problem,) = find_problems([GOOD], told(), DURING, set(list(NOTED)[:1]), UPDATED)
    assert problem.startswith("no note of farm-1")


def test_a_device_that_attests_another_version_is_a_problem() -> None:
    attested = {"farm-1": {"frost": {"version": "1.0.0", "release": 1, "digest": "sha256:00"}}}
    assert find_problems([GOOD], told(attested=attested), DURING, NOTED, UPDATED) == ["farm-1 attests frost 1.0.0, not 2.0.0"]


def test_an_answer_of_a_bad_release_or_none_at_all_is_a_problem() -> None:
    assert find_problems([GOOD], told(), {"farm-1": {"2.0.0": 9, "3.0.0": 1}}, NOTED, UPDATED)
    assert find_problems([GOOD], told(), {}, NOTED, UPDATED)


def test_a_cut_in_which_nothing_waited_shows_nothing() -> None:
    assert find_problems([GOOD], told(outbox_peak={"farm-1": 0}), DURING, NOTED, UPDATED)


def test_percentiles_are_values_that_were_measured() -> None:
    found = percentiles([float(value) for value in range(1, 101)])
    assert (found.p50, found.p95, found.p99) == (51.0, 96.0, 100.0)
    assert percentiles([]).p50 is None


def test_latency_from_sensor_to_database_leaves_out_what_was_sent_during_the_cut() -> None:
    sent = {"before": 10.0, "during": 55.0}
    rows = [row(10.25, last_event="before"), row(70.0, last_event="during"), row(5.0, last_event="unknown")]
    assert end_to_end(rows, sent, ((50.0, 60.0),)) == [250.0]


def test_answers_are_counted_by_device_and_version_inside_the_window_of_time() -> None:
    rows = [row(9.0), row(10.0), row(11.0, version="3.0.0"), row(12.0, model="reports"), row(21.0)]
    assert answers_during(rows, (10.0, 20.0), ["frost"]) == {"farm-1": {"2.0.0": 1, "3.0.0": 1}}


def test_the_table_shows_the_last_minute_in_which_the_sensors_ran() -> None:
    (line,) = operators_table(
        [health(10.0, 500, 9.0), health(98.0, 10, 3.0), health(99.0, 20, None), health(120.0, 0, 5.0)], told()
    )
    assert line.results_per_minute == 450.0
    assert (line.online, line.version, line.queue, line.p50_ms) == (True, "2.0.0", 3, 5.0)


def test_counts_of_a_device_are_the_sums_of_its_pipelines() -> None:
    other = dataclasses.replace(GOOD, pipeline="reports", sent=5, expected=5, found=4, missing=1)
    device = device_counts([GOOD, other], told())["farm-1"]
    assert (device["events_sent"], device["results_received"]) == (14, 7)
    assert device["pipelines"]["reports"]["missing"] == 1
    assert device["attested"]["frost"]["version"] == "2.0.0"


WORSE: dict[str, Any] = {
    "device": "farm-1",
    "model": "frost",
    "version": "5.0.0",
    "release": 5,
    "reason": "confidence",
    "evidence": {"candidate": {"inferences": 22}},
    "rollout_state": "paused",
    "untouched": ["farm-2"],
}
TAKEN_BACK = {("farm-1", "frost", 5, "confidence")}


def test_a_worse_version_that_its_device_took_back_in_time_is_no_problem() -> None:
    assert find_problems_with_worse(told(taken_back=WORSE), {"farm-1": 24}, TAKEN_BACK) == []


@pytest.mark.parametrize(
    ("changes", "answers", "noted", "names"),
    [
        ({"reason": "latency"}, {}, {("farm-1", "frost", 5, "latency")}, "for latency"),
        ({"evidence": {"candidate": {"inferences": 101}}}, {}, TAKEN_BACK, "101 inferences"),
        ({"rollout_state": "done"}, {}, TAKEN_BACK, "is done"),
        ({"untouched": []}, {}, TAKEN_BACK, "untouched"),
        ({}, {}, set(), "no note"),
        ({}, {"farm-2": 1}, TAKEN_BACK, "farm-2 answered"),
    ],
)
def test_whatever_else_becomes_of_it_is_a_problem(changes: Any, answers: Any, noted: Any, names: str) -> None:
    (problem,) = find_problems_with_worse(told(taken_back=WORSE | changes), answers, noted)
    assert names in problem


def test_a_worse_version_that_was_never_tried_shows_nothing() -> None:
    assert find_problems_with_worse(told(), {}, set())


def test_answers_of_a_version_are_counted_by_device() -> None:
    assert answers_of([row(1.0), row(2.0, version="5.0.0"), row(3.0, version="5.0.0")], "frost", "5.0.0") == {"farm-1": 2}
