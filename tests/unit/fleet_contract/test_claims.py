"""What a manifest claims is held against what can be checked, and each lie has its own reason code."""

import io
import re

import pytest

from fleet_contract.manifest import ManifestError, parse_manifest
from fleet_contract.model_file import check_claims, read_opset
from fleet_contract.provenance import check_licence
from fleet_contract.reasons import Reason
from fleet_contract.requirements import misfit_of_version

MANIFEST = """
schema = 1
name = "frost"
version = "1.0.0"
task = "{task}"
runtime = "{runtime}"
file = "model.onnx"
golden = "golden.json"
kind = "window"
licence = "{licence}"
inputs = [{{ name = "t" }}]
features = [{{ op = "last", input = "t" }}]
input_tensor = {{ name = "x", dtype = "float32", shape = [-1, 1], unit = "Cel" }}
output_tensor = {{ name = "y", dtype = "float32", shape = [-1, 1] }}
{more}
"""


def text(more: str = "", *, runtime: str = "onnx", licence: str = "Apache-2.0", task: str = "anomaly") -> bytes:
    return MANIFEST.format(more=more, runtime=runtime, licence=licence, task=task).encode()


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def onnx(*opsets: tuple[bytes, int], graph: bytes = b"\x0a\x02hi") -> bytes:
    """The outermost fields of an ONNX file: version, graph, and the operators it asks for."""
    parts = b"\x08\x09" + b"\x3a" + varint(len(graph)) + graph
    for domain, version in opsets:
        entry = b"\x0a" + varint(len(domain)) + domain + b"\x10" + varint(version)
        parts += b"\x42" + varint(len(entry)) + entry
    return parts


