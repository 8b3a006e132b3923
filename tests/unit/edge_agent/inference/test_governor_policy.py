from collections.abc import Mapping
from typing import Any

import pytest

from edge_agent.inference.budget import MemoryBudget
from edge_agent.inference.governor_policy import (
    BACK_MAX,
    BACK_MIN,
    HEAT_STEP,
    LOADING,
    MEMORY_STEP,
    SOON,
    Cause,
    GovernorPolicy,
    Limits,
    Look,
    Mode,
    Working,
)

MIB = 1024**2
RUN, SLOW, PAUSE, UNLOAD = Mode
INTERVAL = 5.0


class Board:
    """Models by name to their priority, and the looks at them; each takes 100 MiB while it is loaded."""

    def __init__(self, models: Mapping[str, int], limit: int | None = None, floor: int = 0, **heat: float | None) -> None:
        limits = Limits(heat.get("slow", 75.0), heat.get("pause", 82.0), MemoryBudget(limit and limit * MIB, floor * MIB))
        self.policy = GovernorPolicy(limits)
        self.priorities = dict(models)
        self.modes = dict.fromkeys(models, RUN)
        self.busy = dict.fromkeys(models, 0.0)
        self.takes = dict.fromkeys(models, 100)
        self.now = 0.0
        self.changes: list[tuple[str, Mode, Cause]] = []

    def look(self, celsius: float | None = 40.0, available: int | None = 1000, *, after: float = INTERVAL) -> list[Any]:
        self.now += after
        models = []
        for name, priority in self.priorities.items():
            memory = None if self.modes[name] is UNLOAD else self.takes[name] * MIB
            models.append(Working(name, priority, self.modes[name], memory, self.busy[name]))
        seen = Look(self.now, celsius, None if available is None else available * MIB, tuple(models))
        changes = self.policy.judge(seen)
        for change in changes:
            self.modes[change.name] = change.mode
        found = [(change.name, change.mode) for change in changes]
        self.changes += [(change.name, change.mode, change.cause) for change in changes]
        return found

    def looks(self, seconds: float, celsius: float | None = 40.0, available: int | None = 1000) -> list[Any]:
        found = []
        for _ in range(round(seconds / INTERVAL)):
            found += self.look(celsius, available)
        return found


@pytest.fixture
def board() -> Board:
    return Board({"high": 2, "middle": 1, "low": 0})


def test_a_cool_board_changes_nothing(board: Board) -> None:
    assert board.looks(3600, 75.0) == []


def test_above_the_first_bound_models_are_slowed_one_by_one_the_lowest_priority_first(board: Board) -> None:
    assert board.look(75.1) == [("low", SLOW)]
    assert board.look(75.1) == []
    assert board.look(75.1, after=HEAT_STEP) == [("middle", SLOW)]
    assert board.look(75.1, after=HEAT_STEP) == [("high", SLOW)]
    assert board.looks(600, 75.1) == []


def test_above_the_second_bound_they_are_paused_at_each_look(board: Board) -> None:
    assert board.looks(20, 82.1) == [("low", PAUSE), ("middle", PAUSE), ("high", PAUSE)]


def test_a_slowed_model_is_paused_before_one_of_higher_priority_is_touched(board: Board) -> None:
    board.look(76)
    assert board.look(83) == [("low", PAUSE)]


def test_they_come_back_in_the_opposite_order_a_step_at_a_time(board: Board) -> None:
    board.looks(15, 83)
    assert board.looks(600, 77.1) == [], "not cool enough"
    assert board.look(77.0, after=BACK_MIN) == [("high", SLOW)]
    assert board.look(77.0) == []
    assert board.look(77.0, after=HEAT_STEP) == [("middle", SLOW)]
    assert board.look(77.0, after=HEAT_STEP) == [("low", SLOW)]
    assert board.looks(600, 70.1) == []
    assert board.looks(60, 70.0) == [("high", RUN), ("middle", RUN), ("low", RUN)]


def test_among_equals_the_one_that_computes_most_is_slowed() -> None:
    board = Board({"a": 0, "b": 0, "c": 0})
    board.busy["b"] = 3.0
    assert board.look(80) == [("b", SLOW)]


def test_a_bound_that_is_none_is_not_looked_at() -> None:
    assert Board({"a": 0}, slow=None, pause=None).looks(60, 150) == []
    assert Board({"a": 0}, pause=None).looks(60, 150) == [("a", SLOW)]
    board = Board({"a": 0}, slow=None)
    assert board.looks(60, 81) == []
    assert board.look(83) == [("a", PAUSE)]
    assert board.looks(60, 77) == [("a", RUN)]


