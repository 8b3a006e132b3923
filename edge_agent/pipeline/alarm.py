"""An alarm's life for one sensor: raised, told again, cleared. Pure, on event time.

It follows the state, not its changes: an alarm that could not be raised when the state went on (quiet hours, a backlog) is
raised at the first window that allows it, if the state is still on.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from edge_agent.pipeline.quiet_hours import is_quiet
from edge_agent.settings import AlarmSettings, DecisionSettings
from fleet_contract.messages import Alarm, AlarmState, Severity

ID_BYTES: Final = 16
PLACEHOLDERS: Final = ("source", "pipeline", "label", "score")

_encode = msgspec.json.Encoder().encode


class OpenAlarm(msgspec.Struct, array_like=True, frozen=True):
    """An alarm that is on, as it is stored with the sensor's state."""

    id: str
    since: str | None
    raised: float | None
    """Event time, seconds since 1970, like `told`."""
    told: float | None
    """When it was raised or last updated."""
    severity: Severity


class Occasion(NamedTuple):
    """The window that is decided on, as far as decisions look at it."""

    pipeline: str
    source: str
    time: float | None
    """Event time of its last event, seconds since 1970."""
    time_text: str | None
    result_id: Callable[[], str]
    backlog: bool = False
    """It comes from an outage that is over: nobody is to be alarmed by it."""


class Step(NamedTuple):
    """What one window does to an alarm."""

    open: OpenAlarm | None
    alarm: Alarm | None
    """What the window's result carries."""
    news: bool
    """Whether the result has to be given out for it."""


NOTHING: Final = Step(None, None, False)


def alarm_id(pipeline: str, source: str, result_id: str) -> str:
    """32 hexadecimal digits: BLAKE2b-128 of the compact JSON array `["alarm", pipeline, source, result id]`."""
    return blake2b(_encode(("alarm", pipeline, source, result_id)), digest_size=ID_BYTES).hexdigest()


def elapsed(since: float | None, now: float | None) -> float | None:
    """Seconds of event time between two windows, either way.

    A sensor's clock that was once years ahead must not silence it until then.
    """
    return None if since is None or now is None else abs(now - since)


def has_passed(interval: float | None, since: float | None, now: float | None) -> bool:
    """Whether an interval is over. Without times it never is."""
    passed = elapsed(since, now)
    return interval is not None and passed is not None and passed >= interval


def step(
    current: OpenAlarm | None,
    is_on: bool | None,
    settings: DecisionSettings,
    occasion: Occasion,
    label: str | None,
    score: float | None,
) -> Step:
    """The next step of an alarm's life. `is_on` None: the window says nothing about the state, so nothing changes."""
    alarm = settings.alarm
    text = None if alarm is None else _text(alarm, occasion, label, score)
    if is_on is None:
        return NOTHING if current is None else Step(current, _message(current, AlarmState.ACTIVE, text), False)
    if not is_on or alarm is None:
        return NOTHING if current is None else Step(None, _message(current, AlarmState.CLEARED, text), True)
    silent = occasion.backlog or is_quiet(occasion.time, settings.quiet_hours, settings.zone)
    if current is None:
        if silent:
            return NOTHING
        made = alarm_id(occasion.pipeline, occasion.source, occasion.result_id())
        raised = OpenAlarm(made, occasion.time_text, occasion.time, occasion.time, alarm.severity)
        return Step(raised, _message(raised, AlarmState.RAISED, text), True)
    if not silent:
        severity = alarm.escalate_to if has_passed(alarm.escalate_after, current.raised, occasion.time) else alarm.severity
        if severity != current.severity or has_passed(alarm.update_interval, current.told, occasion.time):
            told = OpenAlarm(current.id, current.since, current.raised, occasion.time, severity)
            return Step(told, _message(told, AlarmState.UPDATED, text), True)
    return Step(current, _message(current, AlarmState.ACTIVE, text), False)


def _message(alarm: OpenAlarm, state: AlarmState, text: str | None) -> Alarm:
    return Alarm(id=alarm.id, state=state, since=alarm.since, severity=alarm.severity, text=text)


def _text(settings: AlarmSettings, occasion: Occasion, label: str | None, score: float | None) -> str | None:
    text = settings.text
    if text is None or "{" not in text:
        return text
    filled = {
        "source": occasion.source,
        "pipeline": occasion.pipeline,
        "label": label or "",
        "score": "" if score is None else f"{score:.6g}",
    }
    return text.format_map(filled)
