"""`fleet model baseline`: the agent's own code answers a data set, and what it gave is what drift is measured against."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet_contract.baseline import parse_baseline
from fleet_contract.manifest import parse_manifest
from fleet_controller.cli.app import app
from fleet_controller.demo.recordings import reports
from fleet_controller.drift.baselines import BaselineError, write_baseline
from models import frost
from models.bundle_folder import MODELS


def copy_of(folder: Path, target: Path) -> Path:
    """Without its baseline."""
    shutil.copytree(folder, target)
    (target / "baseline.json").unlink()
    text = (target / "model.toml").read_text().replace('baseline = "baseline.json"\n', "")
    (target / "model.toml").write_text(text)
    return target


def weather(path: Path, count: int = 200) -> Path:
    asked = frost.questions([2012, 2013, 2014])[0][:count]
    path.write_text("".join(json.dumps({"window": item.window, "times": item.times}) + "\n" for item in asked))
    return path


def test_a_folder_gets_its_baseline_and_the_line_that_names_it(tmp_path: Path) -> None:
    folder, data = copy_of(MODELS / "frost" / "2.0.0", tmp_path / "frost"), weather(tmp_path / "data.jsonl", 2000)
    ran = CliRunner().invoke(app, ["model", "baseline", str(folder), "--data", str(data), "-o", "json"])
    assert ran.exit_code == 0, ran.output
    manifest = parse_manifest((folder / "model.toml").read_bytes())
    made = parse_baseline((folder / "baseline.json").read_bytes(), manifest)
    known = parse_baseline((MODELS / "frost" / "2.0.0" / "baseline.json").read_bytes(), manifest)
    assert json.loads(ran.output)["samples"] == made.samples == known.samples
    for name, numbers in known.numbers.items():
        assert made.numbers[name].counts == pytest.approx(numbers.counts, abs=2)
    again = write_baseline(folder, data)
    assert again == made
    assert (folder / "model.toml").read_text().count("baseline =") == 1


def test_texts_are_held_against_the_words_of_other_texts(tmp_path: Path) -> None:
    folder = copy_of(MODELS / "reports" / "1.0.0", tmp_path / "reports")
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"text": item.text}) + "\n" for item in reports()[::2]))
    made = write_baseline(folder, data)
    assert set(made.categories["text.script"].counts) == {"latin", "arabic"}
    assert len(made.categories["output.label"].counts) == 7
    unknown = made.numbers["text.unknown"]
    assert unknown.high > 0
    assert sum(unknown.counts) == made.samples


def test_the_makers_range_stands_in_the_baseline(tmp_path: Path) -> None:
    folder, data = copy_of(MODELS / "frost" / "1.0.0", tmp_path / "frost"), weather(tmp_path / "data.jsonl")
    ran = CliRunner().invoke(app, ["model", "baseline", str(folder), "--data", str(data), "--range", "temp_min=-40:60"])
    assert ran.exit_code == 0, ran.output
    made = parse_baseline((folder / "baseline.json").read_bytes(), parse_manifest((folder / "model.toml").read_bytes()))
    assert (made.numbers["input.temp_min"].low, made.numbers["input.temp_min"].high) == (-40.0, 60.0)


def test_what_is_too_little_or_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    folder, data = copy_of(MODELS / "frost" / "1.0.0", tmp_path / "frost"), weather(tmp_path / "data.jsonl", 20)
    with pytest.raises(BaselineError, match="at least 30"):
        write_baseline(folder, data)
    with pytest.raises(BaselineError, match="'humidity'"):
        write_baseline(folder, data, {"humidity": (0.0, 100.0)})
    data.write_text('{"text": "frost?"}\n')
    with pytest.raises(BaselineError, match="line 1"):
        write_baseline(folder, data)
    assert not (folder / "baseline.json").exists()
    wrong = CliRunner().invoke(app, ["model", "baseline", str(folder), "--data", str(data), "--range", "temp_min=9:1"])
    assert wrong.exit_code == 2
