"""Features of the last event's time, as points on a circle, so that the end of a period lies beside its beginning."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone

import numpy as np

from edge_agent.inference.worker.series import Column, FeatureError


def hour(time: float, offset_hours: float = 0.0) -> Column:
    """Time of day, from 00:00."""
    return _circle((time / 3600.0 + offset_hours) / 24.0)


def day_of_week(time: float, offset_hours: float = 0.0) -> Column:
    """Time of the week, from Monday 00:00."""
    # 1970-01-01 was a Thursday, three days after a Monday.
    return _circle(((time / 3600.0 + offset_hours) / 24.0 + 3.0) / 7.0)


def day_of_year(time: float, offset_hours: float = 0.0) -> Column:
    """Time of the year, from 1 January 00:00."""
    moment = _moment(time, offset_hours)
    start = moment.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    return _circle((moment - start).total_seconds() / 86400.0 / 365.25)


def month(time: float, offset_hours: float = 0.0) -> Column:
    """The month, from January; the same on all its days."""
    return _circle((_moment(time, offset_hours).month - 1) / 12.0)


def _circle(turn: float) -> Column:
    return np.array([math.sin(2 * math.pi * turn), math.cos(2 * math.pi * turn)])


def _moment(time: float, offset_hours: float) -> datetime:
    try:
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=time, hours=offset_hours)
    except OverflowError as error:
        raise FeatureError(f"{time} is not a time") from error


CALENDAR: Mapping[str, Callable[..., Column]] = {
    "hour": hour,
    "day_of_week": day_of_week,
    "day_of_year": day_of_year,
    "month": month,
}
