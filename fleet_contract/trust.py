"""What controller and agent agree on about signed releases: target paths, the record in TUF's `custom` field, raised floors."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from fleet_contract.topics import check_name

MODELS_ROLE: Final = "models"
"""The delegated TUF role whose offline release key signs every model release."""
FLOORS_FIELD: Final = "floors"
"""A field beside the targets of the `models` metadata: model to a floor that was raised without a release, to revoke one."""
METADATA_PATH: Final = "/artifacts/metadata/"
TARGETS_PATH: Final = "/artifacts/targets/"
"""Where the controller's HTTP server offers the repository, below its base URL; the device's token opens it."""


class Release(Struct, frozen=True, kw_only=True):
    """The signed facts of one publication. `release` and `floor` are numbers of this model alone."""

    model: str
    version: str
    release: int
    """Grows with every publication of the model."""
    floor: int
    """The lowest release that may still be installed; a device keeps the highest floor that it has seen."""


def target_path(model: str, release: int) -> str:
    """The TUF target path of a release: `models/frost/3.tar`."""
    if release < 1:
        raise ValueError(f"release {release}: counts from 1")
    return f"models/{check_name(model, 'model')}/{release}.tar"


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
