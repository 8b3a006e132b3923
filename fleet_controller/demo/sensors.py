"""What the demo's sensors publish: recorded measurements and reports, each with its own id and event time.

Pure generators of (topic, payload); they end when the recording does. The same arguments give the same events. A sensor's
name decides where in the recording it starts, so that no two sensors send the same series.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from fleet_controller.demo.recordings import flow_hours, reports, weather_days

Event = tuple[str, dict[str, Any]]
"""Topic, and the payload before it is written as JSON."""

EVENING: Final = time(18, 0, tzinfo=UTC)
LATEST_WEATHER_START: Final = 365
LATEST_FLOW_START: Final = 168
FIRST_REPORT: Final = datetime(2024, 6, 1, 8, 0, tzinfo=UTC)


def weather_station(site: str, *, seed: int = 0) -> Iterator[Event]:
    """`farm/{site}/weather`: one event for each day, from a day of the first year on.

    Every site reads the recorded temperatures plus an offset of its own, at most 1 Cel, as a hollow or a slope would.
    """
    chance = random.Random(f"weather {site} {seed}")
    start = chance.randrange(LATEST_WEATHER_START)
    offset = round(chance.uniform(-1.0, 1.0), 1)
    for record in weather_days()[start:]:
        payload = {
            "id": f"{site}-weather-{record.day.isoformat()}",
            "time": datetime.combine(record.day, EVENING).isoformat(),
            "temp_max": round(record.temp_max + offset, 1),
            "temp_min": round(record.temp_min + offset, 1),
            "wind": record.wind,
            "precipitation": record.precipitation,
        }
        yield f"farm/{site}/weather", payload


def water_meter(district: str, *, seed: int = 0) -> Iterator[Event]:
    """`city/{district}/flow`: one event for each recorded hour (l/s), from an hour of the first week on."""
    start = random.Random(f"flow {district} {seed}").randrange(LATEST_FLOW_START)
    for number, record in enumerate(flow_hours()[start:], start):
        payload = {"id": f"{district}-flow-{number:05d}", "time": record.time.isoformat(), "flow": record.flow}
        yield f"city/{district}/flow", payload


def citizen_reports(district: str, *, seed: int = 0) -> Iterator[Event]:
    """`city/{district}/reports`: every report of the data set once, in an order of the district's own, minutes apart."""
    chance = random.Random(f"reports {district} {seed}")
    at = FIRST_REPORT
    for number, report in enumerate(chance.sample(reports(), len(reports()))):
        at += timedelta(minutes=chance.randint(1, 90))
        yield (
            f"city/{district}/reports",
            {"id": f"{district}-report-{number:05d}", "time": at.isoformat(), "text": report.text},
        )


SENSORS: Final = {"weather": weather_station, "flow": water_meter, "reports": citizen_reports}
"""Kind (the last level of its topic) to generator."""


def sensor_events(kind: str, place: str, seed: int = 0) -> Iterator[Event]:
    """The events of a sensor of this kind at a site or in a district; raises KeyError for an unknown kind."""
    return SENSORS[kind](place, seed=seed)
