"""How slow a server may be, and how long it may ask to wait. Pure: times and header texts in, a verdict out."""

from email.utils import parsedate_to_datetime
from typing import Final

MIN_BYTES_PER_SECOND: Final = 512.0
"""Half a 2G link's worst. Below it the attempt's end is only put off, while other models' updates wait."""
LONGEST_SECONDS_ASKED: Final = 86_400.0


class Pace:
    """Watches one body: each window of `seconds` must bring its share of bytes, however they drip in."""

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._start = now
        self._bytes = 0

    def is_too_slow(self, count: int, now: float) -> bool:
        """Take in that `count` bytes came until `now` (both clocks in monotonic seconds)."""
        self._bytes += count
        if now - self._start < self._seconds:
            return False
        slow = self._bytes < MIN_BYTES_PER_SECOND * (now - self._start)
        self._start, self._bytes = now, 0
        return slow


def seconds_asked(retry_after: str | None, date: str | None) -> float | None:
    """What a Retry-After header asks for (RFC 9110, 10.2.3), at most a day; None if it is missing or makes no sense.

    A point in time is held against the answer's own `date`: the clock of a device may be years off.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_SECONDS_ASKED)
    try:
        asked = (parsedate_to_datetime(text) - parsedate_to_datetime(date or "")).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(asked, 0.0), LONGEST_SECONDS_ASKED)
