"""What controller and agent agree on about signed releases: target paths, the record in TUF's `custom` field, raised floors."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from fleet_contract.manifest import VARIANT, Manifest
from fleet_contract.topics import check_name

MODELS_ROLE: Final = "models"
"""The delegated TUF role whose offline release key signs every model release."""
FLOORS_FIELD: Final = "floors"
"""A field beside the targets of the `models` metadata: model to a floor that was raised without a release, to revoke one."""
METADATA_PATH: Final = "/artifacts/metadata/"
TARGETS_PATH: Final = "/artifacts/targets/"
DELTAS_PATH: Final = "/artifacts/deltas/"
"""Where the controller's HTTP server offers the repository, below its base URL; the device's token opens it."""


class VariantFacts(Struct, frozen=True, kw_only=True):
    """What a device decides by, before it downloads, whether it can run a variant and how well. Sizes in bytes, none is 0.

    Signed metadata has no fractions (canonical JSON), so times are in whole microseconds and metrics are text.
    """

    runtime: str
    runtime_min: str | None = None
    runtime_max: str | None = None
    opset: int | None = None
    accelerators: tuple[str, ...] = ()
    """One of these is needed; none: the CPU will do."""
    accelerators_preferred: tuple[str, ...] = ()
    memory_bytes: int = 0
    """At peak, or between inferences where the maker gives no peak."""
    disk_bytes: int = 0
    """Beside the target's own length, where a runtime compiles something out of it."""
    latency_us: int | None = None
    """What the maker promises on `latency_device`."""
    latency_device: str = ""
    metrics: dict[str, str] = msgspec.field(default_factory=dict)


def variant_facts(manifest: Manifest) -> VariantFacts:
    """The facts to sign for a bundle."""
    needs = manifest.requirements
    return VariantFacts(
        runtime=manifest.runtime.value,
        runtime_min=needs.runtime_min,
        runtime_max=needs.runtime_max,
        opset=needs.opset,
        accelerators=needs.accelerators,
        accelerators_preferred=needs.accelerators_preferred,
        memory_bytes=needs.memory_peak_bytes or needs.memory_bytes,
        disk_bytes=needs.disk_bytes,
        latency_us=None if needs.latency_ms is None else max(1, round(needs.latency_ms * 1000)),
        latency_device=needs.latency_device,
        metrics={name: f"{value:.6g}" for name, value in sorted(manifest.metrics.items())},
    )


class Release(Struct, frozen=True, kw_only=True):
    """The signed facts of one publication. `release` and `floor` are numbers of this model alone."""

    model: str
    version: str
    release: int
    """Grows with every publication of the model."""
    floor: int
    """The lowest release that may still be installed; a device keeps the highest floor that it has seen."""
    variant: str | None = None
    """Which of the release's builds this target is; none where it has only one."""
    facts: VariantFacts | None = None


def target_path(model: str, release: int, variant: str | None = None) -> str:
    """The TUF target path of a release: `models/frost/3.tar`, or `models/frost/3.int8.tar` where it has several variants."""
    if release < 1:
        raise ValueError(f"release {release}: counts from 1")
    if variant is not None and not VARIANT.fullmatch(variant):
        raise ValueError(f"variant {variant!r}: of a-z, 0-9 and -, up to 32")
    return f"models/{check_name(model, 'model')}/{release}{'' if variant is None else '.' + variant}.tar"


def find_contradiction(release: Release, manifest: Manifest) -> str | None:
    """What a bundle's manifest says otherwise than was signed of it, or None."""
    signed, says = f"{release.model} {release.version}", f"{manifest.name} {manifest.version}"
    if signed != says:
        return f"the manifest says {says}, signed is {signed}"
    if release.variant is not None and release.variant != manifest.variant:
        return f"the manifest says variant {manifest.variant}, signed is {release.variant}"
    if release.facts is not None and release.facts != variant_facts(manifest):
        wanted = variant_facts(manifest)
        keys = [key for key in VariantFacts.__struct_fields__ if getattr(release.facts, key) != getattr(wanted, key)]
        return f"the manifest says something else than was signed of {', '.join(keys)}"
    return None


def parse_release(custom: Any) -> Release:
    """Read the `custom` field of a signed target; raises ValueError naming what is wrong."""
    try:
        release = msgspec.convert(custom, Release)
    except msgspec.ValidationError as error:
        raise ValueError(f"custom field of the signed target: {error}") from error
    check_name(release.model, "model")
    if release.release < 1 or release.floor < 0 or release.floor > release.release:
        raise ValueError(f"release {release.release} with floor {release.floor}: counts from 1, the floor is not above it")
    return release


def parse_floors(fields: Mapping[str, Any]) -> dict[str, int]:
    """The floors that were raised without a release, from the fields beside the targets; raises ValueError."""
    try:
        floors = msgspec.convert(fields.get(FLOORS_FIELD, {}), dict[str, int])
    except msgspec.ValidationError as error:
        raise ValueError(f"{FLOORS_FIELD} of the signed metadata: {error}") from error
    for model, floor in floors.items():
        check_name(model, "model")
        if floor < 1:
            raise ValueError(f"{FLOORS_FIELD} of the signed metadata: {model} has {floor}, which is below 1")
    return floors
