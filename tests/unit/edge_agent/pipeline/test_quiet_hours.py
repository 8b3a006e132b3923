from datetime import datetime

import pytest

from edge_agent.pipeline.quiet_hours import is_quiet, parse_span


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_span_over_midnight_begins_with_its_first_minute_and_ends_before_its_last() -> None:
    spans = ("22:00-06:00",)
    times = ("21:59:59", "22:00:00", "00:00:00", "05:59:59", "06:00:00")
    assert [is_quiet(at(f"2026-03-01T{time}+00:00"), spans, "UTC") for time in times] == [False, True, True, True, False]


def test_several_spans_and_the_end_of_the_day() -> None:
    spans = ("12:00-13:00", "23:00-24:00")
    times = ("11:59", "12:30", "13:00", "23:59", "00:00")
    assert [is_quiet(at(f"2026-03-01T{time}:00Z"), spans, "UTC") for time in times] == [False, True, False, True, False]


def test_the_hours_are_those_of_the_zone_summer_time_included() -> None:
    winter, summer = at("2026-01-10T21:30:00Z"), at("2026-07-10T20:30:00Z")
    assert is_quiet(winter, ("22:00-06:00",), "Europe/Rome")
    assert is_quiet(summer, ("22:00-06:00",), "Europe/Rome")
    assert not is_quiet(summer, ("22:00-06:00",), "UTC")


@pytest.mark.parametrize("time", [None, 1e18, -1e18, float("nan")])
def test_a_time_that_no_calendar_has_is_not_quiet(time: float | None) -> None:
    assert not is_quiet(time, ("00:00-24:00",), "Europe/Rome")


@pytest.mark.parametrize(
    "text", ["", "22-06", "22:00", "24:00-06:00", "22:60-06:00", "06:00-06:00", "22:00-25:00", "2:00-6:00"]
)
def test_a_span_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"22:00-06:00|00:00-24:00"):
        parse_span(text)
