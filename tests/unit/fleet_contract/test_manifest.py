from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet_contract.manifest import GoldenSample, Manifest, ManifestError, parse_golden, parse_manifest

same_fixture_for_all_examples = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def problem(text: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text)
    return str(caught.value)


def test_a_right_manifest_is_typed(manifest_text: bytes) -> None:
    manifest = parse_manifest(manifest_text)
    assert (manifest.name, manifest.version, manifest.labels, manifest.decision.threshold) == (
        "frost",
        "1.0.0",
        ("frost",),
        0.5,
    )


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("schema = 1", "schema = 2", "schema"),
        ('name = "frost"', 'name = "Frost!"', "name"),
        ('version = "1.0.0"', 'version = "1.0"', "version"),
        ('file = "frost.onnx"', 'file = "../frost.onnx"', "file"),
        ('file = "frost.onnx"', 'file = "golden.json"', "golden"),
        ('golden = "golden.json"', 'golden = "model.toml"', "golden"),
        ('kind = "window"', 'kind = "text"', "inputs"),
        ("window = 2", "window = 0", "window"),
        ('input = "temp_min"', 'input = "temp"', "features[0].input"),
        ("shape = [-1, 1] }\noutput", "shape = [-1] }\noutput", "input_tensor.shape"),
        ('labels = ["frost"]', 'labels = ["frost", "no"]', "output_tensor.shape"),
        ('label = "frost"', 'label = "snow"', "decision.label"),
        ('licence = "Apache-2.0"', 'licence = "Apache-2.0"\nscaling = { mean = [0.0], scale = [0.0] }', "scaling.scale"),
        ('licence = "Apache-2.0"', 'licence = "Apache-2.0"\nscaling = { mean = [], scale = [] }', "scaling"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused_by_key(old: str, new: str, key: str, manifest_text: bytes) -> None:
    text = manifest_text.decode()
    assert old in text
    assert problem(text.replace(old, new, 1).encode()).startswith((f"{key}: ", f"{key} "))


def test_a_misspelt_key_is_refused(manifest_text: bytes) -> None:
    assert "lables" in problem(manifest_text.replace(b"labels", b"lables"))


def test_a_missing_key_is_named(manifest_text: bytes) -> None:
    assert "licence" in problem(manifest_text.replace(b'licence = "Apache-2.0"', b""))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b"[]", "at least one"),
        (b"{}", "golden.json"),
        (b'[{"window": {"temp_max": [1]}, "scores": [1]}]', "golden.json[0].window"),
        (b'[{"window": {"temp_min": [1]}, "scores": [1, 2]}]', "golden.json[0].scores"),
        (b'[{"window": {"temp_min": [1]}}]', "scores"),
        (b'[{"window": {"temp_min": [1]}, "scores": [1], "scroes": []}]', "scroes"),
    ],
)
def test_golden_samples_that_do_not_fit_are_refused(text: bytes, where: str, manifest_text: bytes) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_golden(text, parse_manifest(manifest_text))
    assert where in str(caught.value)


def test_a_missing_reading_may_stand_in_a_golden_sample(manifest_text: bytes) -> None:
    (sample,) = parse_golden(b'[{"window": {"temp_min": [1, null]}, "scores": [0.5]}]', parse_manifest(manifest_text))
    assert sample == GoldenSample(window={"temp_min": (1.0, None)}, scores=(0.5,))


@given(st.binary(max_size=2000))
def test_random_bytes_are_no_manifest_and_nothing_else_happens(data: bytes) -> None:
    problem(data)


@same_fixture_for_all_examples
@given(at=st.integers(0, 600), text=st.text(max_size=6))
def test_a_damaged_manifest_is_read_or_refused_and_nothing_else(at: int, text: str, manifest_text: bytes) -> None:
    with suppress(ManifestError):
        assert isinstance(parse_manifest(manifest_text[:at] + text.encode() + manifest_text[at + 3 :]), Manifest)


@same_fixture_for_all_examples
@given(data=st.binary(max_size=500) | st.text(alphabet='[]{}":,.-1eE windowtmp_scr', max_size=200).map(str.encode))
def test_random_bytes_are_no_golden_samples_and_nothing_else_happens(data: bytes, manifest_text: bytes) -> None:
    with suppress(ManifestError):
        parse_golden(data, parse_manifest(manifest_text))


@pytest.mark.parametrize("text", [b"a = " + b"[" * 100_000, b"a" * 100_000, b"a." * 1000 + b"b = 1"])
def test_deep_nesting_is_refused_like_any_other_fault(text: bytes) -> None:
    problem(text)


def test_a_runtime_that_is_left_out_on_purpose_is_refused_with_the_way_out(manifest_text: bytes) -> None:
    assert "export the model to ONNX" in problem(manifest_text.replace(b'runtime = "onnx"', b'runtime = "executorch"'))