def test_a_sensor_that_falls_silent_does_not_stop_a_model_for_good(board: Board) -> None:
    board.look(83)
    assert board.looks(120, None) == [("low", SLOW), ("low", RUN)]


def test_who_loses_soon_what_was_given_back_waits_twice_as_long(board: Board) -> None:
    waits = []
    for _ in range(8):
        assert board.look(76, after=HEAT_STEP) == [("low", SLOW)]
        begun = board.now
        while board.modes["low"] is not RUN:
            board.look(60)
        waits.append(board.now - begun)
    assert waits == [30, 60, 120, 240, 480, BACK_MAX, BACK_MAX, BACK_MAX]
    board.look(60, after=SOON)
    board.look(76)
    assert board.look(60, after=BACK_MIN) == [("low", RUN)]


def test_a_temperature_that_swings_makes_few_changes(board: Board) -> None:
    for number in range(24 * 720):
        board.look(76 if number % 2 else 69)
    assert len(board.changes) < 24 * 3 * 3 * 4


def test_over_the_budget_the_lowest_priority_is_unloaded_and_the_next_only_when_that_was_not_enough() -> None:
    board = Board({"high": 2, "middle": 1, "low": 0}, limit=250)
    assert board.look() == [("low", UNLOAD)]
    assert board.looks(600) == []
    board.takes["high"] = 300
    assert board.look() == [("middle", UNLOAD)]
    assert board.look() == []
    assert board.look(after=MEMORY_STEP) == [("high", UNLOAD)]


def test_under_the_floor_models_are_unloaded_and_the_last_one_too() -> None:
    board = Board({"a": 0}, floor=64)
    assert board.look(available=63) == [("a", UNLOAD)]
    assert board.changes[0][2] is Cause.MEMORY


def test_a_model_is_loaded_again_when_there_is_room_for_what_it_took() -> None:
    board = Board({"high": 1, "low": 0}, floor=64)
    board.look(available=10)
    assert board.looks(60, available=179) == []
    assert board.look(available=180) == [("low", RUN)]


def test_one_is_loaded_at_a_time_and_the_highest_priority_first() -> None:
    board = Board({"high": 1, "low": 0}, floor=64)
    assert board.looks(15, available=10) == [("low", UNLOAD), ("high", UNLOAD)]
    assert board.look(available=900, after=BACK_MIN) == [("high", RUN)]
    assert board.look(available=900) == []
    assert board.look(available=900, after=LOADING) == [("low", RUN)]


def test_a_model_too_large_for_the_budget_stays_unloaded_until_it_has_another_release() -> None:
    board = Board({"a": 0}, limit=50)
    board.look()
    assert board.looks(7200) == []
    board.modes["a"], board.takes["a"] = RUN, 40
    assert board.looks(60) == []
    board.takes["a"] = 51
    assert board.look() == [("a", UNLOAD)]


def test_of_equals_the_largest_is_unloaded() -> None:
    board = Board({"a": 0, "b": 0, "c": 0}, limit=350)
    board.takes["b"] = 200
    assert board.look() == [("b", UNLOAD)]


def test_a_model_that_is_hot_too_stays_paused_when_there_is_memory_again() -> None:
    board = Board({"a": 0}, floor=64)
    assert board.look(83, 10) == [("a", PAUSE), ("a", UNLOAD)]
    board.looks(60, 83, 900)
    assert board.modes["a"] is PAUSE
    assert board.looks(60, 60, 900) == [("a", SLOW), ("a", RUN)]


def test_a_model_that_was_switched_while_it_was_unloaded_is_slowed_again_where_it_is_still_hot() -> None:
    board = Board({"a": 0}, floor=64)
    assert board.look(76, 10) == [("a", SLOW), ("a", UNLOAD)]
    board.modes["a"] = RUN
    assert board.look(76, 900, after=HEAT_STEP) == [("a", SLOW)]


def test_a_model_that_is_gone_is_forgotten(board: Board) -> None:
    board.look(83)
    del board.priorities["low"]
    board.look(60)
    board.priorities["low"], board.modes["low"] = 0, RUN
    assert board.looks(600, 60) == []


@pytest.mark.parametrize(
    ("slow", "pause", "limit", "floor", "idle"),
    [
        (None, None, None, 0, True),
        (75, None, None, 0, False),
        (None, 82, None, 0, False),
        (None, None, 1, 0, False),
        (None, None, None, 1, False),
    ],
)
def test_without_a_bound_nobody_needs_to_look(
    slow: float | None, pause: float | None, limit: int | None, floor: int, idle: bool
) -> None:
    assert GovernorPolicy(Limits(slow, pause, MemoryBudget(limit, floor))).is_idle is idle
