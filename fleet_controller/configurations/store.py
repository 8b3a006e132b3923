"""Revisions of configurations in the database, and which devices want or use which."""

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from fleet_controller.rollouts.machine import ACTIVE
from fleet_controller.rollouts.policy import Kind
from fleet_controller.store.slots import Channel, read_slots
from fleet_controller.store.tables import audit, configurations, desired, rollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision. `digest` is `sha256:` and the hash of `content`, `created` seconds since 1970."""

    name: str
    revision: int
    digest: str
    content: bytes
    contract_low: int
    contract_high: int | None
    agent: str
    operator: str | None
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one device has to do with configurations; each is a name and a revision."""

    wanted: tuple[str, int] | None
    """Desired of it."""
    runs: tuple[str, int] | None
    """Attested by it."""
    state: str | None = None
    reason: str | None = None
    restart: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """The configurations that it has to do with."""
        return {part[0] for part in (self.wanted, self.runs) if part is not None}


class _Said(msgspec.Struct):
    state: str = ""
    reason: str | None = None
    running_name: str = ""
    running_revision: int = 0
    restart: tuple[str, ...] = ()


class _Reported(msgspec.Struct):
    configuration: _Said | None = None


def add(connection: Connection, row: Revision) -> None:
    """Store one revision."""
    connection.execute(sa.insert(configurations).values(**{name: getattr(row, name) for name in Revision.__slots__}))


def remove(connection: Connection, name: str, revision: int) -> None:
    """Forget one revision."""
    of_it = (configurations.c.name == name) & (configurations.c.revision == revision)
    connection.execute(sa.delete(configurations).where(of_it))


def revisions(connection: Connection, name: str | None = None) -> list[Revision]:
    """All revisions, or those of one name, by name and number."""
    query = sa.select(configurations).order_by(configurations.c.name, configurations.c.revision)
    if name is not None:
        query = query.where(configurations.c.name == name)
    return [Revision(**row._mapping) for row in connection.execute(query)]


def uses(connection: Connection) -> dict[str, Use]:
    """Every device that has, wants or was told anything, by its name."""
    wanted = {
        row.device: (row.configuration["name"], row.configuration["revision"])
        for row in connection.execute(sa.select(desired.c.device, desired.c.configuration))
        if row.configuration is not None
    }
    said: dict[str, _Said] = {}
    for (device, channel), slot in read_slots(connection).items():
        if channel == Channel.REPORTED:
            found = _read(slot.payload).configuration
            if found is not None:
                said[device] = found
    return {
        device: Use(
            wanted=wanted.get(device),
            runs=(own.running_name, own.running_revision) if (own := said.get(device, _Said())).running_revision else None,
            state=own.state or None,
            reason=own.reason,
            restart=own.restart,
        )
        for device in sorted({*wanted, *said})
    }


def removed(connection: Connection, name: str) -> list[int]:
    """The numbers that were taken away, as the audit log has them."""
    query = sa.select(audit.c.details).where(audit.c.action == "config.remove", audit.c.subject == name)
    return [int(details["revision"]) for details in connection.execute(query).scalars()]


def rollouts_of(connection: Connection, name: str, revision: int) -> list[int]:
    """Unfinished rollouts that bring this revision."""
    query = sa.select(rollouts.c.id).where(
        rollouts.c.kind == Kind.CONFIGURATION,
        rollouts.c.model == name,
        rollouts.c.release == revision,
        rollouts.c.state.in_([state.value for state in ACTIVE]),
    )
    return list(connection.execute(query).scalars())


def _read(payload: bytes) -> _Reported:
    # A slot that this version cannot read says nothing about configuration.
    try:
        return msgspec.json.decode(payload, type=_Reported)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Reported()
