"""A small bundle that is right in every respect, for tests that then break one thing."""

import io
import json
import tarfile
from collections.abc import Callable

import pytest

MANIFEST = b"""
schema = 1
name = "frost"
version = "1.0.0"
task = "classification"
runtime = "onnx"
file = "frost.onnx"
golden = "golden.json"
kind = "window"
window = 2
inputs = [{ name = "temp_min", unit = "Cel" }]
features = [{ op = "last", input = "temp_min" }]
input_tensor = { name = "features", dtype = "float32", shape = [-1, 1] }
output_tensor = { name = "scores", dtype = "float32", shape = [-1, 1] }
labels = ["frost"]
decision = { label = "frost", threshold = 0.5 }
licence = "Apache-2.0"
"""
GOLDEN = json.dumps([{"window": {"temp_min": [1.0, -2.0]}, "scores": [0.9]}]).encode()

Entry = tuple[tarfile.TarInfo, bytes]


@pytest.fixture
def manifest_text() -> bytes:
    """`model.toml` of the bundle."""
    return MANIFEST


@pytest.fixture
def golden_text() -> bytes:
    """Its golden samples."""
    return GOLDEN


@pytest.fixture
def entry() -> Callable[..., Entry]:
    """`entry(name, content, **fields of TarInfo)`: one entry of a tar."""

    def make(name: str, content: bytes = b"", **fields: object) -> Entry:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for field, value in fields.items():
            setattr(info, field, value)
        return info, content

    return make


@pytest.fixture
def good_entries(entry: Callable[..., Entry]) -> list[Entry]:
    """What a right bundle holds."""
    return [entry("model.toml", MANIFEST), entry("frost.onnx", b"not read here"), entry("golden.json", GOLDEN)]


@pytest.fixture
def pack() -> Callable[..., bytes]:
    """`pack(entries)`: the bytes of a tar with these entries."""

    def make(entries: list[Entry], tar_format: int = tarfile.USTAR_FORMAT) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:", format=tar_format) as tar:
            for info, content in entries:
                tar.addfile(info, io.BytesIO(content))
        return file.getvalue()

    return make
