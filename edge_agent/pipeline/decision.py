"""From scores or a reading to an outcome, and to what the next window of the sensor is compared with. Pure, on event time.

The rules in their order: abstain, threshold with hysteresis, debounce, alarm (quiet hours, backlog), then whether the result is
given out (change, rate limit, deadband with heartbeat). docs/pipelines.md has them as a table.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from edge_agent.pipeline.alarm import Occasion, OpenAlarm, step
from edge_agent.pipeline.decision_giving import Given, is_given
from edge_agent.settings import DebounceSettings, DecisionSettings
from fleet_contract.manifest import Decision
from fleet_contract.messages import Alarm, AlarmState, LabelScore, Outcome

ON, OFF = "on", "off"
TURNS: Final = (AlarmState.RAISED, AlarmState.CLEARED)


class DecisionState(msgspec.Struct, array_like=True, frozen=True):
    """What a decision needs to know of the windows before, for one sensor. Stored with its newest finished window."""

    is_on: bool = False
    recent: tuple[bool, ...] = ()
    """With a debounce: what the last windows spoke for, newest last."""
    given: Given | None = None
    """With a deadband or a rate limit: the newest result that was given out."""
    alarm: OpenAlarm | None = None


NEW: Final = DecisionState()


class Decided(msgspec.Struct, frozen=True):
    """What becomes of one window."""

    outcome: Outcome
    given: bool = True
    """False: the result is not given out, only counted."""
    urgent: bool = False
    """It raises or clears an alarm."""


class _Said(msgspec.Struct, kw_only=True):
    """One window's answer, before what came before it is looked at."""

    value: float | None
    on: float | None
    """At or above it the window speaks for on; None: there is no state."""
    below: float | None = None
    """At or below it too."""
    hysteresis: float = 0.0
    label: str | None = None
    scores: dict[str, float] = {}
    top: tuple[LabelScore, ...] = ()
    abstained: bool = False
    values: dict[str, Any] = {}


def decide(
    scores: Sequence[float],
    labels: Sequence[str],
    settings: DecisionSettings,
    recommended: Decision,
    state: DecisionState,
    occasion: Occasion,
) -> tuple[Decided, DecisionState]:
    """The outcome of one scored window, and the state for the sensor's next one. Raises ValueError, IndexError.

    Args:
        scores: one for each label, or a single one where there are no labels.
        settings: the pipeline's own, where it has any; the rest is as `recommended` by the model's maker.
    """
    wanted = settings.label if settings.label is not None else recommended.label
    best = max(range(len(scores)), key=scores.__getitem__)
    position = labels.index(wanted) if wanted in labels else best if wanted is None and labels else 0
    score = scores[position]
    confidence = scores[best] if labels else max(score, 1.0 - score)
    abstained = settings.abstain_below is not None and confidence < settings.abstain_below
    own = settings.labels
    top: tuple[LabelScore, ...] = ()
    if settings.top_k and labels:
        order = sorted(range(len(scores)), key=lambda at: (-scores[at], at))[: settings.top_k]
        top = tuple(LabelScore(label=own.get(labels[at], labels[at]), score=scores[at]) for at in order)
    said = _Said(
        value=score,
        on=settings.threshold if settings.threshold is not None else recommended.threshold,
        hysteresis=settings.hysteresis if settings.hysteresis is not None else recommended.hysteresis,
        label=own.get(labels[best], labels[best]) if labels and not abstained else None,
        scores=dict(zip(labels, scores, strict=True)) if labels else {"score": score},
        top=top,
        abstained=abstained,
    )
    return _conclude(said, settings, state, occasion)


def decide_reading(
    value: float | None, values: dict[str, Any], settings: DecisionSettings, state: DecisionState, occasion: Occasion
) -> tuple[Decided, DecisionState]:
    """The outcome of a window without a model, and the state for the sensor's next one.

    `value` is what the window holds of the reading that is decided on; None: nothing that is a number, so nothing is decided.
    """
    said = _Said(
        value=value,
        on=settings.above,
        below=settings.below,
        hysteresis=settings.hysteresis or 0.0,
        abstained=settings.reading is not None and value is None,
        values=values,
    )
    return _conclude(said, settings, state, occasion)


def _conclude(
    said: _Said, settings: DecisionSettings, state: DecisionState, occasion: Occasion
) -> tuple[Decided, DecisionState]:
    is_on, recent, alarm = state.is_on, state.recent, state.alarm
    carried: Alarm | None = None
    news = False
    ruled = said.on is not None or said.below is not None
    if ruled and not said.abstained:
        assert said.value is not None
        was = recent[-1] if recent and settings.debounce is not None else is_on
        is_on, recent = _debounce(is_on, recent, _speaks_for_on(said, said.value, was), settings.debounce)
    if alarm is not None or settings.alarm is not None:
        wanted = None if said.abstained else is_on and ruled
        alarm, carried, news = step(alarm, wanted, settings, occasion, said.label, said.value)
    changed = is_on != state.is_on
    outcome = Outcome(
        label=said.label,
        score=said.value,
        scores=said.scores,
        top=said.top,
        abstained=said.abstained,
        state=(ON if is_on else OFF) if ruled else None,
        changed=changed,
        alarm=carried,
        values=said.values,
    )
    given, last = True, None
    if settings.deadband is not None or settings.min_interval is not None:
        now = Given(occasion.time, said.value, said.label, said.abstained)
        given = is_given(state.given, now, settings, news=changed or news)
        last = now if given else state.given
    urgent = carried is not None and carried.state in TURNS
    after = state
    if changed or recent is not state.recent or last is not state.given or alarm is not state.alarm:
        after = DecisionState(is_on, recent, last, alarm)
    return Decided(outcome, given, urgent), after


def _speaks_for_on(said: _Said, value: float, was: bool) -> bool:
    slack = said.hysteresis if was else 0.0
    return (said.on is not None and value >= said.on - slack) or (said.below is not None and value <= said.below + slack)


def _debounce(
    is_on: bool, recent: tuple[bool, ...], speaks: bool, settings: DebounceSettings | None
) -> tuple[bool, tuple[bool, ...]]:
    """The state after one more window, and what is remembered of the windows for the next."""
    if settings is None:
        return speaks, ()
    recent = (*recent, speaks)[-settings.of :]
    return (not is_on if recent.count(not is_on) >= settings.n else is_on), recent
