"""Maintenance windows against the calendar, with its hours that are left out and hours that come twice."""

from datetime import datetime

import pytest

from edge_agent.update_settings import MaintenanceWindow
from edge_agent.updates.windows import Opening, find_opening, next_start

ROME = "Europe/Rome"


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("now", "is_open", "changes"),
    [
        ("2026-11-25T01:59:59+01:00", False, "2026-11-25T02:00:00+01:00"),
        ("2026-11-25T02:00:00+01:00", True, "2026-11-25T05:00:00+01:00"),
        ("2026-11-25T04:59:59+01:00", True, "2026-11-25T05:00:00+01:00"),
        ("2026-11-25T05:00:00+01:00", False, "2026-11-26T02:00:00+01:00"),
        ("2026-11-28T03:00:00+01:00", False, "2026-11-30T02:00:00+01:00"),  # a Saturday
        ("2026-07-01T02:30:00+02:00", True, "2026-07-01T05:00:00+02:00"),
    ],
)
def test_a_window_is_open_from_its_time_on_for_its_duration_in_its_zone(now: str, is_open: bool, changes: str) -> None:
    window = MaintenanceWindow(cron="0 2 * * 1-5", duration=3 * 3600.0, zone=ROME)
    assert find_opening([window], at(now)) == Opening(is_open, at(changes))


def test_a_window_over_midnight_is_still_open_the_day_after() -> None:
    window = MaintenanceWindow(cron="0 23 * * 6", duration=4 * 3600.0)
    assert find_opening([window], at("2026-11-29T02:00:00Z")).is_open


def test_several_windows_are_open_when_one_is_and_the_nearest_counts() -> None:
    night = MaintenanceWindow(cron="0 2 * * *", duration=3600.0)
    noon = MaintenanceWindow(cron="0 12 * * *", duration=3600.0)
    assert find_opening([night, noon], at("2026-11-25T12:30:00Z")) == Opening(True, at("2026-11-25T13:00:00Z"))
    assert find_opening([night, noon], at("2026-11-25T03:30:00Z")) == Opening(False, at("2026-11-25T12:00:00Z"))


def test_an_opening_in_the_hour_that_summer_time_leaves_out_comes_after_it() -> None:
    window = MaintenanceWindow(cron="30 2 * * *", duration=3600.0, zone=ROME)
    assert next_start(window, at("2026-03-29T00:00:00+01:00")) == at("2026-03-29T03:00:00+02:00")
    assert find_opening([window], at("2026-03-29T03:15:00+02:00")).is_open


def test_an_expression_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Bad day-of-month"):
        next_start(MaintenanceWindow(cron="0 0 30 2 *", duration=1.0), 0.0)
