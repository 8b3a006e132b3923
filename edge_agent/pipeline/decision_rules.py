"""What is wrong with a decision's settings beyond what types can say. Pure; for the check of the configuration."""

import string
from collections.abc import Iterator

from edge_agent.ingest.instant import zone
from edge_agent.pipeline.alarm import PLACEHOLDERS
from edge_agent.pipeline.quiet_hours import parse_span
from edge_agent.settings import AlarmSettings, DecisionSettings, Statistic

Problem = tuple[str, str]
"""A key of the decision, and what is wrong there."""


def find_decision_problems(settings: DecisionSettings, *, has_model: bool) -> Iterator[Problem]:
    """Each problem of one pipeline's decision."""
    yield from _find_misplaced(settings, has_model)
    if settings.hysteresis is not None and settings.hysteresis < 0:
        yield "hysteresis", "must not be negative"
    if settings.above is not None and settings.below is not None and not settings.below < settings.above:
        yield "below", "must be less than above: the state is on outside the two"
    if settings.debounce is not None:
        n, of = settings.debounce.n, settings.debounce.of
        if not 1 <= n <= of <= 1000:
            yield "debounce.n", "must be at least 1 and at most `of`, which is at most 1000"
        elif 2 * n <= of:
            yield "debounce.n", f"{n} of {of} windows can speak for both states; take more than half"
    if settings.top_k < 0:
        yield "top_k", "must not be negative"
    if settings.deadband is not None and settings.deadband < 0:
        yield "deadband", "must not be negative"
    if settings.heartbeat is not None and settings.deadband is None:
        yield "heartbeat", "only a deadband needs one"
    for name in ("heartbeat", "min_interval"):
        value = getattr(settings, name)
        if value is not None and value <= 0:
            yield name, "must be above 0"
    yield from _find_alarm_problems(settings)


def _find_misplaced(settings: DecisionSettings, has_model: bool) -> Iterator[Problem]:
    if has_model:
        if settings.reading is not None:
            yield "reading", "a pipeline with a model decides on its score"
        if settings.take is not Statistic.LAST:
            yield "take", "only a decision on a reading takes a value of the window"
        for name in ("above", "below"):
            if getattr(settings, name) is not None:
                yield name, "a pipeline with a model has a threshold"
        return
    for name, default in (("label", None), ("threshold", None), ("abstain_below", None), ("labels", {}), ("top_k", 0)):
        if getattr(settings, name) != default:
            hint = "; without one use reading with above or below" if name == "threshold" else ""
            yield name, f"needs a model{hint}"
    if settings.reading is None:
        for name in ("above", "below", "deadband"):
            if getattr(settings, name) is not None:
                yield name, "needs the reading that is decided on: give `reading`"
    if settings.above is None and settings.below is None:
        for name in ("hysteresis", "debounce", "alarm"):
            if getattr(settings, name) is not None:
                yield name, "needs above or below"


def _find_alarm_problems(settings: DecisionSettings) -> Iterator[Problem]:
    for text in settings.quiet_hours:
        try:
            parse_span(text)
        except ValueError as error:
            yield "quiet_hours", str(error)
    try:
        zone(settings.zone)
    except ValueError as error:
        yield "zone", str(error)
    alarm = settings.alarm
    if alarm is None:
        if settings.quiet_hours:
            yield "quiet_hours", "only an alarm has quiet hours; add alarm = true"
        return
    for name in ("update_interval", "escalate_after"):
        value = getattr(alarm, name)
        if value is not None and value <= 0:
            yield f"alarm.{name}", "must be above 0"
    if alarm.escalate_after is not None and alarm.escalate_to == alarm.severity:
        yield "alarm.escalate_to", f"is the severity that the alarm begins with: {alarm.severity}"
    yield from _find_text_problems(alarm)


def _find_text_problems(alarm: AlarmSettings) -> Iterator[Problem]:
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    try:
        parts = list(string.Formatter().parse(alarm.text or ""))
    except ValueError as error:
        yield "alarm.text", f"{error}; a brace that is meant is written twice"
        return
    for _, name, form, conversion in parts:
        if name is not None and (name not in PLACEHOLDERS or form or conversion):
            yield "alarm.text", f"{{{name}}} is not known; there are {known}"
