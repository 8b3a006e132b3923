"""Reconciliation: the result ids that must exist, computed from the sensors' own logs, against the controller's database.

Expected are the ids that `edge-agent replay` prints for what a sensor says it sent; found are the rows of the results table,
repeats included. Neither side uses a counter of ours.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_controller.demo.evidence import Row
from fleet_controller.demo.processes import clean_environment, module_command


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One device's pipeline, counted."""

    device: str
    pipeline: str
    sent: int
    """Events that the sensor's log says it sent."""
    expected: int
    """Results that follow from them."""
    found: int
    """Rows in the controller's database."""
    missing: int
    """Expected, but not in the database."""
    repeated: int
    """Rows beyond the first for the same window of the same sensor, whatever their ids."""
    unexpected: int
    """In the database, but not expected."""


class ReplayFailed(RuntimeError):
    """`edge-agent replay` did not run; the text is what it said."""


def expected_results(config: Path, pipeline: str, events: Path) -> list[dict[str, Any]]:
    """The results that `edge-agent replay` computes; raises ReplayFailed."""
    done = subprocess.run(
        module_command("edge_agent.cli", "replay", "--config", str(config), "--pipeline", pipeline, str(events)),
        env=clean_environment(),
        capture_output=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise ReplayFailed(f"edge-agent replay of {events}: {done.stderr.decode(errors='replace').strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def expected_ids(config: Path, pipeline: str, events: Path) -> list[str]:
    """The ids of these results alone; raises ReplayFailed."""
    return [result["result_id"] for result in expected_results(config, pipeline, events)]


def compare(device: str, pipeline: str, sent: int, expected: Iterable[str], rows: Iterable[Row]) -> Reconciled:
    """Count what is missing and what was answered more than once. Pure."""
    wanted = set(expected)
    mine = [row for row in rows if row.device == device and row.pipeline == pipeline]
    ids = {row.result_id for row in mine}
    windows = Counter(row.window for row in mine)
    return Reconciled(
        device=device,
        pipeline=pipeline,
        sent=sent,
        expected=len(wanted),
        found=len(mine),
        missing=len(wanted - ids),
        repeated=sum(count - 1 for count in windows.values()),
        unexpected=len(ids - wanted),
    )
