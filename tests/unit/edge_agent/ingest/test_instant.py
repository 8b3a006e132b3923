from datetime import UTC
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest.instant import format_micros, read_time, seconds, zone


@pytest.mark.parametrize(
    ("value", "text", "naive"),
    [
        ("2024-01-01T00:00:00.123456789Z", "2024-01-01T00:00:00.123456789Z", False),
        ("2024-01-01t00:00:00z", "2024-01-01T00:00:00Z", False),
        ("2024-01-01 00:00:00+0330", "2024-01-01T00:00:00+03:30", False),
        ("2024-01-01T00:00:00,5-05", "2024-01-01T00:00:00.5-05:00", False),
        ("2024-01-01T07:30", "2024-01-01T07:30:00Z", True),
        ("2024-01-01", "2024-01-01T00:00:00Z", True),
        (1700000000, "2023-11-14T22:13:20Z", False),
        (1700000000123, "2023-11-14T22:13:20.123Z", False),
        (Decimal("1700000000.500"), "2023-11-14T22:13:20.5Z", False),
        (99_999_999_999, "5138-11-16T09:46:39Z", False),
        (100_000_000_000, "1973-03-03T09:46:40Z", False),
        (-1, "1969-12-31T23:59:59Z", False),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z", False),
    ],
)
def test_times_are_read_with_all_their_digits(value: object, text: str, naive: bool) -> None:
    assert read_time(value, UTC) == (text, naive)


@pytest.mark.parametrize(
    "value",
    ["", "now", "2024-02-30T00:00:00Z", "2024-01-01T25:00:00Z", "2024-01-01T00:00:00+99:00", "٢٠٢٤-01-01", True, None],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"time|zone|hour|day"):
        read_time(value, UTC)


def test_a_zones_offset_is_that_of_the_day() -> None:
    rome = zone("Europe/Rome")
    assert read_time("2024-01-01T12:00:00", rome)[0] == "2024-01-01T12:00:00+01:00"
    assert read_time("2024-07-01T12:00:00", rome)[0] == "2024-07-01T12:00:00+02:00"


def test_a_leap_second_counts_as_the_next() -> None:
    assert seconds("2016-12-31T23:59:60Z") == seconds("2017-01-01T00:00:00Z")


@given(st.integers(min_value=-62_135_596_800_000_000, max_value=253_402_300_799_999_999))
def test_microseconds_come_back_from_their_text(micros: int) -> None:
    text = format_micros(micros)
    assert text is not None
    assert abs(seconds(text) * 1e6 - micros) <= abs(micros) * 1e-15 + 1


def test_microseconds_outside_the_calendar_have_no_text() -> None:
    assert format_micros(10**18) is None


@given(st.text() | st.integers() | st.floats() | st.decimals())
def test_any_value_gives_a_time_or_a_value_error(value: object) -> None:
    try:
        text, _ = read_time(value, UTC)
    except ValueError:
        return
    seconds(text)


def test_a_time_of_endless_digits_is_refused() -> None:
    whole = "2024-05-01T10:00:00."
    assert read_time(f"{whole}{'1' * 40}+02:00", UTC) == (f"{whole}{'1' * 40}+02:00", False)
    with pytest.raises(ValueError, match="longer than a time"):
        read_time(f"{whole}{'1' * 100}Z", UTC)
