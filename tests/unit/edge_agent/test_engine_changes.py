"""The engine when the configuration changes between two starts, and when dead letters are taken in again."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from edge_agent.dead_letters import DeadLetters
from edge_agent.ingest.identity import content_key
from edge_agent.journal.batch import Batch
from edge_agent.pipeline.windows import ClosedWindow
from edge_agent.settings import PipelineSettings, WindowKind
from tests.unit.edge_agent.test_engine import NESTED, World, event, pipeline, read_otherwise

UNNAMED = json.dumps({"deep": {"er": {"v": 1}}}).encode()
"""Neither id nor time, and too deep for `read_otherwise`."""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def build(*pipelines: PipelineSettings, **store: Any) -> World:
        worlds.append(World(tmp_path, pipelines, **store))
        return worlds[-1]

    yield build
    for world in worlds:
        world.stop()


def configure(world: World, *pipelines: PipelineSettings) -> None:
    """Start again with other pipelines."""
    world.stop()
    world.settings = replace(world.settings, pipelines=pipelines)
    world.start()


def deeper(settings: PipelineSettings) -> PipelineSettings:
    """Reads what `read_otherwise` refuses."""
    return replace(settings, source=replace(settings.source, max_depth=9))


def replay(world: World) -> None:
    DeadLetters(world.store.open_reader(), world.store.submit, world.engine).replay(None)
    world.settle()


def answer_all(world: World) -> None:
    for _ in range(5):
        world.models.answer(50)
        world.settle()


def test_a_dead_letter_is_taken_in_again_by_those_alone_that_could_not_read_it(make: Callable[..., World]) -> None:
    strict = read_otherwise("strict", "s/+")
    world = make(strict, pipeline("lax"))
    world.deliver(UNNAMED)
    world.settle()
    configure(world, deeper(strict), pipeline("lax"))
    replay(world)
    assert sorted(result.pipeline for result in world.results()) == ["lax", "strict"]


def test_each_of_two_dead_letters_of_one_message_goes_where_it_came_from(make: Callable[..., World]) -> None:
    one = read_otherwise("one", "s/+")
    two = replace(one, name="two", source=replace(one.source, max_values=99))
    world = make(one, two)
    world.deliver(UNNAMED)
    world.settle()
    configure(world, deeper(one), deeper(two))
    replay(world)
    assert [result.pipeline for result in world.results()] == ["one", "two"]


def test_what_a_pipeline_got_again_alone_stays_its_own_after_a_restart(make: Callable[..., World]) -> None:
    strict = read_otherwise("strict", "s/+", size=2)
    world = make(strict, pipeline("lax", size=2))
    world.deliver(UNNAMED)
    world.settle()
    configure(world, deeper(strict), pipeline("lax", size=2))
    replay(world)
    world.restart()
    world.deliver(event(2))
    world.settle()
    assert sorted((result.pipeline, result.events.count) for result in world.results()) == [("lax", 2), ("strict", 2)]


def test_an_event_that_one_reading_refused_is_refused_once_however_often_the_agent_restarts(make: Callable[..., World]) -> None:
    strict = read_otherwise("strict", "s/+")
    world = make(strict, pipeline("lax", size=2))
    world.deliver(NESTED)
    world.settle()
    world.restart()
    world.settle()
    assert world.store.dead_letters.rows == 1
    configure(world, deeper(strict), pipeline("lax", size=2))  # it can read it now, and gets it when the letter is replayed
    world.settle()
    assert world.results() == []
    replay(world)
    assert [result.pipeline for result in world.results()] == ["strict"]


def test_an_event_is_known_again_when_another_source_was_put_before_its_own(make: Callable[..., World]) -> None:
    one, two = pipeline("one"), read_otherwise("two", "s/+", size=3)
    world = make(one, two)
    world.deliver(event(1))
    world.settle()
    configure(world, replace(pipeline("new"), source=replace(one.source, qos=0)), one, two)
    world.deliver(event(1), dup=True)
    world.deliver(event(2), first=2)
    world.settle()
    assert [result.events.ids for result in world.results() if result.pipeline == "one"] == [("e1",), ("e2",)]
    assert [result for result in world.results() if result.pipeline == "two"] == []


def test_an_event_is_known_again_by_pipelines_that_shared_a_source_and_read_it_apart_now(make: Callable[..., World]) -> None:
    one, two = pipeline("one"), pipeline("two")
    world = make(one, two)
    world.deliver(event(1))
    world.settle()
    for order in ((one, deeper(two)), (deeper(two), one), (two, one), (deeper(one), two)):
        configure(world, *order)
        world.deliver(event(1), dup=True)
        world.settle()
        assert [result.pipeline for result in world.results()] == ["one", "two"]


def test_an_event_is_known_again_when_its_pipeline_was_renamed(make: Callable[..., World]) -> None:
    world = make(pipeline("before"))
    world.deliver(event(1), b'{"v": 1}')
    world.settle()
    configure(world, pipeline("after"))
    world.deliver(event(1), b'{"v": 1}', dup=True)
    world.settle()
    assert [result.pipeline for result in world.results()] == ["before", "before"]


def test_an_event_that_the_first_release_took_over_is_known_again(make: Callable[..., World]) -> None:
    world = make(pipeline("p"))
    unnamed = b'{"v": 1}'
    timed = b'{"time": 1700000000, "v": 1}'
    world.store.submit(Batch(taken=[content_key("s/a", unnamed), content_key("s/a", timed)]))
    world.restart()
    world.deliver(unnamed, timed, dup=True)
    world.deliver(unnamed, first=3)
    world.settle()
    assert (len(world.results()), world.engine.counters["events_repeated"]) == (1, 2)


SHAPES: tuple[dict[str, Any], ...] = (
    {"size": 2},
    {"size": 3},
    {"kind": WindowKind.TUMBLING, "size": 10.0},
    {"kind": WindowKind.TUMBLING, "size": 15.0},
    {"kind": WindowKind.HOPPING, "size": 15.0, "step": 5.0, "lateness": 20.0},
    {"kind": WindowKind.SLIDING, "size": 10.0},
    {"kind": WindowKind.SLIDING, "size": 5.0, "delay": 5.0},
    {"kind": WindowKind.SESSION, "gap": 4.0},
    {"kind": WindowKind.SESSION, "gap": 6.0, "lateness": 20.0},
)


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("answered", [0, 1])
@pytest.mark.parametrize(("before", "after"), [*permutations(SHAPES, 2), *((shape, shape) for shape in SHAPES)])
def test_other_windows_get_the_events_of_those_that_are_not_finished_and_repeat_no_result(
    make: Callable[..., World], before: dict[str, Any], after: dict[str, Any], answered: int, *, renamed: bool
) -> None:
    world = make(pipeline("p", model="m", **before))
    world.deliver(event(1), event(3), event(12))
    world.models.answer(answered)
    world.settle()
    configure(world, pipeline("q" if renamed else "p", model="m", **after))
    answer_all(world)
    world.restart()
    world.deliver(*(event(number) for number in (65, 66, 150, 151, 152)), first=10)
    answer_all(world)
    found = [(result.result_id, result.revision) for result in world.results()]
    assert len(set(found)) == len(found)
    assert {"e1", "e3", "e12"} <= {name for result in world.results() for name in result.events.ids}


@pytest.mark.parametrize("broken", ["edge_agent.engine.to_model_input", "edge_agent.giving.make_result"])
def test_a_window_that_breaks_its_answer_is_a_dead_letter_and_done(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    world = make(pipeline("p", model="m"))
    world.deliver(event(1), event(2))
    world.settle()
    module, _, name = broken.rpartition(".")
    whole = getattr(import_module(module), name)

    def breaks(*arguments: Any) -> Any:
        window = next(item for item in arguments if isinstance(item, ClosedWindow))
        if window.events[0].event_id == "e1":
            raise ValueError("a defect")
        return whole(*arguments)

    monkeypatch.setattr(broken, breaks)
    world.restart()
    answer_all(world)
    assert [result.events.ids for result in world.results()] == [("e2",)]
    assert (world.store.dead_letters.rows, world.store.counts.journal_rows, world.engine.open_events) == (1, 0, 0)
