"""How right a model was: the results with what is known of them, in groups by release, device, day or week."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from fleet_contract.feedback import Tally, Truth, wilson
from fleet_controller.feedback.giving import read_answer
from fleet_controller.store.tables import feedback, releases, results

_DAY: Final = 86_400


class By(StrEnum):
    """What accuracy is grouped by."""

    RELEASE = "release"
    DEVICE = "device"
    DAY = "day"
    WEEK = "week"


class Wanted(Struct, frozen=True, kw_only=True):
    """Which results."""

    model: str
    version: str | None = None
    device: str | None = None
    since: float | None = None
    """When they came, seconds since 1970."""
    by: By = By.RELEASE


def measure(connection: Connection, wanted: Wanted) -> dict[str, Any]:
    """The groups in order, and all of them together, as plain values."""
    versions = _versions(connection, wanted.model)
    chosen = None if wanted.version is None else [release for release, text in versions.items() if text == wanted.version]
    where = _where(wanted, chosen)
    known: dict[str, Tally] = defaultdict(Tally)
    total = Tally()
    for group, payload, truth in _labelled(connection, wanted, where):
        answer = read_answer(payload)
        if answer is not None and (answer.value is None) == (truth.value is None):
            known[group].add(answer, truth)
            total.add(answer, truth)
    of = _count_results(connection, wanted, where)
    groups = [
        {wanted.by.value: _key(wanted.by, group)}
        | ({"version": versions.get(int(group))} if wanted.by is By.RELEASE else {})
        | _figures(known[group], of[group])
        for group in sorted({*of, *known}, key=lambda group: (int(group), "") if wanted.by is By.RELEASE else (0, group))
    ]
    return {
        "model": wanted.model,
        "version": wanted.version,
        "device": wanted.device,
        "by": wanted.by.value,
        "groups": groups,
        "total": _figures(total, of.total()),
    }


def _figures(tally: Tally, of: int) -> dict[str, Any]:
    interval = wilson(tally.right, tally.labelled - tally.values)
    return {
        "results": of,
        "labelled": tally.labelled,
        "right": tally.right if tally.labelled > tally.values else None,
        "accuracy": _round(tally.accuracy),
        "interval": [_round(bound) for bound in interval] if interval is not None else None,
        "mean_error": _round(tally.mean_error),
        "confusion": tally.table(),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _versions(connection: Connection, model: str) -> dict[int, str]:
    query = sa.select(releases.c.release, releases.c.version).where(releases.c.model == model)
    return dict(connection.execute(query).all())


def _where(wanted: Wanted, chosen: list[int] | None) -> list[sa.ColumnElement[bool]]:
    where = [results.c.model == wanted.model]
    if wanted.device is not None:
        where.append(results.c.device == wanted.device)
    if wanted.since is not None:
        where.append(results.c.received >= wanted.since)
    if chosen is not None:
        where.append(results.c.release.in_(chosen))
    return where


def _labelled(
    connection: Connection, wanted: Wanted, where: list[sa.ColumnElement[bool]]
) -> Iterator[tuple[str, bytes, Truth]]:
    joined = feedback.join(results, (feedback.c.device == results.c.device) & (feedback.c.result_id == results.c.result_id))
    columns = (results.c.device, results.c.release, results.c.received, results.c.payload, feedback.c.label, feedback.c.value)
    query = sa.select(*columns).select_from(joined).where(feedback.c.replaced.is_(None), *where)
    for row in connection.execute(query):
        yield (
            _group(wanted.by, row.device, row.release, row.received),
            row.payload,
            Truth(result_id="", label=row.label, value=row.value),
        )


def _count_results(connection: Connection, wanted: Wanted, where: list[sa.ColumnElement[bool]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    if wanted.by in (By.RELEASE, By.DEVICE):
        column = results.c[wanted.by.value]
        rows = connection.execute(sa.select(column, sa.func.count()).where(*where).group_by(column))
        return Counter({str(value): count for value, count in rows})
    # Whole days, which SQLite and PostgreSQL cut off in different words; weeks are put together from them.
    day = results.c.received / _DAY
    whole = sa.cast(day, sa.Integer) if connection.dialect.name == "sqlite" else sa.cast(sa.func.floor(day), sa.Integer)
    for number, count in connection.execute(sa.select(whole, sa.func.count()).where(*where).group_by(whole)):
        counts[_group(wanted.by, "", 0, number * _DAY)] += count
    return counts


def _group(by: By, device: str, release: int | None, received: float) -> str:
    match by:
        case By.RELEASE:
            return str(release)
        case By.DEVICE:
            return device
    date = datetime.fromtimestamp(received, UTC).date()
    # a week is named by its Monday
    return str(date - timedelta(days=date.weekday()) if by is By.WEEK else date)


def _key(by: By, group: str) -> str | int:
    return int(group) if by is By.RELEASE else group
