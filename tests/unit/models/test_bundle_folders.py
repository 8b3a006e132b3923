"""The bundle folders of the demo, as they are committed."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fleet_contract.bundle import BundleIndex, read_bundle
from models import baselines
from models.bundle_folder import MODELS, Question, scores

FOLDERS = sorted(path.parent for path in MODELS.glob("*/*/model.toml"))
GOOD = [folder for folder in FOLDERS if folder.name != "3.0.0"]
BROKEN = [folder for folder in FOLDERS if folder.name == "3.0.0"]


def name_of(folder: Path) -> str:
    return f"{folder.parent.name}-{folder.name}"


def packed(folder: Path) -> BundleIndex:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return read_bundle(file)


def worst_difference(folder: Path) -> float:
    """How far the answers are from the golden samples, as a multiple of the tolerance."""
    bundle = packed(folder)
    asked = [
        Question({name: list(values) for name, values in sample.window.items()}, list(sample.times), sample.text)
        for sample in bundle.golden
    ]
    given = scores(bundle.manifest, (folder / bundle.manifest.file).read_bytes(), asked)
    expected = np.array([sample.scores for sample in bundle.golden])
    tolerance = np.array([[sample.tolerance] for sample in bundle.golden])
    return float((np.abs(given - expected) / tolerance).max())


def test_every_version_of_the_demo_is_there() -> None:
    series = [f"{model}-{version}.0.0" for model, last in (("frost", 5), ("leak", 4)) for version in range(1, last + 1)]
    assert [name_of(folder) for folder in FOLDERS] == [*series, "reports-1.0.0"]


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_packed_folder_passes_the_checks_of_a_bundle(folder: Path) -> None:
    bundle = packed(folder)
    assert (bundle.manifest.name, bundle.manifest.version) == (folder.parent.name, folder.name)
    assert len(bundle.golden) >= 5
    assert all(path.stat().st_size < 300_000 for path in folder.iterdir())


def test_baselines_are_made_again_as_they_are_committed(tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(MODELS, root)
    for path in root.glob("*/*/baseline.json"):
        path.unlink()
    assert len(baselines.build(root)) == len(FOLDERS)
    for folder in FOLDERS:
        again = root / folder.relative_to(MODELS)
        assert (again / "model.toml").read_bytes() == (folder / "model.toml").read_bytes()
        made, known = (json.loads((place / "baseline.json").read_bytes()) for place in (again, folder))
        assert made["samples"] == known["samples"]
        for name, numbers in known["numbers"].items():
            if name.startswith(("input.", "text.")):  # scores differ in their last digits from one processor to another
                assert made["numbers"][name] == numbers


@pytest.mark.parametrize("folder", GOOD, ids=name_of)
def test_a_good_version_gives_its_golden_answers(folder: Path) -> None:
    assert worst_difference(folder) <= 1


@pytest.mark.parametrize("folder", BROKEN, ids=name_of)
def test_the_broken_version_runs_but_gives_other_answers(folder: Path) -> None:
    assert worst_difference(folder) > 10
