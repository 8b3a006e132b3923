import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from fleet_contract.bundle import BundleError
from fleet_contract.manifest import Manifest, Requirements, parse_golden, parse_manifest
from fleet_controller.variants.bundles import give_out, open_source, variant_manifest, write_folder
from fleet_controller.variants.kinds import Kind

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("version", "file", "expected_file"),
    [("1.2.0", "soil.onnx", "soil.int8-static.onnx"), ("1.2.0-rc.1", "soil", "soil.int8-static")],
)
def test_variant_and_file_say_which_variant_of_the_same_version_it_is(
    manifest: Manifest, version: str, file: str, expected_file: str
) -> None:
    source = msgspec.structs.replace(manifest, version=version, file=file)
    made = variant_manifest(source, Kind.INT8_STATIC, ["MatMul"])
    made.check()
    assert (made.version, made.variant, made.file) == (version, "int8-static", expected_file)
    assert f"Variant int8-static of {version}" in made.description
    assert (made.metrics, made.metrics_data) == ({}, "")


@pytest.mark.parametrize(
    ("before", "operators", "after"),
    [
        (None, ["MatMul"], None),
        (None, ["MatMulNBits"], "1.17"),
        ("1.9", ["MatMulNBits"], "1.17"),
        ("1.20", ["MatMulNBits"], "1.20"),
        ("1.16", ["MatMul"], "1.16"),
    ],
)
def test_the_runtime_that_is_needed_is_never_older_than_before(
    manifest: Manifest, before: str | None, operators: list[str], after: str | None
) -> None:
    source = msgspec.structs.replace(manifest, requirements=Requirements(memory_bytes=7, runtime_min=before))
    assert variant_manifest(source, Kind.INT4, operators).requirements == Requirements(memory_bytes=7, runtime_min=after)


def test_a_variant_takes_all_entries_of_its_source_along(soil_folder: Write, tmp_path: Path) -> None:
    source = open_source(soil_folder(), tmp_path)
    source.files["tokenizer.json"] = b"{}"
    manifest = variant_manifest(source.manifest, Kind.INT8, [])
    write_folder(source, manifest, b"weights", None, tmp_path / "made")
    written = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    assert set(written) == {"model.toml", "soil.int8.onnx", "golden.json", "tokenizer.json"}
    assert written["soil.int8.onnx"] == b"weights"
    assert written["golden.json"] == source.files["golden.json"]
    assert parse_manifest(written["model.toml"]) == manifest


def test_another_tolerance_leaves_questions_and_scores_as_they_are(soil_folder: Write, tmp_path: Path) -> None:
    source = open_source(soil_folder(), tmp_path)
    write_folder(source, source.manifest, b"weights", 0.25, tmp_path / "made")
    golden = (tmp_path / "made" / "golden.json").read_bytes()
    expected = tuple(msgspec.structs.replace(sample, tolerance=0.25) for sample in source.golden)
    assert parse_golden(golden, source.manifest) == expected
    assert "text" not in json.loads(golden)[0]


def test_what_is_given_out_replaces_a_bundle_and_nothing_else(soil_folder: Write, tmp_path: Path) -> None:
    folder = soil_folder()
    manifest = open_source(folder, tmp_path).manifest
    for as_folder, name in ((True, "soil-1.2.0"), (False, "soil-1.2.0.tar")):
        for _ in range(2):
            assert give_out(folder, manifest, tmp_path / "out", as_folder=as_folder) == tmp_path / "out" / name
    (tmp_path / "out" / "soil-1.2.0" / "model.toml").unlink()
    with pytest.raises(BundleError, match="is left alone"):
        give_out(folder, manifest, tmp_path / "out", as_folder=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["soil-1.2.0", "soil-1.2.0.tar"]
