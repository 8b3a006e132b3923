import math
from datetime import UTC, datetime

import pytest

from edge_agent.inference.worker.calendar_features import CALENDAR
from edge_agent.inference.worker.series import FeatureError

MONDAY_SIX = datetime(2024, 1, 1, 6, tzinfo=UTC).timestamp()


def on_circle(turn: float) -> list[float]:
    return [math.sin(2 * math.pi * turn), math.cos(2 * math.pi * turn)]


@pytest.mark.parametrize(
    ("op", "time", "offset", "turn"),
    [
        ("hour", MONDAY_SIX, 0, 0.25),
        ("hour", MONDAY_SIX, -6, 0),
        ("day_of_week", MONDAY_SIX, 0, 0.25 / 7),
        ("day_of_week", datetime(2024, 1, 7, 12, tzinfo=UTC).timestamp(), 0, 6.5 / 7),
        ("day_of_year", MONDAY_SIX, 0, 0.25 / 365.25),
        ("day_of_year", datetime(2023, 12, 31, 23, tzinfo=UTC).timestamp(), 2, 1 / 24 / 365.25),
        ("month", MONDAY_SIX, 0, 0),
        ("month", MONDAY_SIX, -7, 11 / 12),
        ("month", datetime(2024, 7, 31, 23, 59, tzinfo=UTC).timestamp(), 0, 0.5),
        ("month", datetime(1969, 4, 1, tzinfo=UTC).timestamp(), 0, 0.25),
    ],
)
def test_times_lie_on_the_circle_of_their_period(op: str, time: float, offset: float, turn: float) -> None:
    assert CALENDAR[op](time, offset) == pytest.approx(on_circle(turn), abs=1e-6)
    if not offset:
        assert CALENDAR[op](time) == pytest.approx(on_circle(turn), abs=1e-6)


@pytest.mark.parametrize("op", ["day_of_year", "month"])
def test_a_time_outside_the_calendar_is_refused(op: str) -> None:
    with pytest.raises(FeatureError, match="is not a time"):
        CALENDAR[op](1e300)
