"""The rules of publishing and revoking releases, without I/O: what the operator signs, and what the service accepts.

A publication adds one release to the `models` metadata: one target, or one for each of its variants. Releases of a model count
up from 1; nothing that was published is ever changed or taken away, so a release number means the same bytes for good. A
revocation adds no target: it raises the floor of one model, and every release below it is worth nothing from then on.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, TargetFile, Targets

from fleet_contract.manifest import Manifest
from fleet_contract.trust import (
    FLOORS_FIELD,
    MODELS_ROLE,
    Release,
    parse_floors,
    parse_release,
    target_path,
    variant_facts,
)

MODELS_LIFETIME: Final = timedelta(days=365)
"""The release key is offline: this is how long devices go on trusting the releases without a new publication."""


class PublicationError(Exception):
    """A publication is refused; the text says which rule it breaks and what to do."""


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What was measured on the bundle's bytes."""

    manifest: Manifest
    length: int
    sha256: str

    @property
    def digest(self) -> str:
        """As it stands in messages: `sha256:` and the hash."""
        return f"sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class PublishedRelease:
    """One signed target: the facts of a release, or of one variant of it, and its bytes."""

    release: Release
    length: int
    sha256: str

    @property
    def path(self) -> str:
        """The target's path."""
        return target_path(self.release.model, self.release.release, self.release.variant)

    @property
    def digest(self) -> str:
        """As it stands in messages: `sha256:` and the hash."""
        return f"sha256:{self.sha256}"


def releases_of(models: Targets) -> list[PublishedRelease]:
    """All signed targets, by model, number and variant. Raises PublicationError if the metadata breaks the contract."""
    found = []
    for path, target in models.targets.items():
        try:
            release = parse_release(target.custom)
            wanted = target_path(release.model, release.release, release.variant)
        except ValueError as error:
            raise PublicationError(f"target {path}: {error}") from error
        if wanted != path:
            raise PublicationError(f"target {path}: its signed facts belong to {wanted}")
        if set(target.hashes) != {"sha256"}:
            raise PublicationError(f"target {path}: needs a sha256 and no other hash")
        found.append(PublishedRelease(release, target.length, target.hashes["sha256"]))
    return sorted(found, key=lambda item: (item.release.model, item.release.release, item.release.variant or ""))


def floors_of(models: Targets) -> dict[str, int]:
    """Model to its floor: the highest that any release was signed with, or that was raised without one.

    Raises PublicationError if the metadata breaks the contract.
    """
    try:
        floors = parse_floors(models.unrecognized_fields)
    except ValueError as error:
        raise PublicationError(str(error)) from error
    for item in releases_of(models):
        floors[item.release.model] = max(floors.get(item.release.model, 0), item.release.floor)
    return floors


def next_release(models: Targets, facts: BundleFacts, floor: int | None = None) -> Release:
    """As `next_releases`, for a release of a single bundle."""
    return next_releases(models, [facts], floor)[0]


def next_releases(models: Targets, bundles: Sequence[BundleFacts], floor: int | None = None) -> list[Release]:
    """The facts to sign for these bundles, in their order: the variants of one release, or its single bundle.

    `floor` defaults to the model's floor so far. Raises PublicationError: bundles that are no variants of one version, a floor
    that sinks or lies above the new release, or a version that stands for other bytes.
    """
    manifest = _check_variants(bundles)
    earlier = [item for item in releases_of(models) if item.release.model == manifest.name]
    number = max((item.release.release for item in earlier), default=0) + 1
    lowest = floors_of(models).get(manifest.name, 0)
    wanted = {facts.sha256 for facts in bundles}
    for before in sorted({item.release.release for item in earlier if item.release.version == manifest.version}):
        if {item.sha256 for item in earlier if item.release.release == before} != wanted:
            raise PublicationError(
                f"version {manifest.version} of {manifest.name} is release {before} with other bytes; "
                "give the new bundle a new version"
            )
    floor = lowest if floor is None else floor
    if not lowest <= floor <= number:
        raise PublicationError(f"floor {floor}: must be between {lowest} (it never sinks) and {number} (the new release)")
    return [
        Release(
            model=manifest.name,
            version=manifest.version,
            release=number,
            floor=floor,
            variant=facts.manifest.variant if len(bundles) > 1 else None,
            facts=variant_facts(facts.manifest),
        )
        for facts in bundles
    ]


def _check_variants(bundles: Sequence[BundleFacts]) -> Manifest:
    """The first one's manifest; raises PublicationError unless all are variants of one version."""
    first = bundles[0].manifest
    named: set[str] = set()
    for facts in bundles:
        manifest = facts.manifest
        if (manifest.name, manifest.version) != (first.name, first.version):
            raise PublicationError(
                f"{manifest.name} {manifest.version} and {first.name} {first.version} are no variants of one release: "
                "name and version have to be the same"
            )
        if asked(manifest) != asked(first):
            raise PublicationError(
                f"variants of {manifest.name} {manifest.version} differ in what they are asked or say: "
                "kind, window, inputs, labels and task have to be the same"
            )
        if len(bundles) > 1 and (manifest.variant is None or manifest.variant in named):
            what = "has no key variant" if manifest.variant is None else f"names variant {manifest.variant}, as another does"
            raise PublicationError(f"a bundle of {manifest.name} {manifest.version} {what}: each of several needs its own")
        named.add(manifest.variant or "")
    return first


def asked(manifest: Manifest) -> tuple[object, ...]:
    """What a pipeline sees of a model: variants of one release have it in common."""
    inputs = tuple(sorted((item.name, item.unit or "") for item in manifest.inputs))
    return (manifest.kind, manifest.window, inputs, manifest.labels, manifest.task, manifest.output_tensor.unit)


