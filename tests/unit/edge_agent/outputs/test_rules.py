from typing import Any

import pytest

from edge_agent.outputs.rules import find_output_problems
from edge_agent.settings import DecisionSettings, EventMode, IngestSettings, OutputKind, OutputSettings, PipelineSettings

HA, CE = OutputKind.HOMEASSISTANT, OutputKind.CLOUDEVENTS


def pipeline(name: str, source: str, *outputs: OutputSettings, **more: Any) -> PipelineSettings:
    return PipelineSettings(name=name, source=IngestSettings(topic=source), outputs=outputs, **more)


def keys(*pipelines: PipelineSettings) -> list[tuple[int, str]]:
    return [(position, name) for position, name, _ in find_output_problems("d", pipelines)]


@pytest.mark.parametrize(
    ("output", "key"),
    [
        ({"topic": "a/{sensor}"}, "topic"),
        ({"topic": "a/{source"}, "topic"),
        ({"topic": "a/+"}, "topic"),
        ({"topic": "a/#"}, "topic"),
        ({"topic": ""}, "topic"),
        ({"topic": "{source}/a"}, "topic"),
        ({"topic": "/a"}, "topic"),
        ({"topic": "$SYS/a"}, "topic"),
        ({"topic": "sh/v1/d/up/note"}, "topic"),
        ({"topic": "sh/{source}"}, "topic"),
        ({"topic": "smallhold/d/{source}"}, "topic"),
        ({"topic": "a", "kind": HA}, "topic"),
        ({"mode": EventMode.BINARY}, "mode"),
        ({"expire_after": 5.0}, "expire_after"),
        ({"readings": ("t",)}, "readings"),
        ({"discovery_prefix": "ha", "kind": CE}, "discovery_prefix"),
        ({"discovery_prefix": "", "kind": HA}, "discovery_prefix"),
        ({"discovery_prefix": "a/+", "kind": HA}, "discovery_prefix"),
        ({"discovery_prefix": "sh/v1", "kind": HA}, "discovery_prefix"),
        ({"expire_after": 0.5, "kind": HA}, "expire_after"),
        ({"expire_after": 60.0, "retain": True, "kind": HA}, "retain"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_named(output: dict[str, Any], key: str) -> None:
    found = keys(pipeline("p", "in", OutputSettings(**output)))
    assert [item for item in found if item != (0, "")] == [(0, f"[0].{key}")]  # {source} first makes a circle too


def test_what_is_meant_is_no_problem() -> None:
    outputs = (
        OutputSettings(),
        OutputSettings(kind=CE, topic="events/{device}", mode=EventMode.BINARY, retain=True),
        OutputSettings(kind=HA, topic="ha/{pipeline}/{source}", expire_after=60.0, readings=("t",), discovery_prefix="x/y"),
    )
    assert keys(pipeline("p", "farm/#", *outputs), pipeline("q", "farm/#", *outputs)) == []


def test_readings_of_a_pipeline_with_a_model_are_none() -> None:
    assert keys(pipeline("p", "in", OutputSettings(kind=HA, readings=("t",)), model="m")) == [(0, "[0].readings")]


def test_states_must_not_expire_between_two_heartbeats() -> None:
    output = OutputSettings(kind=HA, expire_after=60.0)
    for heartbeat, found in ((None, 1), (60.0, 1), (30.0, 0)):
        decision = DecisionSettings(reading="t", deadband=1.0, heartbeat=heartbeat)
        assert len(keys(pipeline("p", "in", output, decision=decision))) == found


def test_an_entitys_state_has_a_topic_of_its_own() -> None:
    home, plain = OutputSettings(kind=HA, topic="a/{source}"), OutputSettings(topic="a/x")
    assert keys(pipeline("p", "in", home), pipeline("q", "in", plain)) == [(1, "[0].topic")]
    assert keys(pipeline("p", "in", plain, home)) == [(0, "[1].topic")]
    assert keys(pipeline("p", "in", plain), pipeline("q", "in", plain)) == []


def test_a_second_output_for_home_assistant_is_refused() -> None:
    one, two = OutputSettings(kind=HA), OutputSettings(kind=HA, topic="b/{source}")
    assert keys(pipeline("p", "in", one, two)) == [(0, "[1].kind")]


def test_a_pipeline_that_would_take_in_its_own_results_is_refused() -> None:
    assert keys(pipeline("p", "a/#", OutputSettings(topic="a/{source}"))) == [(0, "")]
    assert keys(pipeline("p", "homeassistant/#", OutputSettings(kind=HA))) == [(0, "")]
    assert keys(pipeline("p", "smallhold/d/status", OutputSettings(kind=HA))) == [(0, "")]


def test_a_circle_over_several_pipelines_is_refused_and_a_chain_is_not() -> None:
    first = pipeline("p", "a", OutputSettings(topic="b"))
    second = pipeline("q", "b", OutputSettings(topic="c"))
    assert keys(first, second) == []
    assert keys(first, second, pipeline("r", "c", OutputSettings(topic="a"))) == [(0, ""), (1, ""), (2, "")]
