from typing import Any

from edge_agent.commands.status_text import render


def status(**changes: Any) -> dict[str, Any]:
    return {
        "device": "barn-1",
        "version": "1.0.0",
        "uptime_s": 60,
        "links": {"site": True, "fleet": False},
        "outbox_rows": 1,
        "outbox_bytes": 2,
        "ballast_missing": 0,
        "journal_rows": 3,
        "dead_letters": 0,
        "pipelines": ["p"],
        "queues": [],
        "models": [],
        "workers": [],
        "updates": [],
        "quality": [],
        "trust": None,
        "clock_behind_s": None,
    } | changes


def test_a_disk_that_takes_no_writes_is_told_in_words() -> None:
    text = render(status(store_fault="disk_read_only"))
    assert "disk      disk_read_only: The state disk takes no writes" in text


def worker(**changes: Any) -> dict[str, Any]:
    values = {"model": "frost", "queue": 7, "max_batch": 64, "batching": "delayed", "mode": "run", "mode_detail": None}
    values |= {"sandbox": None, "quarantined": False}
    return values | changes


def test_each_worker_s_batches_and_mode_are_shown() -> None:
    text = render(
        status(
            workers=[
                worker(),
                worker(model="leak", batching="no_gain", max_batch=31, mode="slow", mode_detail="76.0 °C, slow_above is 75 °C"),
                worker(model="new", max_batch=0, batching="at_once"),
            ]
        )
    )
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "WORKER OF QUEUE BATCHES MODE" in rows
    assert "frost 7 up to 64, wait for more run" in rows
    assert "leak 7 up to 31, at once, as waiting is of no use slow: 76.0 °C, slow_above is 75 °C" in rows
    assert "new 7 no model yet run" in rows


def test_a_bounded_queue_is_shown_with_its_policy() -> None:
    text = render(status(queues=[{"pipeline": "p", "policy": "drop_oldest", "max_windows": 9, "waiting": 4}]))
    assert "queue     p: 4 windows wait, drop_oldest beyond 9" in text.splitlines()


def test_why_a_model_is_degraded_is_shown_below_the_models() -> None:
    model = {"model": "pests", "version": "1.0.0", "release": 3, "provider": "CPUExecutionProvider", "digest": "sha256:ab"}
    lines = render(status(models=[{**model, "degraded": "cuda: did not start"}, {**model, "degraded": None}])).splitlines()
    assert [line for line in lines if "degraded" in line] == ["pests is degraded: cuda: did not start"]


def test_what_holds_the_workers_is_told_once_for_those_that_are_held_alike() -> None:
    words = ["no_new_privs", "seccomp"]
    workers = [
        worker(sandbox=words),
        worker(model="loading"),
        worker(model="bare", sandbox=[]),
        worker(model="leak", sandbox=words),
    ]
    lines = [line for line in render(status(workers=workers)).splitlines() if line.startswith("sandbox")]
    assert lines == ["sandbox   frost, leak: no_new_privs seccomp", "sandbox   bare: none"]


def test_how_right_each_release_was_is_shown_where_it_is_known() -> None:
    frost = {"model": "frost", "release": 2, "labelled": 40, "right": 38, "accuracy": 0.95, "mean_error": None}
    load = {"model": "load", "release": 1, "labelled": 3, "right": 0, "accuracy": None, "mean_error": 1.25}
    rows = [" ".join(line.split()) for line in render(status(quality=[frost, load])).splitlines()]
    assert "frost 2 40 38 (95.0%)" in rows
    assert "load 1 3 mean error 1.25" in rows
    assert not any(row.startswith("FEEDBACK") for row in render(status()).splitlines())


def test_what_the_metadata_told_and_a_clock_that_is_not_believed_are_shown() -> None:
    trust = {"checked": "2026-01-01T00:00:00Z", "expires": "2026-01-08T00:00:00Z", "expired": True, "revoked": {"frost": 2}}
    trust |= {"reason": "metadata_expired", "detail": "timestamp.json is expired"}
    lines = render(status(trust=trust, clock_behind_s=90061.0)).splitlines()
    assert [line for line in lines if line.startswith(("trust", "clock"))] == [
        "trust     metadata of 2026-01-01T00:00:00Z, expired at 2026-01-08T00:00:00Z: nothing is installed",
        "trust     frost release 2 is revoked and goes on until another is desired",
        "trust     the newest attempt to refresh failed (metadata_expired): timestamp.json is expired",
        "clock     1 d 1 h 1 min 1 s before the last time that was seen: not believed",
    ]


def test_what_has_drifted_is_one_line_for_each_model_that_counts() -> None:
    far = {"inputs": 600, "judged": True, "worst": [{"name": "input.flow", "psi": 1.2, "drifted": True}]}
    health: dict[str, Any] = {"cpu_percent": 1, "memory_percent": 1, "daemon_memory_bytes": 1, "results_per_minute": 1}
    health["models"] = [{"model": "leak", "drift": far}, {"model": "old", "drift": None}]
    lines = [line for line in render(status(health=health)).splitlines() if line.startswith("drift")]
    assert lines == ["drift     leak: drifted: input.flow (PSI 1.20); of 600 inputs"]


def test_what_updates_wait_for_and_how_far_they_are_is_shown() -> None:
    update = {"model": "frost", "release": 2, "state": "waiting", "reason": "outside_window", "detail": "later"}
    lines = render(
        status(
            updates=[update | {"until": "2026-11-26T02:00:00Z"}],
            update_holds=["*"],
            update_bytes=1_500_000,
            update_budget_bytes=2_000_000,
        )
    ).splitlines()
    assert " ".join(lines[-3].split()) == "frost 2 waiting outside_window later; until 2026-11-26T02:00:00Z"
    assert lines[-2:] == [
        "updates are held: all models (edge-agent updates release)",
        "updates have fetched 1.5 of 2.0 MB this month",
    ]


def test_the_variant_that_was_picked_is_shown_with_why() -> None:
    model = {"model": "leak", "version": "2.0.0", "release": 3, "provider": "CPU", "digest": "sha256:ab", "variant": "int8"}
    update = {"model": "leak", "release": 3, "state": "committed", "reason": None, "detail": None, "variant": "int8"}
    update |= {"picked": "it costs least: 1 ms, 0.1 MB", "not_picked": {"tflite": "no runtime for tflite is installed"}}
    rows = [" ".join(line.split()) for line in render(status(models=[model], updates=[update])).splitlines()]
    assert "leak 2.0.0 int8 3 CPU sha256:ab" in rows
    picked = "variant int8: it costs least: 1 ms, 0.1 MB; not tflite: no runtime for tflite is installed"
    assert f"leak 3 committed {picked}" in rows
