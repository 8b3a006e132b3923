import dataclasses
import hashlib
import json
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from fleet_contract.bundle import read_bundle
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.variants.judging import Limits
from fleet_controller.variants.kinds import Kind
from fleet_controller.variants.optimising import OptimiseError, Report, State, Wish, optimise
from tests.unit.fleet_controller.variants.conftest import HIDDEN, MANIFEST, WIDTH, constants, graph, network

Write = Callable[..., Path]


def make(source: Path, out: Path, *kinds: Kind, **wished: Any) -> Report:
    return optimise(source, Wish(kinds=kinds, out=out, seconds=0, **wished), lambda _step: None)


def test_an_accepted_variant_is_a_bundle_of_its_own_version_with_its_own_measured_figures(
    soil_folder: Write, soil_data: Write, tmp_path: Path
) -> None:
    data = soil_data(count=40, wrong=2)
    source = tmp_path / "soil-1.2.0.tar"
    build_bundle(soil_folder(), source)
    report = make(source, tmp_path / "out", Kind.INT8, Kind.FP16, data=data)
    assert [(item.state, *item.reasons) for item in report.outcomes] == [(State.MADE,), (State.MADE,)]
    path = report.outcomes[0].path
    assert path == tmp_path / "out" / "soil-1.2.0-int8.tar"
    with path.open("rb") as file, source.open("rb") as original:
        made, before = read_bundle(file), read_bundle(original)
    assert made.golden == before.golden
    assert (made.manifest.version, made.manifest.variant, made.manifest.file) == ("1.2.0", "int8", "soil.int8.onnx")
    assert (made.manifest.features, made.manifest.labels) == (before.manifest.features, before.manifest.labels)
    assert made.manifest.requirements == before.manifest.requirements
    assert made.manifest.metrics["source_accuracy"] == 0.95
    assert made.manifest.metrics["samples"] == 40
    assert 0.99 < made.manifest.metrics["cosine_to_source"] < 1
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    assert made.manifest.metrics_data == f"data-1.jsonl, 40 samples, SHA-256 {digest}"


