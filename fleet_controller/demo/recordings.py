"""The recorded data that ships with the demo, typed. Where it comes from and its licences: NOTICE."""

import csv
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class WeatherDay:
    """One day of weather in Seattle."""

    day: date
    precipitation: float
    """mm"""
    temp_max: float
    """Cel"""
    temp_min: float
    """Cel"""
    wind: float
    """m/s, the day's mean"""


@dataclass(frozen=True, slots=True)
class FlowHour:
    """One hour of flow through a branch of a water main."""

    time: datetime
    """With its zone, as recorded. Hours are missing in twelve places."""
    flow: float
    """l/s"""


@dataclass(frozen=True, slots=True)
class Report:
    """One short report by a farmer or a citizen."""

    text: str
    label: str
    language: str
    """`en` or `fa`"""
    family: str
    """Sentences of one family say the same in near the same words; training and held-out data share no family."""


@cache
def weather_days() -> tuple[WeatherDay, ...]:
    """1,461 days, 2012-01-01 to 2015-12-31, none missing."""
    return tuple(
        WeatherDay(
            datetime.strptime(row["date"], "%Y/%m/%d").replace(tzinfo=UTC).date(),
            float(row["precipitation"]),
            float(row["temp_max"]),
            float(row["temp_min"]),
            float(row["wind"]),
        )
        for row in csv.DictReader(_read("seattle-weather.csv").splitlines())
    )


@cache
def flow_hours() -> tuple[FlowHour, ...]:
    """1,268 hours, 2022-03-20 to 2022-05-16."""
    return tuple(
        FlowHour(datetime.fromisoformat(row["Time"]), float(row["Water flow [l/s]"]))
        for row in csv.DictReader(_read("water-flow.csv").splitlines())
    )


@cache
def reports() -> tuple[Report, ...]:
    """Every report, grouped by language, label and family."""
    rows = (json.loads(line) for line in _read("reports.jsonl").splitlines())
    return tuple(Report(row["text"], row["label"], row["language"], row["family"]) for row in rows)


def _read(name: str) -> str:
    return (files("fleet_controller.demo") / "data" / name).read_text(encoding="utf-8")
