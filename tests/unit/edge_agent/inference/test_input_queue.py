import random
from collections.abc import Sequence
from typing import Any

import pytest

from edge_agent.inference.answers import ModelInput
from edge_agent.inference.input_queue import COMPACT, InputQueue, Lane, Pending
from edge_agent.settings import QueuePolicy, QueueSettings

ITEM = ModelInput()


def oldest(bound: int) -> Lane:
    return Lane(QueueSettings(policy=QueuePolicy.DROP_OLDEST, max_windows=bound))


def sample(bound: int, one_in: int) -> Lane:
    return Lane(QueueSettings(policy=QueuePolicy.SAMPLE, max_windows=bound, one_in=one_in))


class World:
    """A queue, what was told (number of the input, whether it was answered), and a worker that answers when told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []
        self.queue = InputQueue(self.drop)
        self.number = 0

    def drop(self, entries: Sequence[Pending]) -> None:
        for entry in entries:
            entry.done(False)  # type: ignore[arg-type]

    def put(self, lane: Lane | None = None, sensor: str = "") -> int:
        number = self.number
        self.number += 1
        self.queue.put(Pending(ITEM, lambda answered: self.told.append((number, bool(answered))), 0.0, lane), sensor)
        return number

    def answer(self, taken: list[Pending]) -> None:
        owed = self.queue.owed(taken)
        for entry in taken:
            entry.done(entry.item is not None)  # type: ignore[arg-type]
        self.drop(owed)
        self.queue.answered(taken)

    @property
    def dropped(self) -> list[int]:
        return [number for number, answered in self.told if not answered]


@pytest.fixture
def world() -> World:
    return World()


def test_first_in_first_out_and_back_in_front(world: World) -> None:
    for _ in range(5):
        world.put()
    taken = world.queue.take(3)
    world.queue.put_back(taken)
    assert len(world.queue) == 5
    world.answer(world.queue.take(9))
    assert world.told == [(number, True) for number in range(5)]
    assert len(world.queue) == 0


def test_a_full_lane_drops_its_oldest_and_no_other_pipeline_s(world: World) -> None:
    lane = oldest(2)
    world.put()
    for _ in range(4):
        world.put(lane)
    assert world.told == [(1, False), (2, False)]
    assert len(world.queue) == 3
    world.answer(world.queue.take(9))
    assert world.told[2:] == [(0, True), (3, True), (4, True)]


def test_what_is_dropped_is_told_after_what_the_worker_has_of_its_lane(world: World) -> None:
    lane = oldest(1)
    world.put(lane)
    taken = world.queue.take(1)
    for _ in range(3):
        world.put(lane)
    assert world.told == []
    world.answer(taken)
    assert world.told == [(0, True), (1, False), (2, False)]


def test_what_comes_back_from_a_worker_that_ended_is_the_oldest(world: World) -> None:
    lane = oldest(1)
    world.put(lane)
    taken = world.queue.take(1)
    world.put(lane)
    world.put(lane)
    world.queue.put_back(taken)
    assert world.told == [(0, False), (1, False)]
    assert len(world.queue) == 1


def test_of_what_is_beyond_the_bound_one_in_so_many_of_each_sensor_is_kept(world: World) -> None:
    lane = sample(2, 3)
    for number in range(14):
        world.put(lane, "ab"[number % 2])
    assert len(world.queue) == 6
    world.answer(world.queue.take(99))
    assert world.told == [(number, number in {0, 1, 6, 7, 12, 13}) for number in range(14)]


def test_a_sample_begins_anew_when_there_was_room(world: World) -> None:
    lane = sample(1, 2)
    for _ in range(2):
        world.put(lane, "a")
    world.answer(world.queue.take(99))
    for _ in range(3):
        world.put(lane, "a")
    world.answer(world.queue.take(99))
    assert world.told == [(0, True), (1, False), (2, True), (3, False), (4, True)]


def test_a_batch_holds_so_many_inputs_whatever_was_dropped_between_them(world: World) -> None:
    lane = sample(1, 3)
    for _ in range(10):
        world.put(lane, "a")
    taken = world.queue.take(2)
    assert [entry.item is not None for entry in taken] == [True, False, False, True]


def test_what_was_told_takes_no_memory_while_another_pipeline_holds_the_front(world: World) -> None:
    lane = oldest(10)
    world.put()
    for _ in range(10_000):
        world.put(lane)
    assert len(world.queue._entries) <= 2 * 11 + COMPACT + 1
    assert len(world.dropped) == 9_990


def test_the_oldest_input_is_one_that_waits(world: World) -> None:
    lane = oldest(1)
    for number in range(3):
        world.queue.put(Pending(ITEM, lambda _answer: None, float(number), lane))
    assert world.queue.oldest == 2.0


def test_after_clear_nothing_is_told(world: World) -> None:
    lane = oldest(1)
    world.put(lane)
    world.queue.clear()
    assert len(world.queue) == 0
    world.put(lane)
    assert world.told == []


@pytest.mark.parametrize("seed", range(50))
def test_whatever_happens_each_input_is_told_once_and_each_lane_in_order(world: World, seed: int) -> None:
    chance = random.Random(seed)
    lanes: list[Lane | None] = [None, oldest(3), oldest(1), sample(2, 3), sample(5, 2)]
    lane_of: dict[int, Any] = {}
    flight: list[Pending] = []
    for _ in range(600):
        what = chance.random()
        if what < 0.6:
            lane = chance.choice(lanes)
            lane_of[world.put(lane, chance.choice("abc"))] = lane
        elif flight:
            if what < 0.85:
                world.answer(flight)
            else:
                world.queue.put_back(flight)
            flight = []
        elif world.queue:
            flight = world.queue.take(chance.randint(1, 6))
            assert 1 <= sum(entry.item is not None for entry in flight) <= 6
        for lane in lanes[1:3]:
            assert lane is not None
            assert lane.waiting <= (lane.settings.max_windows or 0)
    if flight:
        world.answer(flight)
    while world.queue:
        world.answer(world.queue.take(4))
    numbers = [number for number, _ in world.told]
    assert sorted(numbers) == list(range(world.number))
    for lane in lanes:
        of_lane = [number for number in numbers if lane_of[number] is lane]
        assert of_lane == sorted(of_lane)
    assert all(lane_of[number] is not None for number in world.dropped)
