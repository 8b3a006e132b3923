"""Alarms: one row for each, made of the results that carry it, which may come late, twice and in any order."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict, replace
from sqlalchemy import Connection

from fleet_controller.store.tables import alarms

CLEARED: Final = "cleared"


class AlarmRow(Struct, frozen=True, kw_only=True):
    """A row of the table."""

    device: str
    alarm_id: str
    pipeline: str
    source: str
    state: str
    severity: str
    text: str | None
    since: str | None
    time: str | None
    first_received: float
    received: float


def merge(known: AlarmRow, come: AlarmRow) -> AlarmRow:
    """What is known of an alarm after one more result with it. Once cleared it stays so: what is older may come later."""
    if known.state == CLEARED or (come.state != CLEARED and _is_older(come.time, known.time)):
        return replace(known, received=come.received)
    return replace(come, first_received=known.first_received)


def write_alarms(connection: Connection, come: Iterable[AlarmRow]) -> None:
    """Merge what has come into the table."""
    for row in come:
        where = (alarms.c.device == row.device) & (alarms.c.alarm_id == row.alarm_id)
        found = connection.execute(sa.select(alarms).where(where)).mappings().one_or_none()
        if found is None:
            connection.execute(sa.insert(alarms).values(asdict(row)))
        else:
            connection.execute(sa.update(alarms).where(where).values(asdict(merge(AlarmRow(**found), row))))


def list_alarms(connection: Connection, device: str | None, *, cleared: bool, limit: int) -> list[AlarmRow]:
    """The newest alarms, newest first: those that are on, and if asked for those that are `cleared` too."""
    query = sa.select(alarms).order_by(alarms.c.first_received.desc(), alarms.c.alarm_id).limit(limit)
    if device is not None:
        query = query.where(alarms.c.device == device)
    if not cleared:
        query = query.where(alarms.c.state != CLEARED)
    return [AlarmRow(**row) for row in connection.execute(query).mappings()]


def _is_older(time: str | None, than: str | None) -> bool:
    """By event time; False where it cannot be told, so that the later arrival counts."""
    if time is None or than is None:
        return False
    try:
        return datetime.fromisoformat(time) < datetime.fromisoformat(than)
    except (ValueError, TypeError):
        return False
