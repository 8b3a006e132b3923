"""The governor with real workers; what the board tells is set by the test."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from edge_agent.health.probes import probe_pressure
from edge_agent.inference.answers import ModelInput
from edge_agent.inference.governor import Governor
from edge_agent.inference.governor_policy import BACK_MIN, LOADING, Mode
from edge_agent.inference.models import Models
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings, ModelSettings
from fleet_contract.messages import ModelRef
from fleet_contract.reasons import Reason

MIB = 1024**2


@dataclass
class Readings:
    celsius: float | None = 40.0
    available: int | None = 1000 * MIB
    memory: dict[str, int] = field(default_factory=dict)


class World:
    """Two models, their governor, and a board whose readings can be set. Looks happen when they are asked for."""

    def __init__(self, loop: Loop, make_bundle: Callable[..., Any], **settings: Any) -> None:
        self.loop = loop
        self.settings = InferenceSettings(
            models={"low": ModelSettings(priority=0), "high": ModelSettings(priority=1)}, **settings
        )
        self.models = Models(loop, self.settings)
        self.make_bundle = make_bundle
        self.readings = Readings()
        self.now = 0.0
        self.notes: list[dict[str, Any]] = []
        self.governor = Governor(
            loop, self.models, self.settings, lambda **note: self.notes.append(note), self.probe, clock=lambda: self.now
        )
        for name in ("low", "high"):
            self.activate(name)
        self.answers: list[Any] = []

    def activate(self, name: str, release: int = 1) -> None:
        outcomes: list[Any] = []
        self.models.activate(self.make_bundle(name=name, version=f"{release}.0.0"), release, 60, outcomes.append)
        assert self.loop.run_until(lambda: bool(outcomes), 60)
        assert isinstance(outcomes[0], ModelRef), outcomes

    def probe(self, workers: Mapping[str, int], _limit: int | None) -> Readings:
        self.readings.memory = dict.fromkeys(workers, 100 * MIB)
        return self.readings

    def look(self, after: float = 5.0) -> None:
        self.now += after
        self.governor.look()
        assert self.loop.run_until(lambda: not self.governor._looking, 30)

    def submit(self, name: str, *values: float) -> None:
        for value in values:
            self.models.submit(name, ModelInput({"flow": [value, value]}, [0.0, 1.0]), self.answers.append)

    def wait(self, count: int) -> None:
        assert self.loop.run_until(lambda: len(self.answers) >= count, 60), self.answers

    def turn(self) -> None:
        for _ in range(20):
            self.loop.turn(0.001)

    def stats(self, name: str) -> Any:
        return next(item for item in self.models.stats() if item.model == name)


@pytest.fixture
def make(loop: Loop, make_bundle: Callable[..., Any]) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def build(**settings: Any) -> World:
        worlds.append(World(loop, make_bundle, **settings))
        return worlds[-1]

    yield build
    for world in worlds:
        world.models.stop()


def test_a_hot_board_pauses_the_low_priority_and_nothing_that_waits_is_lost(make: Callable[..., World]) -> None:
    world = make()
    world.readings.celsius = 83.0
    world.look()
    pid = world.stats("low").pid
    world.submit("low", 1, 2, 3)
    world.submit("high", 4)
    world.wait(1)
    world.turn()
    assert [answer.model.name for answer in world.answers] == ["high"]
    assert (world.stats("low").mode, world.stats("low").queue) == (Mode.PAUSE, 3)
    world.readings.celsius = 60.0
    world.look(BACK_MIN)
    world.wait(4)
    assert [answer.scores[0] for answer in world.answers[1:]] == [3, 6, 9]
    assert world.stats("low").pid == pid, "the worker has stayed"
    world.look(BACK_MIN)
    assert [(note["model"], note["reason"]) for note in world.notes] == [
        ("low", Reason.PAUSED),
        ("low", Reason.SLOWED),
        ("low", Reason.RESUMED),
    ]
    assert world.notes[0]["detail"] == "low is paused: 83.0 °C, pause_above is 82 °C"
    assert world.notes[0]["fields"] == {"cause": "temperature", "celsius": 83.0, "available_bytes": 1000 * MIB}
    assert world.governor.counters == {"models_paused": 1, "models_slowed": 1, "models_resumed": 1}


def test_a_slowed_model_answers_and_rests(make: Callable[..., World]) -> None:
    world = make(max_batch=1)
    world.readings.celsius = 76.0
    world.look()
    assert (world.stats("low").mode, world.stats("low").mode_detail) == (Mode.SLOW, "76.0 °C, slow_above is 75 °C")
    world.submit("low", *range(5))
    world.wait(5)
    assert world.stats("low").busy_seconds > 0


def test_without_memory_the_worker_is_ended_and_comes_back_with_all_that_waits(make: Callable[..., World]) -> None:
    world = make(memory_floor=64 * MIB)
    pid = world.stats("low").pid
    world.readings.available = 10 * MIB
    world.look()
    world.submit("low", 1, 2)
    assert world.loop.run_until(lambda: _is_gone(pid), 30)
    assert (world.stats("low").mode, world.stats("low").pid, world.stats("low").queue) == (Mode.UNLOAD, None, 2)
    assert world.models.restart("low")
    world.turn()
    assert world.stats("low").pid is None, "a restart makes no room"
    world.readings.available = 1000 * MIB
    world.look(BACK_MIN)
    world.wait(2)
    assert [answer.scores[0] for answer in world.answers] == [3, 6]
    assert [note["reason"] for note in world.notes] == [Reason.PAUSED, Reason.RESUMED]


def test_a_release_that_comes_while_a_model_is_unloaded_runs_and_is_judged_anew(make: Callable[..., World]) -> None:
    world = make(memory_budget=150 * MIB)
    world.look()
    assert world.stats("low").mode is Mode.UNLOAD
    world.activate("low", 2)
    world.submit("low", 1)
    world.wait(1)
    assert world.answers[0].model.release == 2
    world.look(LOADING)
    assert world.stats("low").mode is Mode.UNLOAD


def test_a_model_that_is_removed_while_it_is_paused_runs_when_it_comes_again(make: Callable[..., World]) -> None:
    world = make()
    world.readings.celsius = 90.0
    world.look()
    world.models.remove("low")
    world.readings.celsius = 50.0
    world.look()
    world.activate("low", 2)
    world.submit("low", 1)
    world.wait(1)


def test_a_model_without_a_release_is_not_slowed_in_place_of_one_that_runs(make: Callable[..., World]) -> None:
    world = make()
    world.submit("absent", 1)
    world.readings.celsius = 76.0
    world.look()
    assert [note["model"] for note in world.notes] == ["low"]


def test_a_board_that_cannot_be_looked_at_stops_nothing(make: Callable[..., World], caplog: pytest.LogCaptureFixture) -> None:
    world = make()

    def broken(_workers: Mapping[str, int], _limit: int | None) -> Readings:
        raise OSError("no such sensor")

    world.governor._probe = broken
    for _ in range(3):
        world.look()
    assert [record.message for record in caplog.records if record.name.endswith("governor")] == [
        "the board cannot be looked at"
    ]
    world.governor._probe = world.probe
    world.readings.celsius = 83.0
    world.look()
    assert world.stats("low").mode is Mode.PAUSE


def test_a_sensor_that_is_slow_to_answer_is_asked_by_one_look_at_a_time(make: Callable[..., World]) -> None:
    world = make()
    asked: list[int] = []
    answer = threading.Event()

    def slow(workers: Mapping[str, int], limit: int | None) -> Readings:
        asked.append(len(workers))
        assert answer.wait(60)
        return world.probe(workers, limit)

    world.governor._probe = slow
    world.governor.look()
    world.governor.look()
    answer.set()
    assert world.loop.run_until(lambda: not world.governor._looking, 30)
    assert asked == [2]


def test_the_real_board_tells_its_memory_and_that_of_a_worker() -> None:
    mine = {"me": os.getpid()}
    rough = probe_pressure(mine, None)
    assert rough.available is not None
    assert rough.available > 0
    exact = probe_pressure(mine, 1)
    assert 0 < exact.memory["me"] <= rough.memory["me"] * 2
    assert probe_pressure({"gone": 2**22 + 1}, None).memory == {}


def _is_gone(pid: int | None) -> bool:
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
