"""Whether a result is given out: rate limit, deadband and heartbeat. Pure, on event time."""

import msgspec

from edge_agent.pipeline.alarm import elapsed, has_passed
from edge_agent.settings import DecisionSettings


class Given(msgspec.Struct, array_like=True, frozen=True):
    """What a result said, as far as the next one is compared with it."""

    time: float | None
    """Event time, seconds since 1970."""
    value: float | None
    """The score or the reading."""
    label: str | None = None
    abstained: bool = False


def is_given(last: Given | None, now: Given, settings: DecisionSettings, *, news: bool) -> bool:
    """Whether a result is given out, after `last`, which was.

    `news`: the state has changed, or an alarm was raised, updated or cleared.
    """
    if news or last is None:
        return True
    if settings.min_interval is not None:
        passed = elapsed(last.time, now.time)
        if passed is not None and passed < settings.min_interval:
            return False
    if settings.deadband is None:
        return True
    if (now.label, now.abstained) != (last.label, last.abstained) or has_passed(settings.heartbeat, last.time, now.time):
        return True
    if now.value is None or last.value is None:
        return now.value is not last.value
    return abs(now.value - last.value) > settings.deadband
