"""What holds back what."""

from datetime import UTC, datetime
from typing import Any

import pytest

from edge_agent.update_settings import MaintenanceWindow, UpdateSettings
from edge_agent.updates.conditions import Held, Question, Surroundings, ends_fetching, holds_fetching, holds_trying
from edge_agent.updates.ledger import DataUse, Hold, Ledger, UpdateRecord
from fleet_contract.reasons import Reason

NIGHT = (MaintenanceWindow(cron="0 2 * * *", duration=3600.0),)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
TWO = datetime(2026, 11, 26, 2, tzinfo=UTC).timestamp()
MONTH_END = datetime(2026, 12, 1, tzinfo=UTC).timestamp()


def question(
    ledger: Ledger | None, around: Surroundings | None, needed: int = 0, urgent: bool = False, **settings: Any
) -> Question:
    now = settings.pop("now", NOON)
    return Question(
        settings=UpdateSettings(**settings),
        ledger=ledger or Ledger(),
        record=UpdateRecord(model="frost", release=2, since="", needed_bytes=needed),
        now=now,
        last_time=0.0,
        urgent=urgent,
        around=around or Surroundings(),
    )


def ask(
    ledger: Ledger | None = None, around: Surroundings | None = None, *, needed: int = 0, urgent: bool = False, **settings: Any
) -> tuple[Held | None, Held | None]:
    asked = question(ledger, around, needed, urgent, **settings)
    return holds_fetching(asked), holds_trying(asked)


def reasons(*args: Any, **settings: Any) -> tuple[str | None, str | None]:
    fetching, trying = ask(*args, **settings)
    return fetching and fetching.reason, trying and trying.reason


def test_nothing_is_held_back_where_nothing_is_asked() -> None:
    assert ask(around=Surroundings(battery_percent=1, celsius=99, interface="wwan0")) == (None, None)


def test_a_closed_window_holds_both_until_it_opens() -> None:
    fetching, trying = ask(windows=NIGHT)
    assert fetching == trying
    assert fetching is not None
    assert (fetching.reason, fetching.until) == (Reason.OUTSIDE_WINDOW, TWO)
    assert "2026-11-26T02:00:00Z" in fetching.detail
    assert reasons(windows=NIGHT, now=TWO) == (None, None)


def test_downloads_may_go_early() -> None:
    assert reasons(windows=NIGHT, fetch_outside_window=True) == (None, Reason.OUTSIDE_WINDOW)


def test_what_is_urgent_does_not_wait_for_a_window_but_for_all_else() -> None:
    assert reasons(windows=NIGHT, urgent=True) == (None, None)
    assert reasons(Ledger(holds={"*": Hold(since="t")}), windows=NIGHT, urgent=True) == (Reason.HELD, Reason.HELD)


@pytest.mark.parametrize("now", [0.0, 1_700_000_000.0])
def test_windows_are_not_told_by_a_clock_that_is_not_believed(now: float) -> None:
    assert reasons(windows=NIGHT, now=now) == (Reason.CLOCK_BEHIND, Reason.CLOCK_BEHIND)
    assert reasons(now=now) == (None, None)


def test_an_empty_battery_holds_both_unless_it_is_charging_or_unknown() -> None:
    assert reasons(around=Surroundings(battery_percent=29), min_battery=30) == (Reason.BATTERY_LOW, Reason.BATTERY_LOW)
    assert reasons(around=Surroundings(battery_percent=30), min_battery=30) == (None, None)
    assert reasons(around=Surroundings(battery_percent=5, charging=True), min_battery=30) == (None, None)
    assert reasons(min_battery=30) == (None, None)


def test_a_warm_board_holds_back_trying_alone() -> None:
    assert reasons(around=Surroundings(celsius=70.1), max_temperature=70) == (None, Reason.TOO_WARM)
    assert reasons(around=Surroundings(celsius=70.0), max_temperature=70) == (None, None)


def test_a_metered_link_holds_back_fetching_alone() -> None:
    patterns = ("wwan*", "ppp0")
    assert reasons(around=Surroundings(interface="wwan0"), metered_interfaces=patterns) == (Reason.METERED_LINK, None)
    assert reasons(around=Surroundings(interface="eth0"), metered_interfaces=patterns) == (None, None)


def test_a_spent_budget_holds_back_fetching_until_the_month_is_over() -> None:
    ledger = Ledger(data=DataUse(month="2026-11", received=100))
    fetching, trying = ask(ledger, data_budget=100)
    assert trying is None
    assert fetching is not None
    assert (fetching.reason, fetching.until) == (Reason.DATA_BUDGET, MONTH_END)
    assert reasons(ledger, data_budget=101) == (None, None)
    assert reasons(ledger, data_budget=150, needed=51) == (Reason.DATA_BUDGET, None)


def test_an_operators_hold_comes_first_and_says_why() -> None:
    ledger = Ledger(holds={"frost": Hold(since="2026-11-25T11:00:00Z", why="harvest")})
    fetching, _ = ask(ledger, windows=NIGHT)
    assert fetching == Held(Reason.HELD, "an operator holds updates of frost since 2026-11-25T11:00:00Z: harvest")
    assert reasons(Ledger(holds={"leak": Hold(since="t")})) == (None, None)


def test_a_running_download_is_ended_by_what_may_change_meanwhile_but_not_by_a_window() -> None:
    ledger = Ledger(data=DataUse(month="2026-11", received=100))
    assert ends_fetching(question(ledger, None, windows=NIGHT, data_budget=100)) is None
    around = Surroundings(interface="wwan0", battery_percent=10)
    for settings, reason in (
        ({"metered_interfaces": ("wwan*",)}, Reason.METERED_LINK),
        ({"min_battery": 20}, Reason.BATTERY_LOW),
    ):
        held = ends_fetching(question(None, around, **settings))
        assert held is not None
        assert held.reason is reason
