"""An alarm's life, window by window, through the decision that drives it."""

from datetime import datetime
from typing import Any

import pytest

from edge_agent.pipeline.alarm import Occasion, alarm_id
from edge_agent.pipeline.decision import NEW, Decided, DecisionState, decide
from edge_agent.settings import AlarmSettings, DecisionSettings
from fleet_contract.manifest import Decision
from fleet_contract.messages import Alarm, Severity

NIGHT = datetime.fromisoformat("2026-01-10T22:30:00+01:00").timestamp()
MORNING = datetime.fromisoformat("2026-01-11T06:00:00+01:00").timestamp()


def settings(alarm: dict[str, Any] | None = None, **more: Any) -> DecisionSettings:
    return DecisionSettings(threshold=0.5, alarm=AlarmSettings(**(alarm or {})), **more)


class Sensor:
    """One sensor's windows, whose result ids are r0, r1, …"""

    def __init__(self, settings: DecisionSettings) -> None:
        self.settings = settings
        self.state = NEW
        self.number = 0

    def window(self, score: float, time: float | None, *, backlog: bool = False) -> Decided:
        name = f"r{self.number}"
        text = None if time is None else f"at {time:g}"
        self.number += 1
        occasion = Occasion("frost", "north", time, text, lambda: name, backlog)
        decided, self.state = decide([score], (), self.settings, Decision(), self.state, occasion)
        return decided

    def alarms(self, *windows: tuple[float, float | None]) -> list[str | None]:
        return [None if (found := self.window(*item).outcome.alarm) is None else found.state.value for item in windows]


def test_an_alarm_is_raised_stays_and_is_cleared_under_one_id() -> None:
    sensor = Sensor(settings({"severity": Severity.CRITICAL, "text": "{pipeline} at {source}: {score}"}))
    seen = [sensor.window(score, time) for score, time in ((0.1, 1), (0.9, 2), (0.8, 3), (0.2, 4), (0.1, 5))]
    assert seen[0].outcome.alarm is None
    assert seen[1].outcome.alarm == Alarm(
        id=alarm_id("frost", "north", "r1"),
        state="raised",
        since="at 2",
        severity="critical",
        text="frost at north: 0.9",  # type: ignore[arg-type]
    )
    states = [(item.outcome.alarm.state.value, item.outcome.alarm.id) for item in seen[1:4] if item.outcome.alarm is not None]
    assert states == [(state, alarm_id("frost", "north", "r1")) for state in ("raised", "active", "cleared")]
    assert seen[4].outcome.alarm is None
    assert [item.urgent for item in seen] == [False, True, False, True, False]


def test_a_second_alarm_has_an_id_of_its_own() -> None:
    sensor = Sensor(settings())
    ids = [sensor.window(score, 1.0).outcome.alarm for score in (0.9, 0.1, 0.9)]
    assert ids[0] is not None
    assert ids[2] is not None
    assert ids[0].id != ids[2].id


def test_an_alarm_that_stays_on_is_told_again_after_the_interval_at_the_earliest() -> None:
    sensor = Sensor(settings({"update_interval": 10}, deadband=1.0))
    seen = [sensor.window(0.9, time) for time in (0, 9, 10, 15, 20)]
    assert [item.outcome.alarm.state.value for item in seen if item.outcome.alarm] == [
        "raised",
        "active",
        "updated",
        "active",
        "updated",
    ]
    assert [item.given for item in seen] == [True, False, True, False, True]


def test_without_an_interval_or_without_times_an_alarm_is_not_told_again() -> None:
    assert Sensor(settings()).alarms((0.9, 0), (0.9, 1e6)) == ["raised", "active"]
    assert Sensor(settings({"update_interval": 10})).alarms((0.9, None), (0.9, None)) == ["raised", "active"]


def test_an_alarm_escalates_once_after_its_time() -> None:
    sensor = Sensor(settings({"escalate_after": 60, "escalate_to": Severity.CRITICAL}))
    seen = [sensor.window(0.9, time).outcome.alarm for time in (0, 59, 60, 120)]
    assert [(item.severity.value, item.state.value) for item in seen if item is not None] == [
        ("warning", "raised"),
        ("warning", "active"),
        ("critical", "updated"),
        ("critical", "active"),
    ]


def test_a_backlog_raises_no_alarm_and_what_is_still_on_then_is_raised_live() -> None:
    sensor = Sensor(settings())
    over = [sensor.window(score, time, backlog=True) for score, time in ((0.9, 1), (0.9, 2), (0.1, 3), (0.9, 4))]
    assert [item.outcome.alarm for item in over] == [None] * 4
    assert [item.outcome.state for item in over] == ["on", "on", "off", "on"]
    live = sensor.window(0.9, 5).outcome.alarm
    assert live is not None
    assert (live.state, live.since) == ("raised", "at 5")


def test_a_backlog_clears_an_alarm_that_was_raised_before_the_outage() -> None:
    sensor = Sensor(settings({"update_interval": 1}))
    sensor.window(0.9, 1)
    alarm = sensor.window(0.9, 9, backlog=True).outcome.alarm
    assert alarm is not None
    assert alarm.state == "active"
    alarm = sensor.window(0.1, 10, backlog=True).outcome.alarm
    assert alarm is not None
    assert alarm.state == "cleared"


QUIET = {"quiet_hours": ("22:00-06:00",), "zone": "Europe/Rome"}


def test_quiet_hours_hold_an_alarm_until_the_first_window_after_them() -> None:
    sensor = Sensor(settings(**QUIET))
    assert sensor.alarms((0.9, NIGHT), (0.9, MORNING - 1), (0.9, MORNING)) == [None, None, "raised"]


def test_what_is_over_before_the_quiet_hours_end_is_never_raised() -> None:
    assert Sensor(settings(**QUIET)).alarms((0.9, NIGHT), (0.1, MORNING - 1), (0.1, MORNING)) == [None, None, None]


def test_clearing_passes_in_quiet_hours_and_updates_wait() -> None:
    sensor = Sensor(settings({"update_interval": 60}, **QUIET))
    before = NIGHT - 3600
    assert sensor.alarms((0.9, before), (0.9, NIGHT), (0.1, NIGHT + 60)) == ["raised", "active", "cleared"]


def test_without_a_time_no_hour_is_quiet() -> None:
    assert Sensor(settings(**QUIET)).alarms((0.9, None)) == ["raised"]


def test_a_window_that_abstains_leaves_the_alarm() -> None:
    sensor = Sensor(settings(abstain_below=0.7))
    assert sensor.alarms((0.9, 1), (0.6, 2), (0.2, 3)) == ["raised", "active", "cleared"]
    assert Sensor(settings(abstain_below=0.95)).alarms((0.9, 1)) == [None]


def test_an_alarm_that_is_configured_no_more_is_cleared() -> None:
    sensor = Sensor(settings())
    sensor.window(0.9, 1)
    sensor.settings = DecisionSettings(threshold=0.5)
    assert sensor.alarms((0.9, 2), (0.9, 3)) == ["cleared", None]


def test_an_alarm_passes_the_rate_limit_and_the_deadband() -> None:
    sensor = Sensor(settings({"escalate_after": 5}, min_interval=100, deadband=9.0))
    assert [sensor.window(0.9, time).given for time in (0, 1, 6, 7)] == [True, False, True, False]


@pytest.mark.parametrize("state", [NEW, DecisionState(is_on=True)])
def test_an_alarm_is_raised_by_the_state_and_not_by_its_change(state: DecisionState) -> None:
    sensor = Sensor(settings())
    sensor.state = state
    assert sensor.alarms((0.9, 1)) == ["raised"]
