"""What is wrong with the outputs of the pipelines beyond what types can say. Pure; for the check of the configuration."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from edge_agent.outputs.topics import PLACEHOLDERS, as_filter, status_topic
from edge_agent.settings import EventMode, OutputKind, OutputSettings, PipelineSettings
from fleet_contract.topics import ROOT, filters_overlap

Problem = tuple[int, str, str]
"""Position of the pipeline, the key behind `outputs`, and what is wrong there."""
_BRACES: Final = re.compile(r"\{[^{}]*\}?|\}")
HOME_ASSISTANT_KEYS: Final[dict[str, object]] = {"discovery_prefix": "homeassistant", "expire_after": None, "readings": ()}


def find_output_problems(device: str, pipelines: Sequence[PipelineSettings]) -> Iterator[Problem]:
    """Each problem of the outputs of all pipelines."""
    topics: dict[str, tuple[str, bool]] = {}
    for position, pipeline in enumerate(pipelines):
        announced = False
        for number, output in enumerate(pipeline.outputs):
            for name, text in _find_problems(output, pipeline, device):
                yield position, f"[{number}].{name}", text
            topic = as_filter(output.topic, device, pipeline.name)
            own = output.kind is OutputKind.HOMEASSISTANT
            for known, (owner, needs_own) in topics.items():
                if (own or needs_own) and filters_overlap(known, topic):
                    yield (
                        position,
                        f"[{number}].topic",
                        f"{owner} publishes there too; an entity's state needs its own",
                    )
                    break
            topics[topic] = f"outputs[{number}] of {pipeline.name}", own
            if output.kind is OutputKind.HOMEASSISTANT:
                if announced:
                    yield position, f"[{number}].kind", "a pipeline has one output of kind homeassistant at most"
                announced = True
    yield from _find_loops(device, pipelines)


def _find_problems(output: OutputSettings, pipeline: PipelineSettings, device: str) -> Iterator[tuple[str, str]]:
    topic = output.topic
    left = [found for found in _BRACES.findall(topic) if found not in PLACEHOLDERS]
    if left:
        yield "topic", f"{left[0]} is not known; there are {', '.join(PLACEHOLDERS)}"
    elif not topic or any(mark in topic for mark in "+#\0"):
        yield "topic", "is a topic to publish to, so it is not empty and holds no '+' or '#'"
    elif topic.startswith(("{source}", "$", "/")):
        yield "topic", "begins with a fixed name, so that no sensor's id can lead it elsewhere"
    elif filters_overlap(as_filter(topic, device, pipeline.name), f"{ROOT}/#"):
        yield "topic", f"is within {ROOT}, which is the contract's own"
    elif filters_overlap(as_filter(topic, device, pipeline.name), status_topic(device)):
        yield "topic", f"{status_topic(device)} says whether the agent is there, and nothing else"
    elif "{source}" not in topic and output.kind is OutputKind.HOMEASSISTANT:
        yield "topic", "needs {source}: each sensor has a state of its own"
    if output.kind is not OutputKind.CLOUDEVENTS and output.mode is not EventMode.STRUCTURED:
        yield "mode", "only kind cloudevents has modes"
    if output.kind is not OutputKind.HOMEASSISTANT:
        for name, default in HOME_ASSISTANT_KEYS.items():
            if getattr(output, name) != default:
                yield name, "is for kind homeassistant"
        return
    prefix = output.discovery_prefix
    if not prefix or prefix[0] in "$/" or any(mark in prefix for mark in "+#\0") or filters_overlap(prefix + "/#", f"{ROOT}/#"):
        yield "discovery_prefix", f"{prefix!r} is no topic that Home Assistant can listen to"
    if output.readings and pipeline.model is not None:
        yield "readings", "the results of a pipeline with a model hold no readings"
    expire, decision = output.expire_after, pipeline.decision
    if expire is not None and expire < 1:
        yield "expire_after", "must be a second at least"
    elif expire is not None and output.retain:
        yield "retain", "with expire_after a state that the broker keeps would look new after Home Assistant's restart"
    elif expire is not None and decision.deadband is not None and not (decision.heartbeat or expire) < expire:
        yield "expire_after", "is to be longer than decision.heartbeat, which a deadband needs for it: no result, no state"


def _find_loops(device: str, pipelines: Sequence[PipelineSettings]) -> Iterator[Problem]:
    """Pipelines that would take in what they publish, also by way of others."""
    feeds = [
        {number for number, other in enumerate(pipelines) if _takes_in(other, pipeline.name, _published(device, pipeline))}
        for pipeline in pipelines
    ]
    for position in range(len(pipelines)):
        reached: set[int] = set()
        waiting = list(feeds[position])
        while waiting:
            number = waiting.pop()
            if number not in reached:
                reached.add(number)
                waiting += feeds[number]
        if position in reached and pipelines[position].outputs:
            yield position, "", "what is published there comes back to this pipeline's source, and so on for ever"


def _published(device: str, pipeline: PipelineSettings) -> Iterator[str]:
    for output in pipeline.outputs:
        yield as_filter(output.topic, device, pipeline.name)
        if output.kind is OutputKind.HOMEASSISTANT:
            yield f"{output.discovery_prefix}/device/+/config"
            yield status_topic(device)


def _takes_in(pipeline: PipelineSettings, name: str, topics: Iterable[str]) -> bool:
    """Whether a source of the pipeline is the named one's results, or covers one of the topics."""
    wanted = list(topics)
    return any(
        source.pipeline == name or (source.topic and any(filters_overlap(source.topic, topic) for topic in wanted))
        for source in pipeline.all_sources
    )
