"""The outputs of an agent over several lives: what is stored is all that one life tells the next."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.journal.batch import Batch, OutboxRow, Priority
from edge_agent.outputs import announcements
from edge_agent.outputs.homeassistant import MOST_READINGS, config_topic
from edge_agent.outputs.outputs import Outputs
from edge_agent.settings import (
    AlarmSettings,
    DecisionSettings,
    EventMode,
    IngestSettings,
    OutputKind,
    OutputSettings,
    PipelineSettings,
)
from fleet_contract.messages import Outcome, Result, encode

HOME = OutputSettings(kind=OutputKind.HOMEASSISTANT, topic="s/{source}")
TOPIC = config_topic("homeassistant", "d", "p", "north")


def pipeline(*outputs: OutputSettings, name: str = "p", **more: Any) -> PipelineSettings:
    return PipelineSettings(name=name, source=IngestSettings(topic="a"), outputs=outputs, **more)


class Agent:
    """`start` is a restart with another configuration."""

    def __init__(self, *pipelines: PipelineSettings) -> None:
        self.stored: dict[str, bytes] = {}
        self.start(*pipelines)

    def start(self, *pipelines: PipelineSettings) -> list[OutboxRow]:
        self.outputs = Outputs("d", pipelines, self.stored)
        return self.commit(self.outputs.reconcile())

    def commit(self, batch: Batch) -> list[OutboxRow]:
        for key, value in batch.values.items():
            if value is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = value
        return batch.outbox

    def give(self, result: Result, *, urgent: bool = False, **units: str) -> list[OutboxRow]:
        batch = Batch()
        self.outputs.add(result, encode(result), lambda: units, batch, urgent=urgent)
        return self.commit(batch)


@pytest.fixture
def read(result: Callable[..., Result]) -> Callable[..., Result]:
    """`read(t=1.5)`: a result with these readings."""
    return lambda **values: result(Outcome(values=values))


def components(row: OutboxRow) -> set[str]:
    return set(json.loads(row.payload)["cmps"])


def test_each_output_gets_the_result_in_its_form(result: Callable[..., Result]) -> None:
    agent = Agent(
        pipeline(
            OutputSettings(topic="r/{source}", retain=True),
            OutputSettings(kind=OutputKind.CLOUDEVENTS, topic="c/{pipeline}"),
            OutputSettings(kind=OutputKind.CLOUDEVENTS, topic="b", mode=EventMode.BINARY),
        )
    )
    made = result()
    plain, structured, binary = agent.give(made)
    assert (plain.topic, plain.payload, plain.link, plain.durable) == ("r/north", encode(made), "site", False)
    assert plain.publishing is not None
    assert plain.publishing.retain
    assert structured.topic == "c/p"
    assert structured.publishing is not None
    assert structured.publishing.properties() == {"content_type": "application/cloudevents+json"}
    assert binary.publishing is not None
    assert ("id", "r1") in binary.publishing.user


def test_an_urgent_result_goes_ahead_unless_the_broker_keeps_the_last_one(result: Callable[..., Result]) -> None:
    agent = Agent(pipeline(OutputSettings(topic="a"), OutputSettings(topic="b", retain=True)))
    assert [row.priority for row in agent.give(result(), urgent=True)] == [Priority.NOTE, Priority.PLAIN]
    assert [row.priority for row in agent.give(result())] == [Priority.PLAIN, Priority.PLAIN]


def test_a_sensor_without_a_topic_is_counted_and_costs_the_others_nothing(result: Callable[..., Result]) -> None:
    agent = Agent(pipeline(OutputSettings(topic="a/{source}"), OutputSettings(topic="b")))
    assert [row.topic for row in agent.give(result(source="x" * 2000))] == ["b"]
    assert agent.outputs.counters == {"outputs_refused": 1}


def test_a_sensor_is_announced_with_its_first_result_and_again_for_an_entity_more(read: Callable[..., Result]) -> None:
    agent = Agent(pipeline(HOME))
    config, state = agent.give(read(t=1), t="Cel")
    assert (config.topic, components(config), config.priority) == (TOPIC, {"reading_t"}, Priority.NOTE)
    assert (state.topic, state.priority) == ("s/north", Priority.PLAIN)
    assert config.publishing is not None
    assert state.publishing is not None
    assert (config.publishing.retain, state.publishing.retain) == (True, True)
    assert [row.topic for row in agent.give(read(t=2))] == ["s/north"]
    config, _ = agent.give(read(h=2))
    assert components(config) == {"reading_t", "reading_h"}


def test_after_a_restart_nothing_is_announced_that_was_before(read: Callable[..., Result]) -> None:
    agent = Agent(pipeline(HOME))
    agent.give(read(t=1))
    assert agent.start(pipeline(HOME)) == []
    assert [row.topic for row in agent.give(read(t=1))] == ["s/north"]


def test_no_more_readings_than_the_bound_become_entities(read: Callable[..., Result]) -> None:
    agent = Agent(pipeline(HOME))
    config, _ = agent.give(read(**{f"r{number}": 1 for number in range(MOST_READINGS + 9)}))
    assert len(components(config)) == MOST_READINGS
    assert len(agent.give(read(more=1))) == 1


def test_no_more_sensors_than_the_bound_are_announced(monkeypatch: pytest.MonkeyPatch, result: Callable[..., Result]) -> None:
    monkeypatch.setattr(announcements, "MOST_ANNOUNCED", 1)
    agent = Agent(pipeline(HOME))
    made = Outcome(values={"t": 1})
    assert [len(agent.give(result(made, source=source))) for source in ("north", "south", "north")] == [2, 1, 1]
    assert agent.outputs.counters == {"outputs_unannounced": 1}
    assert len(agent.give(result(Outcome(values={"h": 1})))) == 2


@pytest.mark.parametrize("now", [(), (pipeline(),), (pipeline(HOME, name="q"),)], ids=["no pipeline", "no output", "renamed"])
def test_what_is_configured_no_more_is_deleted_with_its_state(
    now: tuple[PipelineSettings, ...], read: Callable[..., Result]
) -> None:
    agent = Agent(pipeline(HOME))
    agent.give(read(t=1))
    rows = {row.topic: row for row in agent.start(*now)}
    assert {TOPIC, "s/north"} <= rows.keys()
    assert all(row.payload == b"" and row.publishing is not None and row.publishing.retain for row in rows.values())
    assert agent.start(*now) == []


def test_the_availability_goes_with_the_last_output_that_needs_it() -> None:
    agent = Agent(pipeline(HOME))
    assert agent.outputs.availability == "smallhold/d/status"
    (row,) = agent.start(pipeline())
    assert (row.topic, row.payload) == ("smallhold/d/status", b"")
    assert (agent.outputs.availability, agent.stored) == (None, {})


def test_an_entity_that_is_gone_is_removed_in_the_documented_way(read: Callable[..., Result]) -> None:
    alarm = DecisionSettings(reading="t", above=5.0, alarm=AlarmSettings())
    agent = Agent(pipeline(HOME, decision=alarm))
    agent.give(read(t=1, h=2))
    removal, after = agent.start(pipeline(replace(HOME, readings=("t",)), decision=replace(alarm, alarm=None)))
    said = json.loads(removal.payload)["cmps"]
    assert said["alarm"] == {"p": "binary_sensor"}
    assert said["reading_h"] == {"p": "sensor"}
    assert components(after) == {"reading_t"}


def test_another_configuration_is_announced_at_the_start(read: Callable[..., Result]) -> None:
    agent = Agent(pipeline(HOME))
    agent.give(read(t=1))
    rows = agent.start(pipeline(replace(HOME, topic="other/{source}", expire_after=60.0)))
    assert [(row.topic, bool(row.payload)) for row in rows] == [(TOPIC, True), ("s/north", False)]
    assert json.loads(rows[0].payload)["state_topic"] == "other/north"
    (state,) = agent.give(read(t=1))
    assert state.publishing is None


def test_a_model_instead_of_readings_takes_their_entities_away(read: Callable[..., Result]) -> None:
    agent = Agent(pipeline(HOME))
    agent.give(read(t=1))
    rows = agent.start(pipeline(HOME, model="m"))
    assert [(row.topic, row.payload) for row in rows] == [(TOPIC, b""), ("s/north", b"")]


def test_all_is_announced_again_when_home_assistant_or_the_broker_starts_anew(result: Callable[..., Result]) -> None:
    other = OutputSettings(kind=OutputKind.HOMEASSISTANT, topic="q/{source}", discovery_prefix="ha2")
    agent = Agent(pipeline(HOME), pipeline(other, name="q"))
    first = agent.give(result(Outcome(values={"t": 1})))[0]
    second = agent.give(result(Outcome(values={"t": 1}), pipeline="q"))[0]
    assert agent.outputs.birth_topics == {"homeassistant/status", "ha2/status"}
    assert [row.payload for row in agent.commit(agent.outputs.repeat("homeassistant/status"))] == [first.payload]
    assert [row.payload for row in agent.commit(agent.outputs.repeat())] == [first.payload, second.payload]


@pytest.mark.parametrize("late", [{"revision": 1}, {"timeliness": "backlog"}])
def test_what_tells_of_an_older_window_changes_no_entity_and_is_not_kept(
    late: dict[str, Any], result: Callable[..., Result]
) -> None:
    kept = OutputSettings(topic="r", retain=True), OutputSettings(kind=OutputKind.CLOUDEVENTS, topic="c", retain=True)
    agent = Agent(pipeline(HOME, *kept))
    made = Outcome(values={"t": 1})
    rows = agent.give(result(made, **late))
    assert [row.topic for row in rows] == ["r", "c"]
    assert not any(row.publishing is not None and row.publishing.retain for row in rows)
    rows = agent.give(result(made))
    assert [row.publishing is not None and row.publishing.retain for row in rows] == [True] * 4