@pytest.mark.parametrize(
    ("more", "key", "reason"),
    [
        ('requirements = { runtime_min = "new" }', "requirements.runtime_min", Reason.MANIFEST_INVALID),
        ('requirements = { runtime_min = "1.20", runtime_max = "1.19" }', "requirements.runtime_max", Reason.MANIFEST_INVALID),
        ('requirements = { opset = 21, runtime_min = "1.16" }', "requirements.runtime_min", Reason.OPSET_MISMATCH),
        ('requirements = { accelerators = ["tpu9"] }', "requirements.accelerators", Reason.ACCELERATOR_UNKNOWN),
        ("requirements = { memory_bytes = 9, memory_peak_bytes = 8 }", "memory_peak_bytes", Reason.SIZE_MISMATCH),
        ("requirements = { memory_peak_bytes = 9, memory_swap_bytes = 8 }", "memory_swap_bytes", Reason.SIZE_MISMATCH),
        ("requirements = { disk_bytes = -1 }", "requirements.disk_bytes", Reason.MANIFEST_INVALID),
        ("requirements = { latency_ms = 2.0 }", "requirements.latency_device", Reason.MANIFEST_INVALID),
        ('requirements = { latency_ms = 0.0, latency_device = "Pi 4" }', "latency_ms", Reason.MANIFEST_INVALID),
        ("metrics = { f1 = 0.9 }", "metrics_data", Reason.METRICS_WITHOUT_DATA),
        ('metrics = { f1 = nan }\nmetrics_data = "2015"', "metrics", Reason.MANIFEST_INVALID),
        ('provenance = { commit = "latest" }', "provenance.commit", Reason.MANIFEST_INVALID),
        ('provenance = { data_hash = "md5:00" }', "provenance.data_hash", Reason.MANIFEST_INVALID),
        ('provenance = { built_at = "2026-01-01T00:00:00" }', "provenance.built_at", Reason.MANIFEST_INVALID),
        ('variant = "INT 8"', "variant", Reason.MANIFEST_INVALID),
        ("window = 0", "window", Reason.MANIFEST_INVALID),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_key_and_code(more: str, key: str, reason: Reason) -> None:
    with pytest.raises(ManifestError, match=key) as refused:
        parse_manifest(text(more))
    assert refused.value.reason is reason


def test_what_is_whole_passes() -> None:
    manifest = parse_manifest(
        text(
            'variant = "int8"\nmetrics = { f1 = 0.9 }\nmetrics_data = "2015"\n'
            'provenance = { commit = "9346dda", built_at = "2026-01-01T00:00:00Z", built_by = "ci" }\n'
            'requirements = { runtime_min = "1.17", runtime_max = "1.22", opset = 20, accelerators = ["cuda"], '
            'latency_ms = 1.5, latency_device = "Pi 4" }'
        )
    )
    assert manifest.variant == "int8"
    assert manifest.requirements.latency_ms == 1.5


def test_a_regression_says_what_its_number_is_in() -> None:
    with pytest.raises(ManifestError, match=r"output_tensor\.unit"):
        parse_manifest(text(task="regression"))


def test_only_an_onnx_file_has_an_opset() -> None:
    with pytest.raises(ManifestError, match="opset"):
        parse_manifest(text("requirements = { opset = 20 }", runtime="tflite"))


@pytest.mark.parametrize(
    "licence",
    ["Apache-2.0", "MIT OR ISC", "GPL-2.0+ WITH eCos-exception-2.0", "(MIT AND (BSD-3-Clause OR ISC))", "LicenseRef-own"],
)
def test_licence_expressions_of_spdx_pass(licence: str) -> None:
    check_licence(licence)


@pytest.mark.parametrize("licence", ["", "free for all", "MIT OR", "(MIT", "MIT)", "WITH MIT", "MIT/ISC", "((" * 20 + "MIT"])
def test_what_is_no_licence_expression_is_refused(licence: str) -> None:
    with pytest.raises(ManifestError) as refused:
        parse_manifest(text(licence=licence))
    assert refused.value.reason is Reason.LICENCE_INVALID


def test_the_opset_is_that_of_the_standard_operators_behind_a_long_graph() -> None:
    data = b"junk" + onnx((b"ai.onnx.ml", 3), (b"", 20), graph=bytes(100_000))
    assert read_opset(io.BytesIO(data), 4, len(data) - 4) == 20


@pytest.mark.parametrize("data", [b"", b"\xff" * 50, bytes(range(256)), onnx((b"ai.onnx.ml", 3)), onnx((b"", 20))[:-3]])
def test_bytes_that_tell_of_no_opset_give_none(data: bytes) -> None:
    assert read_opset(io.BytesIO(data), 0, len(data)) is None


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ("opset = 19", Reason.OPSET_MISMATCH),
        ("memory_peak_bytes = 10", Reason.SIZE_MISMATCH),
        ("disk_bytes = 10", Reason.SIZE_MISMATCH),
    ],
)
def test_a_claim_that_the_file_contradicts_is_refused(needs: str, reason: Reason) -> None:
    data = onnx((b"", 20))
    manifest = parse_manifest(text(f"requirements = {{ {needs} }}"))
    with pytest.raises(ManifestError) as refused:
        check_claims(manifest, io.BytesIO(data), 0, len(data), len(data))
    assert refused.value.reason is reason


def test_a_claim_that_the_file_meets_passes() -> None:
    data = onnx((b"", 20))
    manifest = parse_manifest(text("requirements = { opset = 20, memory_peak_bytes = 1000, disk_bytes = 1000 }"))
    check_claims(manifest, io.BytesIO(data), 0, len(data), len(data))


@pytest.mark.parametrize(
    ("version", "lowest", "highest", "fits"),
    [
        ("1.22.1", "1.16", "1.22", True),
        ("1.23.0", None, "1.22", False),
        ("1.9.0", "1.16", None, False),
        ("1.16", "1.16", "1.16", True),
        ("2.0", None, None, True),
    ],
)
def test_the_range_of_a_runtime_counts_in_as_many_numbers_as_it_has(
    version: str, lowest: str | None, highest: str | None, fits: bool
) -> None:
    assert (misfit_of_version(version, lowest, highest) is None) is fits


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("requirements = { latency = 2.0 }", "requirements.latency: no such key; the nearest is 'latency_ms'"),
        ("requirements = { runtime_minimum = '1' }", "requirements.runtime_minimum: no such key; the nearest is 'runtime_min'"),
        ("lables = ['a']", "lables: no such key; the nearest is 'labels'"),
        ("provenance = { zzz = 1 }", "provenance.zzz: no such key; known are built_at"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest_known_one(more: str, says: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(says)):
        parse_manifest(text(more))
