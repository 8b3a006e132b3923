"""The rules of the `config` role, without I/O: which revisions its metadata names, and how the next version of it comes about.

Its key is online, so the service signs a revision at once. What it cannot do with that key is anything but configuration: the
delegation covers `config/*/*` alone, and each device has its own say about what a configuration may set.
"""

import copy
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import msgspec
from tuf.api.metadata import Metadata, TargetFile, Targets

from fleet_contract.configuration import (
    MAX_CONFIGURATION_BYTES,
    ConfigurationRevision,
    configuration_path,
    parse_revision,
)
from fleet_controller.registry.publication import PublicationError

CONFIG_LIFETIME: Final = timedelta(days=30)
CONFIG_RENEWAL: Final = timedelta(days=15)
"""The metadata of the role is signed again when less than this is left."""


def revisions_of(targets: Targets) -> list[ConfigurationRevision]:
    """All signed revisions, by name and number. Raises PublicationError if the metadata breaks the contract."""
    found = []
    for path, target in targets.targets.items():
        try:
            signed = parse_revision(target.custom)
            wanted = configuration_path(signed.name, signed.revision)
        except ValueError as error:
            raise PublicationError(f"target {path}: {error}") from error
        if wanted != path:
            raise PublicationError(f"target {path}: its signed facts belong to {wanted}")
        found.append(signed)
    return sorted(found, key=lambda item: (item.name, item.revision))


def first_metadata(now: datetime) -> Metadata[Targets]:
    """Version 1, which names nothing; unsigned. `now` is in UTC, with its zone."""
    return Metadata(Targets(expires=now.replace(microsecond=0) + CONFIG_LIFETIME))


def following(current: Metadata[Targets], now: datetime) -> Metadata[Targets]:
    """The next, unsigned version, with nothing changed but its number and expiry date."""
    after = copy.deepcopy(current)
    after.signatures.clear()
    after.signed.version += 1
    after.signed.expires = now.replace(microsecond=0) + CONFIG_LIFETIME
    return after


def with_revision(
    current: Metadata[Targets], signed: ConfigurationRevision, data: bytes, now: datetime
) -> tuple[Metadata[Targets], TargetFile]:
    """The next, unsigned version with one more revision, and its target.

    Raises PublicationError: the bytes are too many, or the revision is there already.
    """
    path = configuration_path(signed.name, signed.revision)
    if len(data) > MAX_CONFIGURATION_BYTES:
        raise PublicationError(f"the configuration has {len(data)} bytes; at most {MAX_CONFIGURATION_BYTES} are allowed")
    if path in current.signed.targets:
        raise PublicationError(f"revision {signed.revision} of {signed.name} is published already, and stays as it is")
    after = following(current, now)
    target = TargetFile.from_data(path, data, ["sha256"])
    target.unrecognized_fields["custom"] = msgspec.to_builtins(signed)
    after.signed.targets[path] = target
    return after, target


def without_revisions(current: Metadata[Targets], gone: Collection[tuple[str, int]], now: datetime) -> Metadata[Targets]:
    """The next, unsigned version without some revisions: no device takes them any more."""
    after = following(current, now)
    for name, revision in gone:
        after.signed.targets.pop(configuration_path(name, revision), None)
    return after
