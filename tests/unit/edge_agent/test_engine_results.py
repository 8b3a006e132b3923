"""Which rows the engine makes of what was decided, on a store that keeps its batches in a list."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.engine import Engine
from edge_agent.inference.models import Models
from edge_agent.journal.batch import Batch, OutboxRow, Priority
from edge_agent.link.port import NO_PROPERTIES, Delivery
from edge_agent.loop import Loop
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.replay import PassingStore
from edge_agent.settings import (
    AgentSettings,
    AlarmSettings,
    BrokerSettings,
    DecisionSettings,
    InferenceSettings,
    IngestSettings,
    PipelineSettings,
)
from edge_agent.taking import GroupCommit


class World:
    """An engine with one pipeline that has no model."""

    def __init__(self, **pipeline: Any) -> None:
        self.loop = Loop()
        self.batches: list[Batch] = []
        item = PipelineSettings(name="p", source=IngestSettings(topic="s/+", device_level=1), **pipeline)
        settings = AgentSettings(
            device="d", state_dir="", control_socket="", mqtt=BrokerSettings(), site=BrokerSettings(), pipelines=(item,)
        )
        store = PassingStore(self.loop.post, self.batches.append)
        self.engine = Engine(settings, self.loop, store, [Pipeline(item)], Models(self.loop, InferenceSettings()))

    def take(self, *values: float) -> None:
        for value in values:
            payload = json.dumps({"t": value}).encode()
            self.engine.on_deliveries([Delivery("s/north", payload, 0, False, False, 0, 0, NO_PROPERTIES)])
            self.loop.run_until(lambda: self.engine.idle, 5.0)

    @property
    def rows(self) -> list[OutboxRow]:
        return [row for batch in self.batches for row in batch.outbox]


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.loop.close()


def make(worlds: list[World], **pipeline: Any) -> World:
    worlds.append(World(**pipeline))
    return worlds[-1]


def test_a_result_that_is_not_given_out_is_counted_and_its_window_is_finished(worlds: list[World]) -> None:
    world = make(worlds, decision=DecisionSettings(reading="t", deadband=1.0))
    world.take(1.0, 1.5, 3.0)
    assert [json.loads(row.payload)["outcome"]["score"] for row in world.rows] == [1.0, 3.0]
    assert (world.engine.counters["results"], world.engine.counters["results_suppressed"]) == (2, 1)
    assert world.engine.open_events == 0


def test_a_result_that_raises_or_clears_an_alarm_goes_with_the_notes(worlds: list[World]) -> None:
    world = make(worlds, decision=DecisionSettings(reading="t", above=5.0, alarm=AlarmSettings()))
    world.take(1.0, 6.0, 7.0, 1.0)
    plain, note = Priority.PLAIN, Priority.NOTE
    assert [row.priority for row in world.rows] == [plain, note, plain, note]


def test_a_refused_commit_keeps_what_later_results_remember() -> None:
    refused, later = GroupCommit(), GroupCommit()
    refused.batch.values = {"a": b"1", "b": b"1"}
    later.batch.values = {"b": None}
    refused.append(later)
    assert refused.batch.values == {"a": b"1", "b": None}
