from typing import Any

import pytest

from edge_agent.pipeline.decision_rules import find_decision_problems
from edge_agent.settings import AlarmSettings, DebounceSettings, DecisionSettings, Severity, Statistic

MODEL: list[tuple[dict[str, Any], str]] = [
    ({"reading": "t"}, "reading"),
    ({"above": 1.0}, "above"),
    ({"below": 1.0}, "below"),
    ({"take": Statistic.MEAN}, "take"),
    ({"hysteresis": -0.1}, "hysteresis"),
    ({"debounce": DebounceSettings(n=0, of=3)}, "debounce.n"),
    ({"debounce": DebounceSettings(n=4, of=3)}, "debounce.n"),
    ({"debounce": DebounceSettings(n=2, of=4)}, "debounce.n"),
    ({"top_k": -1}, "top_k"),
    ({"deadband": -1.0}, "deadband"),
    ({"heartbeat": 60.0}, "heartbeat"),
    ({"deadband": 0.0, "heartbeat": 0.0}, "heartbeat"),
    ({"min_interval": 0.0}, "min_interval"),
    ({"quiet_hours": ("22:00-06:00",)}, "quiet_hours"),
    ({"quiet_hours": ("22-06",), "alarm": AlarmSettings()}, "quiet_hours"),
    ({"zone": "Mars"}, "zone"),
    ({"alarm": AlarmSettings(update_interval=0.0)}, "alarm.update_interval"),
    ({"alarm": AlarmSettings(escalate_after=0.0)}, "alarm.escalate_after"),
    ({"alarm": AlarmSettings(escalate_after=1.0, severity=Severity.CRITICAL)}, "alarm.escalate_to"),
    ({"alarm": AlarmSettings(text="{sensor}")}, "alarm.text"),
    ({"alarm": AlarmSettings(text="{score.real}")}, "alarm.text"),
    ({"alarm": AlarmSettings(text="{score:.2f}")}, "alarm.text"),
    ({"alarm": AlarmSettings(text="{score")}, "alarm.text"),
    ({"alarm": AlarmSettings(text="{}")}, "alarm.text"),
]
NO_MODEL: list[tuple[dict[str, Any], str]] = [
    ({"label": "frost"}, "label"),
    ({"threshold": 1.0}, "threshold"),
    ({"abstain_below": 1.0}, "abstain_below"),
    ({"labels": {"a": "b"}}, "labels"),
    ({"top_k": 1}, "top_k"),
    ({"above": 1.0}, "above"),
    ({"deadband": 1.0}, "deadband"),
    ({"reading": "t", "alarm": AlarmSettings()}, "alarm"),
    ({"reading": "t", "hysteresis": 1.0}, "hysteresis"),
    ({"reading": "t", "debounce": DebounceSettings(n=1, of=1)}, "debounce"),
    ({"reading": "t", "above": 1.0, "below": 1.0}, "below"),
]


@pytest.mark.parametrize(
    ("settings", "key", "has_model"), [(*item, True) for item in MODEL] + [(*item, False) for item in NO_MODEL], ids=str
)
def test_what_cannot_be_meant_is_named(settings: dict[str, Any], key: str, has_model: bool) -> None:
    assert [name for name, _ in find_decision_problems(DecisionSettings(**settings), has_model=has_model)] == [key]


def test_every_rule_together_is_no_problem() -> None:
    alarm = AlarmSettings(text="{{{source}}} {pipeline} {label} {score}", update_interval=1, escalate_after=1)
    rules: dict[str, Any] = {
        "hysteresis": 0.1,
        "debounce": DebounceSettings(n=2, of=3),
        "deadband": 0.0,
        "heartbeat": 1.0,
        "min_interval": 1.0,
        "alarm": alarm,
        "quiet_hours": ("22:00-06:00", "12:00-24:00"),
        "zone": "Europe/Rome",
    }
    scored = DecisionSettings(label="a", threshold=0.5, labels={"a": "b"}, top_k=2, abstain_below=0.1, **rules)
    assert list(find_decision_problems(scored, has_model=True)) == []
    read = DecisionSettings(reading="t", take=Statistic.MAX, above=5.0, below=1.0, **rules)
    assert list(find_decision_problems(read, has_model=False)) == []
