import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_agent.inference.bundle_store import Bundle
from fleet_contract.evaluation import Evaluation
from tests.unit.edge_agent.inference.conftest import GOLDEN, linear_onnx

MakeBundle = Callable[..., Bundle]
TWO = [{"window": {"flow": [1.0, 3.0]}, "label": None}, {"window": {"flow": [4.0]}, "scores": [12.0], "source": "meter"}]


def ask(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "edge_agent.inference.evaluate", *map(str, arguments), "--seconds", "0"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def evaluated(*arguments: object) -> Evaluation:
    done = ask(*arguments)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=Evaluation)


def lines(path: Path, *samples: Any) -> Path:
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path


def test_a_bundle_is_scored_timed_and_weighed_on_a_data_set(make_bundle: MakeBundle, tmp_path: Path) -> None:
    got = evaluated(make_bundle().path, "--data", lines(tmp_path / "two.jsonl", *TWO))
    assert got.scores == ((8.0,), (12.0,))
    assert (got.failed, got.golden, got.golden_difference, got.faults) == (None, None, 0.0, ())
    assert got.runs >= 20
    assert 0 < got.latency_p50 <= got.latency_p95
    assert got.start_bytes < got.memory_bytes <= got.peak_bytes
    assert got.provider == "CPUExecutionProvider"


def test_the_models_own_inputs_are_kept_with_the_features_worked_out(make_bundle: MakeBundle, tmp_path: Path) -> None:
    evaluated(make_bundle().path, "--data", lines(tmp_path / "two.jsonl", *TWO), "--inputs", tmp_path)
    kept = [np.load(tmp_path / f"{position}.npz")["features"].tolist() for position in range(2)]
    assert kept == [[[3.0, 2.0]], [[4.0, 4.0]]]


def test_a_golden_sample_that_is_not_met_is_told_with_the_largest_difference(make_bundle: MakeBundle) -> None:
    got = evaluated(make_bundle(golden=[*GOLDEN, {"window": {"flow": [1.0]}, "scores": [3.5]}]).path)
    assert got.golden is not None
    assert got.golden[0] == "golden_mismatch"
    assert "golden sample 1" in got.golden[1]
    assert got.golden_difference == pytest.approx(0.5)


def test_a_sample_without_an_answer_costs_itself_alone(make_bundle: MakeBundle, tmp_path: Path) -> None:
    root = make_bundle(linear_onnx([[2.0, 1.0]], [0.0], sqrt=True), [{"window": {"flow": [3.0]}, "scores": [3.0]}])
    got = evaluated(
        root.path, "--data", lines(tmp_path / "d.jsonl", {"window": {"flow": [-3.0]}}, {"window": {"flow": [12.0]}})
    )
    assert got.scores == (None, (6.0,))
    assert [(position, reason) for position, reason, _ in got.faults] == [(0, "bad_output")]


def test_a_bundle_that_cannot_be_loaded_is_an_answer(make_bundle: MakeBundle) -> None:
    got = evaluated(make_bundle(linear_onnx([[2.0, 1.0]], [0.0], domain="evil")).path)
    assert got.failed is not None
    assert got.failed[0] == "foreign_operator"
    assert "evil" in got.failed[1]


def test_a_data_set_that_cannot_be_read_is_named_with_its_line(make_bundle: MakeBundle, tmp_path: Path) -> None:
    data = lines(tmp_path / "wrong.jsonl", TWO[0], {"window": {"level": [1.0]}})
    done = ask(make_bundle().path, "--data", data)
    assert done.returncode == 1
    assert done.stderr.decode() == f"{data}, line 2: window: needs exactly flow\n"
