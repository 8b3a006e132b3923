import pytest

from edge_agent.inference.budget import MemoryBudget

MIB = 1024**2


@pytest.mark.parametrize(
    ("used", "available", "found"),
    [
        (300, 64, None),
        (301, 1000, "workers take 301 MiB, memory_budget is 300 MiB"),
        (100, 63, "63 MiB of memory are available, memory_floor is 64 MiB"),
        (100, None, None),
    ],
)
def test_a_shortage_says_which_bound_is_passed(used: int, available: int | None, found: str | None) -> None:
    budget = MemoryBudget(300 * MIB, 64 * MIB)
    assert budget.find_shortage(used * MIB, None if available is None else available * MIB) == found


def test_without_bounds_there_is_no_shortage() -> None:
    assert MemoryBudget(None, 0).find_shortage(10**12, 0) is None


@pytest.mark.parametrize(
    ("used", "available", "more", "room"),
    [(200, 1000, 100, True), (200, 1000, 101, False), (0, 179, 100, False), (0, 180, 100, True), (0, None, 100, True)],
)
def test_there_is_room_within_the_budget_and_above_the_floor(used: int, available: int | None, more: int, room: bool) -> None:
    budget = MemoryBudget(300 * MIB, 64 * MIB)
    assert budget.has_room(used * MIB, None if available is None else available * MIB, more * MIB) is room


def test_without_bounds_there_is_always_room() -> None:
    assert MemoryBudget(None, 0).has_room(10**12, 0, 10**12)
