"""A slice of `python -m benchmarks outage`: a day without the fleet broker on a virtual clock."""

from pathlib import Path

from benchmarks.outage import FILE_PER_PAYLOAD, run
from edge_agent.settings import StoreSettings

MEBIBYTE = 1024**2


def test_after_a_day_offline_all_that_fits_leaves_in_order_while_events_go_on(tmp_path: Path) -> None:
    settings = StoreSettings(max_outbox_bytes=8 * MEBIBYTE, min_free_bytes=0, ballast_bytes=0)
    outcome = run(tmp_path, 20_000, settings)  # itself asserts order and accounts for every row
    print(outcome)
    assert outcome.evicted > 0
    assert outcome.most_file_bytes < settings.max_outbox_bytes * FILE_PER_PAYLOAD + 16 * MEBIBYTE  # of WAL and its index
    assert 900 < outcome.drained / outcome.drain_seconds < 1100
    assert outcome.live > 0
    assert outcome.memory_growth < 64 * MEBIBYTE


def test_with_room_for_a_day_nothing_is_evicted(tmp_path: Path) -> None:
    outcome = run(tmp_path, 5_000, StoreSettings(min_free_bytes=0, ballast_bytes=0))
    assert outcome.evicted == 0
    assert outcome.drained >= outcome.results
