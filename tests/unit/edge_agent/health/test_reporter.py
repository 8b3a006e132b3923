"""What the daemon writes to storage is measured, not estimated."""

import os
from collections import Counter
from pathlib import Path

from edge_agent.health.probes import written_bytes
from edge_agent.health.reporter import Reporter, Sources, per_event
from edge_agent.journal.batch import Counts


def test_bytes_per_event_are_those_of_the_interval_and_null_without_events() -> None:
    assert per_event(1000, 5000, 8) == 500.0
    assert per_event(1000, 5000, 0) is None
    assert per_event(None, 5000, 8) is None
    assert per_event(1000, None, 8) is None


def test_a_report_carries_what_the_kernel_counted_since_the_last_one() -> None:
    counters = Counter({"events": 7})
    folder = Path.cwd()  # on a disk, which a folder for temporary files may not be
    reporter = Reporter(
        Sources(
            state_dir=str(folder),
            stored=Counts,
            models=lambda: (),
            links=dict,
            counters=lambda: counters,
            quality=lambda *_: None,
            clock_behind=lambda: 3.5,
            store_fault=lambda: "disk_read_only",
            update_bytes=lambda: 7,
            update_budget=9,
        ),
        interval=60.0,
    )
    first = reporter.report()
    assert first.written_bytes is not None
    assert first.store_fault == "disk_read_only"
    assert (first.clock_behind_s, first.update_bytes, first.update_budget_bytes) == (3.5, 7, 9)
    path = folder / f".written-{os.getpid()}"
    try:
        with path.open("wb") as file:
            file.write(os.urandom(200 * 4096))
            file.flush()
            os.fsync(file.fileno())
        counters["events"] += 100
        second = reporter.report()
    finally:
        path.unlink()
    assert second.written_bytes is not None
    written = second.written_bytes - first.written_bytes
    assert second.written_bytes_per_event == round(written / 100, 1)
    assert written in (0, *range(200 * 4096, 300 * 4096))
    assert reporter.report().written_bytes_per_event is None
    assert written_bytes() is not None
