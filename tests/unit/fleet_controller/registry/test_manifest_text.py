"""A manifest written as TOML is read as the same manifest, whatever feeds the model."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_contract.manifest import parse_manifest
from fleet_controller.registry.bundles import build_bundle
from fleet_controller.registry.manifest_text import manifest_toml

HEAD = """
schema = 1
name = "frost"
version = "1.0.0"
task = "embedding"
runtime = "onnx"
file = "model.onnx"
golden = "golden.json"
licence = "Apache-2.0"
"""
TEXT = """
kind = "text"
tokenizer = "tokenizer.json"
tokens = { max_length = 64 }
input_tensors = [{ name = "input_ids", dtype = "int64", shape = [-1, -1] }]
output_tensor = { name = "states", dtype = "float32", shape = [-1, -1, 2] }
pooling = "cls"
activation = "sigmoid"
normalise = true
"""
TENSOR = """
kind = "tensor"
input_tensors = [
  { name = "image", dtype = "uint8", shape = [-1, 3, -1, -1] },
  { name = "scale", dtype = "float32", shape = [-1, 1] },
]
output_tensor = { name = "boxes", dtype = "float32", shape = [-1, -1, 6] }
"""
WINDOW = """
kind = "window"
inputs = [{ name = "flow" }]
features = [{ op = "last", input = "flow" }]
input_tensor = { name = "x", dtype = "float32", shape = [-1, 1] }
output_tensor = { name = "y", dtype = "float32", shape = [-1, 1] }
"""


@pytest.mark.parametrize("own", [TEXT, TENSOR, WINDOW], ids=["text", "tensor", "window"])
def test_what_is_written_is_read_as_the_same(own: str) -> None:
    manifest = parse_manifest((HEAD + own).encode())
    assert parse_manifest(manifest_toml(manifest).encode()) == manifest


def test_a_tokenizer_is_built_into_the_bundle(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    folder = model_folder("frost")
    (folder / "model.toml").write_text(HEAD + TEXT)
    (folder / "golden.json").write_text('[{"text": "dry", "scores": [0.6, 0.8]}]')
    (folder / "tokenizer.json").write_text("{}")
    facts = build_bundle(folder, tmp_path / "bundle.tar")
    assert facts.manifest.entries == ("model.onnx", "golden.json", "tokenizer.json")
    before = facts.digest
    (folder / "tokenizer.json").write_text("{ }")
    assert build_bundle(folder, tmp_path / "bundle.tar").digest != before
