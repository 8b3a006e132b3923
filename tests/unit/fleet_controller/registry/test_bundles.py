import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_contract.bundle import BundleError
from fleet_contract.reasons import Reason
from fleet_controller.registry.bundles import build_bundle, measure_bundle


def test_the_same_files_give_the_same_bytes_whatever_their_times_and_modes(
    tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    folder = model_folder("frost")
    one = build_bundle(folder, tmp_path / "one.tar")
    os.utime(folder / "model.onnx", (1, 1))
    (folder / "model.onnx").chmod(0o600)
    two = build_bundle(folder, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert one == two == measure_bundle(tmp_path / "one.tar")
    assert one.manifest.name == "frost"


def test_a_file_that_the_manifest_does_not_name_stays_out(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    folder = model_folder("frost")
    before = build_bundle(folder, tmp_path / "before.tar").digest
    (folder / "secret.txt").write_text("no")
    assert build_bundle(folder, tmp_path / "after.tar").digest == before


def test_a_missing_file_or_a_wrong_manifest_leaves_nothing_behind(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    folder = model_folder("frost")
    (folder / "golden.json").unlink()
    with pytest.raises(BundleError, match=r"golden\.json") as missing:
        build_bundle(folder, tmp_path / "bundle.tar")
    assert missing.value.reason is Reason.BUNDLE_INVALID
    (folder / "model.toml").write_text("schema = 2")
    with pytest.raises(BundleError) as wrong:
        build_bundle(folder, tmp_path / "bundle.tar")
    assert wrong.value.reason is Reason.MANIFEST_INVALID
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        ('{ op = "mode", input = "temperature" }', r"features\[0\]: 'mode' is no operation"),
        ('{ op = "last", input = "temperature", args = { k = 2 } }', r"features\[0\]: last: unknown argument 'k'"),
    ],
)
def test_a_bundle_whose_features_no_device_can_compute_is_not_built(
    tmp_path: Path, model_folder: Callable[..., Path], feature: str, text: str
) -> None:
    manifest = model_folder("frost") / "model.toml"
    right = '{ op = "last", input = "temperature" }'
    assert right in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(right, feature))
    with pytest.raises(BundleError, match=text) as refused:
        build_bundle(manifest.parent, tmp_path / "bundle.tar")
    assert refused.value.reason is Reason.MANIFEST_INVALID
