"""Drift over many devices: the counts of their health messages, as long as those are kept, beside the bundles' baselines."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from fleet_contract.baseline import Baseline
from fleet_contract.drift import Limits
from fleet_controller.drift.merging import FEWEST, Interval, Merged, find_drift
from fleet_controller.store.tables import health

MOST_MESSAGES: Final = 200_000
"""That are read for one answer, the newest first: two or three seconds."""
_PORTION: Final = 1000


class _Model(Struct):
    model: str
    release: int
    drift: Interval | None = None


class _Health(Struct):
    models: tuple[_Model, ...] = ()


_decoder = msgspec.json.Decoder(_Health)


def measure(
    connection: Connection,
    model: str,
    devices: Iterable[str],
    since: float,
    baselines: Callable[[int], Mapping[str, Baseline]],
    limits: Limits | None = None,
) -> dict[str, Any]:
    """The releases of a model, newest first, each with its sketches, as plain values.

    `since`: seconds since 1970; `baselines`: a release to its baselines by their fingerprints.
    """
    merged, complete = merge(connection, model, set(devices), since, baselines)
    groups = []
    for (release, bins), each in sorted(merged.items(), key=lambda item: (-item[0][0], item[0][1] or "")):
        groups.append(
            {
                "release": release,
                "baseline": bins,
                "devices": len(each.devices),
                "inputs": each.inputs,
                "judged": each.baseline is not None and each.inputs >= FEWEST,
                "sketches": msgspec.to_builtins(find_drift(each, limits or Limits())),
                "numbers": {name: list(counts) for name, counts in each.numbers.items()},
                "categories": {name: dict(words) for name, words in each.categories.items()},
            }
        )
    return {"model": model, "complete": complete, "groups": groups}


def merge(
    connection: Connection,
    model: str,
    devices: set[str],
    since: float,
    baselines: Callable[[int], Mapping[str, Baseline]],
) -> tuple[dict[tuple[int, str | None], Merged], bool]:
    """The counts by release and baseline, and whether all messages were read."""
    merged: dict[tuple[int, str | None], Merged] = {}
    query = sa.select(health.c.device, health.c.payload).where(health.c.received >= since).order_by(health.c.id.desc())
    read = 0
    for row in connection.execute(query.limit(MOST_MESSAGES).execution_options(yield_per=_PORTION)):
        read += 1
        if row.device not in devices:
            continue
        try:
            said = _decoder.decode(row.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # a device of a contract that this version cannot read
        for item in said.models:
            if item.model == model and item.drift is not None and (item.drift.numbers or item.drift.categories):
                key = item.release, item.drift.bins
                if key not in merged:
                    merged[key] = Merged(baselines(item.release).get(item.drift.bins or ""))
                merged[key].add(row.device, item.drift)
    return merged, read < MOST_MESSAGES
