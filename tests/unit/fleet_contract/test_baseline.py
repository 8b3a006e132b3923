"""A baseline in a bundle: what is refused, and where."""

import io
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fleet_contract.baseline import MAX_BASELINE_BYTES, MOST_WORDS, parse_baseline
from fleet_contract.bundle import BundleError, read_bundle
from fleet_contract.manifest import ManifestError, parse_manifest
from fleet_contract.reasons import Reason

GOOD: dict[str, Any] = {
    "schema": 1,
    "samples": 10,
    "numbers": {
        "input.temp_min": {"low": -5.0, "high": 10.0, "cuts": [0.0, 5.0], "counts": [0, 3, 3, 4, 0, 0]},
        "output.score": {"low": 0.0, "high": 1.0, "counts": [0, 10, 0, 0]},
    },
}
NAMED = b'baseline = "baseline.json"\ngolden ='


def changed(path: str, value: Any) -> dict[str, Any]:
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(GOOD))
    *way, last = path.split("/")
    place = copy
    for step in way:
        place = place[step]
    place[last] = value
    return copy


def test_a_right_baseline_comes_with_its_bundle(
    pack: Callable[..., bytes], entry: Callable[..., Any], good_entries: list[Any], manifest_text: bytes
) -> None:
    assert read_bundle(io.BytesIO(pack(good_entries))).baseline is None
    named = manifest_text.replace(b"golden =", NAMED)
    entries = [entry("model.toml", named), *good_entries[1:], entry("baseline.json", msgspec.json.encode(GOOD))]
    baseline = read_bundle(io.BytesIO(pack(entries))).baseline
    assert baseline is not None
    assert baseline.numbers["input.temp_min"].cuts == (0.0, 5.0)


def test_a_bundle_that_lacks_its_baseline_or_has_one_that_is_not_named_is_refused(
    pack: Callable[..., bytes], entry: Callable[..., Any], good_entries: list[Any], manifest_text: bytes
) -> None:
    named = [entry("model.toml", manifest_text.replace(b"golden =", NAMED)), *good_entries[1:]]
    with pytest.raises(BundleError, match=r"baseline\.json.*missing"):
        read_bundle(io.BytesIO(pack(named)))
    with pytest.raises(BundleError, match="not named"):
        read_bundle(io.BytesIO(pack([*good_entries, entry("baseline.json", msgspec.json.encode(GOOD))])))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"{}", Reason.MANIFEST_INVALID), (b" " * (MAX_BASELINE_BYTES + 1), Reason.BUNDLE_TOO_LARGE)],
)
def test_a_wrong_or_endless_baseline_is_refused_with_its_reason(
    content: bytes,
    reason: Reason,
    pack: Callable[..., bytes],
    entry: Callable[..., Any],
    good_entries: list[Any],
    manifest_text: bytes,
) -> None:
    named = manifest_text.replace(b"golden =", NAMED)
    entries = [entry("model.toml", named), *good_entries[1:], entry("baseline.json", content)]
    with pytest.raises(BundleError) as refused:
        read_bundle(io.BytesIO(pack(entries)))
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        (changed("schema", 2), "schema"),
        (changed("unknown", 2), "unknown"),
        (changed("numbers/input.wind", GOOD["numbers"]["output.score"]), r"no 'input\.wind'"),
        (changed("numbers/output.confidence", GOOD["numbers"]["output.score"]), "no 'output.confidence'"),
        (changed("categories", {"output.label": {"counts": {"frost": 1}}}), "no 'output.label'"),
        (changed("numbers/output.score/low", 2.0), "ascending"),
        (changed("numbers/input.temp_min/cuts", [5.0, 0.0]), "ascending"),
        (changed("numbers/input.temp_min/cuts", [0.0, 10.0]), "ascending"),
        (changed("numbers/input.temp_min/counts", [1, 2, 3]), "counts"),
        (changed("numbers/input.temp_min/counts", [0, 3, 3, 4, 0, -1]), "below 0"),
        (changed("words", ["a"] * (MOST_WORDS + 1)), "words"),
    ],
)
def test_a_baseline_that_contradicts_itself_or_the_manifest_is_refused(
    baseline: dict[str, Any], told: str, manifest_text: bytes
) -> None:
    manifest = parse_manifest(manifest_text.replace(b"golden =", NAMED))
    parse_baseline(msgspec.json.encode(GOOD), manifest)
    with pytest.raises(ManifestError, match=told):
        parse_baseline(msgspec.json.encode(baseline), manifest)
