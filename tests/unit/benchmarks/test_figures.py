"""The file of figures that a benchmark leaves."""

import json
from pathlib import Path

import pytest

from benchmarks.figures import Figure, write


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "build/bench"


def test_a_figure_is_the_median_with_its_spread_and_ratio(folder: Path) -> None:
    write("rate", [Figure("events_per_second", "1/s", [30.0, 10.0, 20.0], [40.0, 20.0, 60.0], "plain_script")])
    written = json.loads((folder / "rate.json").read_text())
    assert written["benchmark"] == "rate"
    (figure,) = written["figures"]
    assert (figure["metric"], figure["reference_name"]) == ("events_per_second", "plain_script")
    assert (figure["ours"], figure["ours_spread"]) == (20.0, [10.0, 30.0])
    assert (figure["reference"], figure["reference_spread"]) == (40.0, [20.0, 60.0])
    assert figure["ratio"] == 0.5


def test_a_reference_of_zero_gives_no_ratio(folder: Path) -> None:
    write("loss", [Figure("lost_when_killed", "events", [0.0], [0.0], "node-red")])
    assert json.loads((folder / "loss.json").read_text())["figures"][0]["ratio"] is None
