"""Reads what the demo is judged by: the controller's database, and the sensors' own logs of what they sent."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the results table."""

    device: str
    pipeline: str
    result_id: str
    window: str
    """Sensor and events, from the stored payload: what one answer is about."""
    last_event: str | None
    """Id of the newest event in the window."""
    model: str | None
    version: str | None
    release: int | None
    received: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class HealthRow:
    """One health message as it came."""

    device: str
    received: float
    payload: dict[str, Any]


class ResultsDatabase:
    """The controller's database, read from outside while it runs."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def count_results(self) -> int:
        """Rows in the results table."""
        return self._count("SELECT COUNT(*) FROM results")

    def count_pipelines(self) -> int:
        """Pipelines of devices that have results."""
        return self._count("SELECT COUNT(*) FROM (SELECT DISTINCT device, pipeline FROM results) AS found")

    def results(self) -> list[Row]:
        """All results, in the order of their arrival."""
        with self._engine.connect() as connection:
            found = connection.execute(
                text("SELECT device, pipeline, result_id, payload, model, release, received FROM results ORDER BY id")
            )
            return [_row(*row) for row in found]

    def health(self) -> list[HealthRow]:
        """Every health message, in the order of arrival."""
        with self._engine.connect() as connection:
            found = connection.execute(text("SELECT device, received, payload FROM health ORDER BY id"))
            return [HealthRow(row[0], row[1], json.loads(row[2])) for row in found]

    def refusals(self) -> set[tuple[str, str, int, str]]:
        """Device, model, release and reason of each note in which a device told of a rejected release."""
        return self._notes("rejected")

    def taken_back(self) -> set[tuple[str, str, int, str]]:
        """The same of each release that a device has taken back after it had answered."""
        return self._notes("rolled_back")

    def _notes(self, state: str) -> set[tuple[str, str, int, str]]:
        query = text("SELECT device, model, release, reason FROM notes WHERE state = :state")
        with self._engine.connect() as connection:
            return {(row[0], row[1], row[2], row[3]) for row in connection.execute(query, {"state": state})}

    def _count(self, query: str) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(text(query)).scalar_one())


def read_sent(logs: Iterable[Path]) -> dict[str, float]:
    """Event id to when its sensor sent it (seconds since 1970)."""
    sent = {}
    for log in logs:
        for line in log.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            sent[event["payload"]["id"]] = event["sent"]
    return sent


def _row(
    device: str, pipeline: str, result_id: str, payload: bytes, model: str | None, release: int | None, received: float
) -> Row:
    result = json.loads(payload)
    events = result["events"]
    return Row(
        device=device,
        pipeline=pipeline,
        result_id=result_id,
        window=json.dumps([result["source"], result["window"], events], sort_keys=True),
        last_event=events["ids"][-1] if events.get("ids") else events.get("last"),
        model=model,
        version=(result.get("model") or {}).get("version"),
        release=release,
        received=received,
    )
