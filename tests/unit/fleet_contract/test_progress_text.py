from typing import Any

import pytest

from fleet_contract.progress_text import describe_progress


@pytest.mark.parametrize(
    ("update", "text"),
    [
        ({"state": "waiting", "until": "2026-11-26T02:00:00Z"}, "until 2026-11-26T02:00:00Z"),
        ({"state": "fetching", "fetched_bytes": 12_300_000, "total_bytes": 50_000_000, "attempts": 1}, "12.3 of 50.0 MB"),
        ({"state": "waiting", "fetched_bytes": 1, "total_bytes": 50_000_000, "attempts": 2}, "0.0 of 50.0 MB, attempt 2"),
        (
            {"state": "fetching", "fetched_bytes": 200_000, "total_bytes": 20_000_000, "delta": True},
            "0.2 of 20.0 MB as a delta",
        ),
        ({"state": "shadowing", "inputs": 40, "inputs_wanted": 100}, "40 of 100 inputs"),
        ({"state": "probation", "inputs": 0, "inputs_wanted": 100, "total_bytes": 5}, "0 of 100 inputs"),
        ({"state": "probation", "inputs": 90, "inputs_wanted": 5}, "90 inputs are enough, its time is not over"),
        ({"state": "committed", "fetched_bytes": 5, "total_bytes": 5, "inputs": 100, "inputs_wanted": 100}, ""),
    ],
)
def test_how_far_an_update_is_reads_in_a_few_words(update: dict[str, Any], text: str) -> None:
    assert describe_progress(update) == text