def test_a_folder_gives_folders_with_what_the_source_holds(soil_folder: Write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = soil_folder()
    for _ in range(2):
        (outcome,) = make(folder, out, Kind.INT4, tolerance=0.2).outcomes
        assert outcome.path == out / "soil-1.2.0-int4"
        assert sorted(path.name for path in outcome.path.iterdir()) == ["golden.json", "model.toml", "soil.int4.onnx"]
    assert [path.name for path in out.iterdir()] == ["soil-1.2.0-int4"]
    assert {sample["tolerance"] for sample in json.loads((out / "soil-1.2.0-int4" / "golden.json").read_text())} == {0.2}
    manifest = tomllib.loads((out / "soil-1.2.0-int4" / "model.toml").read_text())
    assert manifest["requirements"] == {"memory_bytes": 1000, "runtime_min": "1.17"}
    assert manifest["metrics_data"] == "the 3 golden samples alone"
    assert set(manifest["metrics"]) == {"golden_largest_difference", "cosine_to_source", "largest_difference_to_source"}


def test_the_sources_golden_samples_decide_and_a_refused_variant_is_not_written(soil_folder: Write, tmp_path: Path) -> None:
    (outcome,) = make(soil_folder(tolerance=1e-4), tmp_path / "out", Kind.INT4).outcomes
    assert outcome.state is State.REFUSED
    assert outcome.path is None
    assert "golden_mismatch" in outcome.reasons[0]
    assert "`--tolerance` would have to allow" in outcome.reasons[0]
    assert outcome.measured is not None
    assert not (tmp_path / "out").exists()


def test_a_variant_that_loses_too_much_on_the_data_is_refused(soil_folder: Write, soil_data: Write, tmp_path: Path) -> None:
    wish = {"data": soil_data(), "prune_share": 0.9, "tolerance": 1.0}
    (refused,) = make(soil_folder(), tmp_path / "out", Kind.PRUNED, **wish).outcomes
    assert refused.state is State.REFUSED
    assert "accuracy falls from 1.0000 to" in refused.reasons[0]
    (made,) = make(tmp_path / "soil", tmp_path / "out", Kind.PRUNED, limits=Limits(max_loss=1.0), **wish).outcomes
    assert made.state is State.MADE


def test_static_quantisation_is_calibrated_with_features_worked_out(
    soil_folder: Write, soil_data: Write, tmp_path: Path
) -> None:
    wish: dict[str, Any] = {"data": soil_data(), "calibration": soil_data(count=20, seed=5), "limits": Limits(max_loss=0.3)}
    (outcome,) = make(soil_folder(tolerance=1.0), tmp_path / "out", Kind.INT8_STATIC, **wish).outcomes
    assert outcome.state is State.MADE, outcome.reasons
    assert outcome.measured is not None
    assert outcome.measured.facts.narrow_heavy == 2
    wish["calibration"] = wish["data"]
    (outcome,) = make(tmp_path / "soil", tmp_path / "out", Kind.INT8_STATIC, **wish).outcomes
    assert "calibrated with the very data that it is judged on" in outcome.remarks


def test_a_kind_that_is_impossible_does_not_cost_the_others(soil_folder: Write, tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    only = graph(nodes, {"w1": constants(3)["w1"]}, width=WIDTH, given=3)
    outcomes = make(soil_folder(only, tolerance=1.0), tmp_path / "out", Kind.PRUNED, Kind.INT8, prune_share=0.5).outcomes
    assert [item.state for item in outcomes] == [State.IMPOSSIBLE, State.MADE]
    assert outcomes[0].measured is None


def test_a_source_that_fails_its_own_golden_samples_is_not_varied(soil_folder: Write, tmp_path: Path) -> None:
    folder = soil_folder()
    (folder / "soil.onnx").write_bytes(network(HIDDEN // 2).SerializeToString())
    with pytest.raises(OptimiseError, match="the source itself is not sound: golden sample 0"):
        make(folder, tmp_path / "out", Kind.INT8)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda folder: (folder / "golden.json").unlink(), r"golden\.json"),
        (lambda folder: (folder / "soil.onnx").write_bytes(b"no model"), "not sound: not an ONNX file"),
        (lambda folder: (folder / "model.toml").write_text(MANIFEST.replace('"onnx"', '"tflite"')), "is a model for tflite"),
    ],
    ids=["entry", "file", "runtime"],
)
def test_a_bundle_that_cannot_be_used_is_told_of(
    soil_folder: Write, tmp_path: Path, damage: Callable[[Path], object], text: str
) -> None:
    folder = soil_folder()
    damage(folder)
    with pytest.raises(OptimiseError, match=text):
        make(folder, tmp_path / "out", Kind.INT8)


def test_a_line_of_the_data_that_does_not_fit_is_named(soil_folder: Write, tmp_path: Path) -> None:
    data = tmp_path / "texts.jsonl"
    data.write_text('{"text": "muddy"}\n')
    with pytest.raises(OptimiseError, match=r"texts\.jsonl, line 1: window: needs exactly moisture"):
        make(soil_folder(), tmp_path / "out", Kind.INT8, data=data)


def test_a_folder_that_is_no_bundle_is_not_overwritten(soil_folder: Write, tmp_path: Path) -> None:
    (tmp_path / "out" / "soil-1.2.0-int8").mkdir(parents=True)
    (tmp_path / "out" / "soil-1.2.0-int8" / "thesis.txt").write_text("three years")
    with pytest.raises(OptimiseError, match="is left alone"):
        make(soil_folder(), tmp_path / "out", Kind.INT8)
    assert (tmp_path / "out" / "soil-1.2.0-int8" / "thesis.txt").read_text() == "three years"


def test_each_step_is_told_of_before_it_is_done(soil_folder: Write, soil_data: Write, tmp_path: Path) -> None:
    told: list[str] = []
    wish = Wish(kinds=[Kind.INT8_STATIC], out=tmp_path / "out", calibration=soil_data(count=4), seconds=0, tolerance=1.0)
    optimise(soil_folder(), wish, told.append)
    assert told == [
        "the source, measured",
        "calibration samples, features worked out",
        "int8-static, made",
        "int8-static, measured",
    ]
    told.clear()
    optimise(tmp_path / "soil", dataclasses.replace(wish, kinds=[Kind.INT8]), told.append)
    assert told == ["the source, measured", "int8, made", "int8, measured"]


def test_the_given_tar_holds_the_very_model_that_was_measured(soil_folder: Write, tmp_path: Path) -> None:
    source = tmp_path / "soil-1.2.0.tar"
    build_bundle(soil_folder(), source)
    first = make(source, tmp_path / "one", Kind.INT8).outcomes[0]
    second = make(source, tmp_path / "two", Kind.INT8).outcomes[0]
    assert first.path is not None
    assert second.path is not None
    assert first.measured is not None
    with tarfile.open(first.path) as tar:
        assert tar.getmember("soil.int8.onnx").size == first.measured.file_bytes
    assert first.path.read_bytes() == second.path.read_bytes()
