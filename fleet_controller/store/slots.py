"""Last-value slots of devices: birth, reported, and the newest health."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import Connection

from fleet_controller.store.tables import slots


class Channel(StrEnum):
    """Which slot."""

    BIRTH = "birth"
    REPORTED = "reported"
    HEALTH = "health"


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot's value: the payload as it came, and when (seconds since 1970, by the controller's clock)."""

    stream: str
    counter: int
    payload: bytes
    received: float


def read_slots(connection: Connection, devices: Iterable[str] | None = None) -> dict[tuple[str, str], Slot]:
    """The slots of these devices (None: of all), by device and channel."""
    query = sa.select(slots.c.device, slots.c.channel, slots.c.stream, slots.c.counter, slots.c.payload, slots.c.received)
    found: dict[tuple[str, str], Slot] = {}
    if devices is None:
        rows = connection.execute(query)
        return {(row[0], row[1]): Slot(*row[2:]) for row in rows}
    wanted = sorted(set(devices))
    # In parts, because a database bounds the number of parameters.
    for start in range(0, len(wanted), 500):
        rows = connection.execute(query.where(slots.c.device.in_(wanted[start : start + 500])))
        found.update({(row[0], row[1]): Slot(*row[2:]) for row in rows})
    return found


def write_slots(connection: Connection, values: Mapping[tuple[str, str], Slot]) -> None:
    """Replace these slots."""
    if not values:
        return
    keys = [{"d": device, "c": channel} for device, channel in values]
    connection.execute(sa.delete(slots).where(slots.c.device == sa.bindparam("d"), slots.c.channel == sa.bindparam("c")), keys)
    connection.execute(
        sa.insert(slots),
        [
            {
                "device": device,
                "channel": channel,
                "stream": slot.stream,
                "counter": slot.counter,
                "payload": slot.payload,
                "received": slot.received,
            }
            for (device, channel), slot in values.items()
        ],
    )
