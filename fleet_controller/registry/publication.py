"""The rules of publishing a release, without I/O: what the operator signs, and what the service accepts.

A publication adds exactly one target to the `models` metadata. Releases of a model count up from 1; nothing that was published
is ever changed or taken away, so a release number means the same bytes for good.
"""

import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, TargetFile, Targets

from fleet_contract.manifest import Manifest
from fleet_contract.trust import MODELS_ROLE, Release, parse_release, target_path

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
    """One signed release: its facts and its bytes."""

    release: Release
    length: int
    sha256: str

    @property
    def digest(self) -> str:
        """As it stands in messages: `sha256:` and the hash."""
        return f"sha256:{self.sha256}"


def releases_of(models: Targets) -> list[PublishedRelease]:
    """All signed releases, by model and number. Raises PublicationError if the metadata breaks the contract."""
    found = []
    for path, target in models.targets.items():
        try:
            release = parse_release(target.custom)
            wanted = target_path(release.model, release.release)
        except ValueError as error:
            raise PublicationError(f"target {path}: {error}") from error
        if wanted != path:
            raise PublicationError(f"target {path}: its signed facts belong to {wanted}")
        if set(target.hashes) != {"sha256"}:
            raise PublicationError(f"target {path}: needs a sha256 and no other hash")
        found.append(PublishedRelease(release, target.length, target.hashes["sha256"]))
    return sorted(found, key=lambda item: (item.release.model, item.release.release))


def next_release(models: Targets, facts: BundleFacts, floor: int | None = None) -> Release:
    """The facts to sign for this bundle. `floor` defaults to the model's floor so far.

    Raises PublicationError: a floor that sinks or lies above the new release, or a version that stands for other bytes.
    """
    manifest = facts.manifest
    earlier = [item for item in releases_of(models) if item.release.model == manifest.name]
    number = max((item.release.release for item in earlier), default=0) + 1
    lowest = max((item.release.floor for item in earlier), default=0)
    for item in earlier:
        if item.release.version == manifest.version and item.sha256 != facts.sha256:
            raise PublicationError(
                f"version {manifest.version} of {manifest.name} is release {item.release.release} with other bytes; "
                "give the new bundle a new version"
            )
    floor = lowest if floor is None else floor
    if not lowest <= floor <= number:
        raise PublicationError(f"floor {floor}: must be between {lowest} (it never sinks) and {number} (the new release)")
    return Release(model=manifest.name, version=manifest.version, release=number, floor=floor)


def with_release(current: Metadata[Targets], release: Release, facts: BundleFacts, now: datetime) -> Metadata[Targets]:
    """The next, unsigned version of the `models` metadata, with the release added. `now` is in UTC, with its zone."""
    following = copy.deepcopy(current)
    following.signatures.clear()
    path = target_path(release.model, release.release)
    following.signed.targets[path] = TargetFile(
        facts.length, {"sha256": facts.sha256}, path, {"custom": msgspec.to_builtins(release)}
    )
    following.signed.version += 1
    following.signed.expires = now.replace(microsecond=0) + MODELS_LIFETIME
    return following


def check_publication(
    delegator: Targets, current: Metadata[Targets], proposed: Metadata[Targets], facts: BundleFacts, now: datetime
) -> PublishedRelease:
    """Judge a signed publication against the repository and the uploaded bytes; returns the new release.

    Raises PublicationError naming the rule that is broken.
    """
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
    known = current.signed.targets
    for path, target in known.items():
        if signed.targets.get(path) != target:
            raise PublicationError(f"target {path} was changed or taken away; a published release stays as it is")
    added = [item for item in releases_of(signed) if target_path(item.release.model, item.release.release) not in known]
    if len(added) != 1:
        raise PublicationError(f"{len(added)} new targets; a publication adds exactly one")
    (new,) = added
    wanted = next_release(current.signed, facts, new.release.floor)
    if new.release != wanted:
        raise PublicationError(f"the signed facts are {new.release}, but bundle and repository say {wanted}")
    if (new.length, new.sha256) != (facts.length, facts.sha256):
        raise PublicationError(
            f"the uploaded bundle has {facts.length} bytes and {facts.digest}, signed are {new.length} bytes and {new.digest}"
        )
    return new
