import msgspec
import pytest

from fleet_contract.manifest import Manifest, parse_manifest
from fleet_contract.trust import Release, find_contradiction, parse_release, target_path, variant_facts


@pytest.fixture
def manifest(manifest_text: bytes) -> Manifest:
    promise = b'latency_ms = 1.5, latency_device = "Pi 4", memory_bytes = 5, memory_peak_bytes = 7'
    return parse_manifest(b'variant = "int8"\nrequirements = { ' + promise + b" }\n" + manifest_text)


@pytest.fixture
def release(manifest: Manifest) -> Release:
    facts = variant_facts(manifest)
    return Release(model="frost", version="1.0.0", release=3, floor=1, variant="int8", facts=facts)


def test_a_variant_has_a_target_of_its_own_and_a_single_bundle_the_plain_one() -> None:
    assert target_path("frost", 3) == "models/frost/3.tar"
    assert target_path("frost", 3, "int8") == "models/frost/3.int8.tar"
    with pytest.raises(ValueError, match="variant"):
        target_path("frost", 3, "../int8")


def test_facts_are_whole_numbers_and_the_peak_counts_where_there_is_one(release: Release) -> None:
    assert release.facts is not None
    assert (release.facts.latency_us, release.facts.memory_bytes) == (1500, 7)
    assert parse_release(msgspec.to_builtins(release)) == release


def test_a_manifest_that_says_what_was_signed_contradicts_nothing(release: Release, manifest: Manifest) -> None:
    assert find_contradiction(release, manifest) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": "1.0.1"}, "signed is frost 1.0.1"),
        ({"variant": "fp32"}, "variant int8, signed is fp32"),
        ({"facts": {"latency_us": 1}}, "latency_us"),
        ({"facts": {"accelerators": ("cuda",)}}, "accelerators"),
    ],
)
def test_a_manifest_that_says_otherwise_is_found_out(
    release: Release, manifest: Manifest, changes: dict[str, object], says: str
) -> None:
    if isinstance(facts := changes.get("facts"), dict):
        changes = {"facts": msgspec.structs.replace(release.facts, **facts)}
    found = find_contradiction(msgspec.structs.replace(release, **changes), manifest)
    assert found is not None
    assert says in found
