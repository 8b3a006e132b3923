"""`fleet model build` with real models: what is packed, what is refused, and with which exit code."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet_controller.cli.app import app

FROST = Path(__file__).parents[4] / "fleet_controller" / "demo" / "models" / "frost" / "2.0.0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FROST, tmp_path / "frost"))


def edit(folder: Path, before: str, after: str) -> None:
    path = folder / "model.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def build(folder: Path, *more: str) -> tuple[int, str, Path]:
    target = folder.parent / "made.tar"
    done = CliRunner().invoke(app, ["model", "build", str(folder), "--out", str(target), "--seconds", "0", *more])
    return done.exit_code, done.output, target


def test_a_model_that_does_what_it_says_is_packed_with_what_was_measured(folder: Path) -> None:
    promises = 'requirements = { latency_ms = 500.0, latency_device = "any", memory_peak_bytes = 900000000, '
    edit(folder, "requirements = { ", promises)
    code, output, target = build(folder, "-o", "json")
    assert code == 0, output
    told = json.loads(output)
    assert told["bytes"] == target.stat().st_size
    assert told["promised"]["latency_ms"] == 500.0
    assert 0 < told["measured"]["latency_ms"] < 500
    assert 0 < told["measured"]["memory_peak_bytes"] < 900_000_000


def test_a_golden_sample_that_is_not_met_is_refused_and_nothing_is_written(folder: Path) -> None:
    samples = json.loads((folder / "golden.json").read_text())
    samples[0]["scores"] = [0.123456 for _ in samples[0]["scores"]]
    (folder / "golden.json").write_text(json.dumps(samples))
    code, output, target = build(folder)
    assert (code, target.exists()) == (7, False)
    assert "golden_mismatch" in output
    assert build(folder, "--no-run")[0] == 0


def test_a_tensor_that_the_file_does_not_have_is_refused(folder: Path) -> None:
    edit(folder, 'output_tensor = { name = "', 'output_tensor = { name = "no_')
    code, output, target = build(folder)
    assert (code, target.exists()) == (7, False)
    assert "tensor_mismatch" in output


def test_a_promise_of_memory_that_is_not_kept_is_refused(folder: Path) -> None:
    text = (folder / "model.toml").read_text().splitlines()
    (folder / "model.toml").write_text(
        "\n".join("requirements = { memory_peak_bytes = 1000000 }" if row.startswith("requirements") else row for row in text)
    )
    code, output, _ = build(folder)
    assert code == 7
    assert "memory_peak_bytes promises 1 MB" in output


def test_a_misspelt_key_and_a_licence_that_nobody_knows_end_with_1(folder: Path) -> None:
    edit(folder, "labels = ", "lables = ")
    code, output, _ = build(folder, "--no-run")
    assert code == 1
    assert "labels" in output
    edit(folder, "lables = ", "labels = ")
    edit(folder, 'licence = "Apache-2.0"', 'licence = "Freeware"')
    code, output, _ = build(folder, "--no-run")
    assert code == 1
    assert "licence_invalid" in output
