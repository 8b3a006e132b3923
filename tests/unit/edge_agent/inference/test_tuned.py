"""Stored choices: the operator's settings win, and a damaged file costs the choices alone."""

from pathlib import Path

import pytest

from edge_agent.inference.run_plan import resolve
from edge_agent.inference.tuned import FILE, Tuned, TunedError, read_tuned, tuned_settings, with_tuned, write_tuned
from edge_agent.settings import InferenceSettings, ModelSettings

CHOICE = Tuned(
    threads=2,
    spin=True,
    max_batch=16,
    version="1.0.0",
    digest="sha256:" + "0" * 64,
    latency_p95_ms=1.5,
    per_second=900.0,
    time="2026-01-01T00:00:00+00:00",
)


def test_a_choice_fills_what_the_operator_left_open() -> None:
    own = ModelSettings(threads=1, priority=3)
    plan = resolve(with_tuned(InferenceSettings(models={"leak": own}), {"leak": CHOICE}), "leak", "onnx")
    assert (plan.threads, plan.spin, plan.max_batch, plan.priority) == (1, True, 16, 3)


def test_other_models_are_run_as_before() -> None:
    plan = resolve(with_tuned(InferenceSettings(), {"leak": CHOICE}), "frost", "onnx")
    assert (plan.threads, plan.spin, plan.max_batch) == (1, False, 64)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert read_tuned(tmp_path) == {}
    write_tuned(tmp_path, {"leak": CHOICE})
    assert read_tuned(tmp_path) == {"leak": CHOICE}
    assert (tmp_path / FILE).stat().st_mode & 0o004


@pytest.mark.parametrize("content", [b"", b"[]", b'{"leak": {"threads": "two"}}', b"\xff\xfe"])
def test_a_damaged_file_is_told_and_costs_the_choices_alone(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(TunedError, match=FILE):
        read_tuned(tmp_path)
    settings = InferenceSettings(threads=1)
    assert tuned_settings(settings, tmp_path) is settings
    assert "not used" in caplog.text
