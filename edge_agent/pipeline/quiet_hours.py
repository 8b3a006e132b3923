"""Quiet hours: spans of the day, in a zone, looked up by event time. Pure."""

import re
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final

from edge_agent.ingest.instant import zone

_SPAN: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")
DAY_MINUTES: Final = 1440


def parse_span(text: str) -> tuple[int, int]:
    """First minute of the day and the first one after it; the second is the smaller one over midnight. Raises ValueError."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a span of the day such as 22:00-06:00")
    start = int(match[1]) * 60 + int(match[2])
    end = DAY_MINUTES if match[3] is None else int(match[3]) * 60 + int(match[4])
    if start == end:
        raise ValueError(f"{text!r} is empty; the whole day is 00:00-24:00")
    return start, end


@lru_cache(maxsize=256)
def _parse(spans: tuple[str, ...], name: str) -> tuple[tuple[tuple[int, int], ...], tzinfo]:
    return tuple(parse_span(text) for text in spans), zone(name)


def is_quiet(time: float | None, spans: tuple[str, ...], zone_name: str) -> bool:
    """Whether `time` (seconds since 1970) lies in a span. A time that is not known, or that no calendar has, does not."""
    if time is None or not spans:
        return False
    parsed, tz = _parse(spans, zone_name)
    try:
        local = datetime.fromtimestamp(time, tz)
    except (OverflowError, ValueError, OSError):
        return False
    minute = local.hour * 60 + local.minute
    return any(start <= minute < end if start < end else minute >= start or minute < end for start, end in parsed)
