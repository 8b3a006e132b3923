"""A bundle whose manifest lies about its model file is not published: the file is loaded to find out."""

import shutil
from pathlib import Path

import pytest

from fleet_contract.bundle import BundleError
from fleet_contract.reasons import Reason
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.registry.loading import check_loads

FROST = Path(__file__).parents[4] / "fleet_controller" / "demo" / "models" / "frost" / "2.0.0"


def bundle(tmp_path: Path, before: str = "", after: str = "") -> Path:
    folder = Path(shutil.copytree(FROST, tmp_path / "frost"))
    manifest = folder / "model.toml"
    assert before in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(before, after, 1))
    build_bundle(folder, tmp_path / "frost.tar")
    return tmp_path / "frost.tar"


def test_a_model_that_is_as_its_manifest_says_passes(tmp_path: Path) -> None:
    check_loads(bundle(tmp_path))


def test_a_tensor_of_another_name_is_a_lie(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no_scores") as refused:
        check_loads(bundle(tmp_path, 'output_tensor = { name = "scores"', 'output_tensor = { name = "no_scores"'))
    assert refused.value.reason is Reason.TENSOR_MISMATCH


def test_what_this_machine_is_too_old_for_passes_unseen(tmp_path: Path) -> None:
    check_loads(bundle(tmp_path, 'runtime_min = "2.14"', 'runtime_min = "99.0", runtime_max = "99.1"'))


def test_bytes_that_are_no_onnx_file_are_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FROST, tmp_path / "frost"))
    manifest = folder / "model.toml"
    manifest.write_text(manifest.read_text().replace('runtime = "tflite"', 'runtime = "onnx"').replace("2.14", "1.16"))
    build_bundle(folder, tmp_path / "frost.tar")
    with pytest.raises(BundleError) as refused:
        check_loads(tmp_path / "frost.tar")
    assert refused.value.reason is Reason.MODEL_FILE_INVALID
