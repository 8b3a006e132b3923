"""What controller and agent agree on about configuration that travels: paths, the signed record, what is desired and said.

The types stand beside `messages.py`, which puts them into `Desired` and `Reported`.
"""

import re
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from fleet_contract.topics import check_name

CONFIG_ROLE: Final = "config"
"""The delegated TUF role whose online key signs every revision of a configuration."""
MAX_CONFIGURATION_BYTES: Final = 256 * 1024
"""Of one revision's TOML."""
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}")


class ConfigurationState(StrEnum):
    """Where a device stands with its configuration; the transitions are the table in `edge_agent/configuring/machine.py`."""

    WAITING = "waiting"
    FETCHING = "fetching"
    CHECKING = "checking"
    APPLYING = "applying"
    """Recorded as the one to use; what needs a restart waits for it."""
    PROBATION = "probation"
    COMMITTED = "committed"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


class DesiredConfiguration(Struct, frozen=True, kw_only=True):
    """The configuration that the device should use over its own file: a reference, never content."""

    name: str
    revision: int
    rollout: str | None = None


class ConfigurationReport(Struct, frozen=True, kw_only=True):
    """Where the newest change of configuration stands; kept after it has ended, so that its reason can be read.

    Revision 0 with an empty name is the device's own file alone.
    """

    name: str
    revision: int
    state: ConfigurationState
    reason: str | None = None
    detail: str | None = None
    since: str
    attempts: int = 0
    running_name: str = ""
    """What the agent really runs with now: its attestation. Empty: its own file alone."""
    running_revision: int = 0
    running_digest: str = ""
    """`sha256:` and the hash of the bytes that were read at the start, or when they were applied live."""
    restart: tuple[str, ...] = ()
    """Keys whose new value waits for the agent to start itself again."""


class ConfigurationRevision(Struct, frozen=True, kw_only=True):
    """The signed facts of one revision, in TUF's `custom` field."""

    name: str
    revision: int
    """Grows with every revision of this name."""
    contract_low: int = 1
    """The contract versions that it is meant for: a device must speak one of the range."""
    contract_high: int | None = None
    """None: there is no upper end."""
    agent: str = ""
    """The lowest version of the agent that it is meant for; empty is any."""


def configuration_path(name: str, revision: int) -> str:
    """The TUF target path of a revision: `config/orchards/3.toml`."""
    if revision < 1:
        raise ValueError(f"revision {revision}: counts from 1")
    return f"config/{check_name(name, 'configuration')}/{revision}.toml"


def parse_revision(custom: Any) -> ConfigurationRevision:
    """Read the `custom` field of a signed target; raises ValueError naming what is wrong."""
    try:
        signed = msgspec.convert(custom, ConfigurationRevision)
    except msgspec.ValidationError as error:
        raise ValueError(f"custom field of the signed target: {error}") from error
    configuration_path(signed.name, signed.revision)
    check_version(signed.agent)
    return signed


def check_version(version: str) -> str:
    """Return a version such as `0.2.0`, or an empty one; raises ValueError."""
    if version and not _VERSION.fullmatch(version):
        raise ValueError(f"version {version!r}: numbers with dots are meant, such as 0.2.0")
    return version


def is_older(version: str, asked: str) -> bool:
    """Whether `version` is older than `asked`; an empty `asked` asks nothing. Only the leading numbers count."""
    return bool(asked) and _numbers(version) < _numbers(asked)


def _numbers(version: str) -> tuple[int, ...]:
    match = _VERSION.match(version)
    numbers = tuple(int(part) for part in match[0].split(".")) if match is not None else ()
    return numbers + (0,) * (4 - len(numbers))
