"""The demo as a user runs it, once on each broker."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

FLEET = [sys.executable, "-c", "from fleet_controller.cli import main; main()"]
LIMIT = 300.0
STOP_LIMIT = 60.0


def run_demo(out: Path, broker: str) -> tuple[int, str]:
    """Exit status and output; a demo that takes longer than `LIMIT` is ended, with all that it has started."""
    process = subprocess.Popen(
        [*FLEET, "demo", "--out", str(out), "--broker", broker],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=STOP_LIMIT)
        pytest.fail(f"the demo took longer than {LIMIT:.0f} s:\n{output}")
    return process.returncode, output


def left_running(out: Path) -> list[str]:
    """Command lines of processes that work below `out`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it has ended meanwhile
            if str(out) in command:
                found.append(command)
    return found


@pytest.mark.timeout(LIMIT + STOP_LIMIT + 30)
@pytest.mark.parametrize("broker", ["mosquitto", "iotcore"])
def test_the_demo_passes_reconciles_and_leaves_nothing_running(broker: str, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    status, output = run_demo(out, broker)
    assert status == 0, output
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["missing"], summary["repeated"], summary["unexpected"]) == (0, 0, 0)
    assert summary["broker"] == broker
    assert {refusal["reason"] for refusal in summary["refusals"]} == {"golden_mismatch", "hash_mismatch"}
    for device in summary["devices"].values():
        for counts in device["pipelines"].values():
            assert counts["results_received"] == counts["results_expected"] > 0
    versions = {name: {m: s["version"] for m, s in device["attested"].items()} for name, device in summary["devices"].items()}
    assert versions == {
        "farm-1": {"frost": "2.0.0"},
        "farm-2": {"frost": "2.0.0"},
        "city-1": {"leak": "2.0.0", "reports": "1.0.0"},
        "city-2": {"leak": "2.0.0", "reports": "1.0.0"},
    }
    assert all(set(found) == {"2.0.0"} for found in summary["answers_during_refusals"].values())
    worse = summary["taken_back"]
    assert (worse["device"], worse["version"], worse["reason"]) == ("farm-1", "5.0.0", "confidence")
    assert (worse["rollout_state"], worse["untouched"]) == ("paused", ["farm-2"])
    assert 20 <= worse["evidence"]["candidate"]["inferences"] <= 100
    assert 0 < worse["answers_published"] <= 100
    assert all(rows > 0 for rows in summary["link_cut"]["results_waiting_on_devices"].values())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert not [word for word in page.replace('"', " ").split() if urlsplit(word).scheme in ("http", "https")]
    assert left_running(out) == []


def test_a_broker_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    status, output = run_demo(tmp_path / "demo", "rabbit")
    assert status == 2
    assert "rabbit" in output
