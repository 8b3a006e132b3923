"""`fleet model optimize` as a command: its exit codes and what it prints."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.fleet_controller.conftest import FLEET

Write = Callable[..., Path]


def optimize(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*FLEET, "model", "optimize", *map(str, arguments), "--seconds", "0"]
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)


def test_variants_stand_side_by_side_in_json(soil_folder: Write, soil_data: Write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wish = ("--variant", "int8", "--variant", "pruned", "--prune", "0.3", "--data", soil_data(), "--out", out, "-o", "json")
    done = optimize(soil_folder(), *wish)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["model"], report["version"]) == ("soil", "1.2.0")
    source, (int8, pruned) = report["source"], report["variants"]
    assert [item["state"] for item in (int8, pruned)] == ["made", "made"]
    assert int8["file_bytes"] < pruned["file_bytes"] < source["file_bytes"]
    assert (source["accuracy"], source["judged_samples"]) == (1.0, 40)
    assert source["narrow_heavy_operators"] == 0
    assert int8["narrow_heavy_operators"] == int8["heavy_operators"] == 2
    assert int8["path"] == str(out / "soil-1.2.0-int8")
    assert all(item["latency_p50_seconds"] > 0 and item["memory_bytes"] > 10**7 for item in (source, int8, pruned))


def test_the_table_shows_each_variant_and_says_why_one_is_refused(soil_folder: Write, tmp_path: Path) -> None:
    done = optimize(soil_folder(tolerance=1e-5), "--variant", "fp16", "--variant", "int4", "--out", tmp_path / "out")
    assert done.returncode == 7
    lines = done.stdout.splitlines()
    assert "soil 1.2.0, on the 3 golden samples alone" in lines[0]
    rows = {line[: line.index("  ")].strip(): line.split() for line in lines if "  " in line}
    assert ["source", "fp16", "int4"] in [line.split() for line in lines]
    assert ["outcome", "-", "refused", "refused"] in [line.split() for line in lines]
    assert rows["narrow weights"][2:4] == ["0%", "100%"]
    assert "accuracy" not in rows
    assert rows["memory"].count("MiB") == 3
    assert any(line.startswith("int4: golden sample 0: ") and "--tolerance" in line for line in lines)
    assert not (tmp_path / "out").exists()


def test_a_kind_without_what_it_needs_is_a_wrong_command_line(soil_folder: Write) -> None:
    for kind, option in (("int8-static", "--calibration"), ("pruned", "--prune")):
        done = optimize(soil_folder() if kind == "int8-static" else ".", "--variant", kind)
        assert done.returncode == 2
        assert f"{kind} needs {option}" in done.stderr


def test_by_default_all_is_made_that_the_options_allow(soil_folder: Write, soil_data: Write, tmp_path: Path) -> None:
    wish = ("--tolerance", "1", "--out", tmp_path / "out", "-o", "json")
    plain = json.loads(optimize(soil_folder(), *wish).stdout)
    assert [item["variant"] for item in plain["variants"]] == ["int8", "int4", "fp16"]
    full = json.loads(optimize(tmp_path / "soil", *wish, "--prune", "0.2", "--calibration", soil_data(count=4)).stdout)
    assert [item["variant"] for item in full["variants"]] == ["int8", "int8-static", "int4", "fp16", "pruned"]


def test_a_data_set_that_cannot_be_read_is_told_in_one_line(soil_folder: Write, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("moisture,label\n1,dry\n")
    done = optimize(soil_folder(), "--data", data, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"fleet: {data}, line 1: JSON is malformed")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", ["onnx", "onnx_ir"])
def test_a_missing_extra_is_named(soil_folder: Write, module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; sys.argv[0] = 'fleet'\nfrom fleet_controller.cli import main\nmain()"
    command = [sys.executable, "-c", code, "model", "optimize", str(soil_folder())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        f"fleet: {module} is not installed: pip install 'smallhold[optimize]'",
    )
