import pytest

from edge_agent.updates.trust.pace import LONGEST_SECONDS_ASKED, MIN_BYTES_PER_SECOND, Pace, seconds_asked

NOON = "Wed, 25 Nov 2026 12:00:00 GMT"


def test_only_a_whole_window_is_judged() -> None:
    pace = Pace(10.0, now=100.0)
    assert not pace.is_too_slow(1, 109.9)
    assert pace.is_too_slow(1, 110.0)


def test_bytes_of_an_earlier_window_do_not_count() -> None:
    pace = Pace(10.0, now=0.0)
    assert not pace.is_too_slow(1_000_000, 10.0)
    assert pace.is_too_slow(int(MIN_BYTES_PER_SECOND * 10) - 1, 20.0)


def test_the_least_that_is_allowed_is_fast_enough() -> None:
    assert not Pace(10.0, now=0.0).is_too_slow(int(MIN_BYTES_PER_SECOND * 10), 10.0)


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, NOON, None),
        ("30", None, 30.0),
        (" 30 ", None, 30.0),
        ("Wed, 25 Nov 2026 12:02:00 GMT", NOON, 120.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", NOON, 0.0),
        ("Wed, 25 Nov 2099 11:00:00 GMT", NOON, LONGEST_SECONDS_ASKED),
        ("Wed, 25 Nov 2026 12:02:00 GMT", None, None),
        ("Wed, 25 Nov 2026 12:02:00 GMT", "now", None),
        ("9" * 50, None, LONGEST_SECONDS_ASKED),
        ("1.5", None, None),
        ("٣", None, None),
        ("", None, None),
    ],
)
def test_a_wait_is_read_as_seconds_or_as_a_time_by_the_servers_clock(
    value: str | None, date: str | None, seconds: float | None
) -> None:
    assert seconds_asked(value, date) == seconds
