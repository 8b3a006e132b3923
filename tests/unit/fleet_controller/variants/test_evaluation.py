"""What the process that tries a bundle can come to, with models that end it or hold it up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.inference.bundle_store import BundleStore
from fleet_controller.variants import evaluation
from fleet_controller.variants.evaluation import EvaluationError, evaluate
from tests.hostile_models import onnx_files
from tests.hostile_models.releases import Release, write_bundle


@pytest.fixture
def striking(tmp_path: Path) -> Path:
    """A data set with an input at which the hostile models strike."""
    path = tmp_path / "striking.jsonl"
    path.write_text('{"window": {"a": [5000], "b": [1]}}\n')
    return path


def bundle(tmp_path: Path, model: bytes) -> Path:
    return write_bundle(BundleStore(tmp_path / "models"), "hostile", Release("onnx", model)).path


def test_a_model_that_ends_its_process_is_an_evaluation_that_failed(tmp_path: Path, striking: Path) -> None:
    got = evaluate(bundle(tmp_path, onnx_files.crash_in_transform()), data=striking, seconds=0)
    assert got.failed == ("worker_crashed", "the process that ran it was ended by SIGSEGV")


def test_a_model_that_does_not_end_is_ended(tmp_path: Path, striking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "LONGEST_SECONDS", 4.0)
    got = evaluate(bundle(tmp_path, onnx_files.endless_loop()), data=striking, seconds=0)
    assert got.failed == ("test_timeout", "no answer within 4 s")


def test_a_data_set_that_the_process_cannot_read_is_named(tmp_path: Path, striking: Path) -> None:
    striking.write_text('{"window": {"a": [5000]}}\n')
    with pytest.raises(EvaluationError, match=r"striking\.jsonl, line 1: window: needs exactly"):
        evaluate(bundle(tmp_path, onnx_files.harmless()), data=striking, seconds=0)


def test_the_tools_are_loaded_with_the_telemetry_of_the_runtime_off() -> None:
    code = "import fleet_controller.variants.making, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "1\n"