def with_release(current: Metadata[Targets], release: Release, facts: BundleFacts, now: datetime) -> Metadata[Targets]:
    """As `with_releases`, for a release of a single bundle."""
    return with_releases(current, [release], [facts], now)


def with_releases(
    current: Metadata[Targets], releases: Sequence[Release], bundles: Sequence[BundleFacts], now: datetime
) -> Metadata[Targets]:
    """The next, unsigned version of the `models` metadata, with a target for each bundle. `now` is in UTC, with its zone."""
    following = following_models(current, now)
    for release, facts in zip(releases, bundles, strict=True):
        path = target_path(release.model, release.release, release.variant)
        custom = {key: value for key, value in msgspec.to_builtins(release).items() if value is not None}
        following.signed.targets[path] = TargetFile(facts.length, {"sha256": facts.sha256}, path, {"custom": custom})
    return following


def with_floor(current: Metadata[Targets], model: str, floor: int, now: datetime) -> Metadata[Targets]:
    """The next, unsigned version of the `models` metadata, with every release of `model` below `floor` revoked.

    Raises PublicationError: there is no such model, the floor does not rise, or it lies above the next release.
    """
    newest = max((item.release.release for item in releases_of(current.signed) if item.release.model == model), default=0)
    if not newest:
        raise PublicationError(f"there is no release of {model!r} to revoke")
    lowest = floors_of(current.signed).get(model, 0)
    if not lowest < floor <= newest + 1:
        raise PublicationError(
            f"floor {floor} of {model}: must be above {lowest} (it never sinks) and not above {newest + 1} (the next release)"
        )
    following = following_models(current, now)
    raised = parse_floors(following.signed.unrecognized_fields) | {model: floor}
    following.signed.unrecognized_fields[FLOORS_FIELD] = dict(sorted(raised.items()))
    return following


def following_models(current: Metadata[Targets], now: datetime) -> Metadata[Targets]:
    """The next, unsigned version of the `models` metadata, with nothing changed but its number and expiry date."""
    following = copy.deepcopy(current)
    following.signatures.clear()
    following.signed.version += 1
    following.signed.expires = now.replace(microsecond=0) + MODELS_LIFETIME
    return following


def check_publication(
    delegator: Targets,
    current: Metadata[Targets],
    proposed: Metadata[Targets],
    bundles: Sequence[BundleFacts],
    now: datetime,
) -> list[PublishedRelease]:
    """Judge a signed publication against the repository and the uploaded bytes; returns a new target for each of `bundles`.

    Raises PublicationError naming the rule that is broken.
    """
    check_following(delegator, current, proposed, now)
    signed, known = proposed.signed, current.signed.targets
    if signed.unrecognized_fields != current.signed.unrecognized_fields:
        raise PublicationError("a publication adds a release and changes nothing else")
    added = {item.sha256: item for item in releases_of(signed) if item.path not in known}
    fresh = sum(path not in known for path in signed.targets)
    if fresh != len(bundles) or not bundles:
        raise PublicationError(f"{fresh} new targets for {len(bundles)} uploaded bundles; a publication adds one release")
    found = []
    for facts, wanted in zip(bundles, next_releases(current.signed, bundles, _floor_of(added)), strict=True):
        new = added.get(facts.sha256) or next(item for item in added.values())
        if new.release != wanted:
            raise PublicationError(f"the signed facts are {new.release}, but bundle and repository say {wanted}")
        if (new.length, new.sha256) != (facts.length, facts.sha256):
            raise PublicationError(
                f"the uploaded bundle has {facts.length} bytes and {facts.digest}, "
                f"signed are {new.length} bytes and {new.digest}"
            )
        found.append(new)
    return found


def _floor_of(added: dict[str, PublishedRelease]) -> int:
    return max((item.release.floor for item in added.values()), default=0)


def check_revocation(
    delegator: Targets, current: Metadata[Targets], proposed: Metadata[Targets], now: datetime
) -> tuple[str, int]:
    """Judge a signed revocation against the repository; returns the model and its new floor. Raises PublicationError."""
    check_following(delegator, current, proposed, now)
    if len(proposed.signed.targets) != len(current.signed.targets):
        raise PublicationError("a revocation adds no release")
    before, after = floors_of(current.signed), floors_of(proposed.signed)
    raised = [model for model, floor in after.items() if floor != before.get(model, 0)]
    if len(raised) != 1:
        raise PublicationError(f"{len(raised)} floors are changed; a revocation raises exactly one")
    (model,) = raised
    wanted = with_floor(current, model, after[model], now)
    if proposed.signed.unrecognized_fields != wanted.signed.unrecognized_fields:
        raise PublicationError("a revocation raises a floor and changes nothing else")
    return model, after[model]


def check_following(delegator: Targets, current: Metadata[Targets], proposed: Metadata[Targets], now: datetime) -> None:
    """What holds for every new version of the `models` metadata. Raises PublicationError naming the rule that is broken."""
    try:
        delegator.verify_delegate(MODELS_ROLE, proposed.signed_bytes, proposed.signatures)
    except UnsignedMetadataError as error:
        raise PublicationError("the metadata is not signed with the release key of this repository") from error
    signed = proposed.signed
    if signed.version != current.signed.version + 1:
        raise PublicationError(
            f"metadata version {signed.version}, but the next is {current.signed.version + 1}: "
            "another release was published meanwhile, run the command again"
        )
    if signed.is_expired(now):
        raise PublicationError("the metadata is already past its expiry date: check the clock of the signing machine")
    if signed.delegations is not None:
        raise PublicationError("the models role must not delegate")
    for path, target in current.signed.targets.items():
        if signed.targets.get(path) != target:
            raise PublicationError(f"target {path} was changed or taken away; a published release stays as it is")
