"""The devices of the fleet: labels and the hashes of their credentials."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from fleet_controller.store.tables import devices, slots


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device; `revoked` is when it was forgotten (seconds since 1970), None while it belongs to the fleet."""

    device: str
    labels: dict[str, str]
    created: float
    revoked: float | None


_QUERY = sa.select(devices.c.device, devices.c.labels, devices.c.created, devices.c.revoked)


def list_devices(connection: Connection) -> list[DeviceRow]:
    """The devices that belong to the fleet, by name."""
    rows = connection.execute(_QUERY.where(devices.c.revoked.is_(None)).order_by(devices.c.device))
    return [DeviceRow(*row) for row in rows]


def get_device(connection: Connection, device: str) -> DeviceRow | None:
    """One device, also a forgotten one."""
    row = connection.execute(_QUERY.where(devices.c.device == device)).first()
    return DeviceRow(*row) if row is not None else None


def device_of_token(connection: Connection, token_hash: str) -> DeviceRow | None:
    """Whose HTTP token this is; also that of a forgotten device."""
    row = connection.execute(_QUERY.where(devices.c.token_hash == token_hash)).first()
    return DeviceRow(*row) if row is not None else None


def put_device(
    connection: Connection, device: str, labels: Mapping[str, str], token_hash: str, broker_line: str, now: float
) -> None:
    """Add a device, or take a forgotten one in again with new credentials."""
    values = {
        "labels": dict(labels),
        "token_hash": token_hash,
        "broker_line": broker_line,
        "created": now,
        "revoked": None,
    }
    if connection.execute(sa.update(devices).where(devices.c.device == device).values(**values)).rowcount == 0:
        connection.execute(sa.insert(devices).values(device=device, **values))


def set_labels(connection: Connection, device: str, labels: Mapping[str, str]) -> None:
    """Replace all labels of a device."""
    connection.execute(sa.update(devices).where(devices.c.device == device).values(labels=dict(labels)))


def revoke_device(connection: Connection, device: str, now: float) -> None:
    """Mark a device as forgotten. The hash of its token stays, so that it can be told so; its last values go."""
    connection.execute(sa.update(devices).where(devices.c.device == device).values(revoked=now, broker_line=None))
    connection.execute(sa.delete(slots).where(slots.c.device == device))


def broker_lines(connection: Connection) -> dict[str, str]:
    """Device to its line of the broker's password file; every device ever added is a key, a forgotten one has an empty line."""
    rows = connection.execute(sa.select(devices.c.device, devices.c.broker_line, devices.c.revoked))
    return {row.device: (row.broker_line or "") if row.revoked is None else "" for row in rows}
