"""The rules of configuration, pure: what a start does, what a desired state asks, when a configuration has proven itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import msgspec

from edge_agent.configuring.machine import RESUME, Event, allows, step
from edge_agent.configuring.record import Flow, Layer, Record
from fleet_contract.configuration import ConfigurationState as State
from fleet_contract.configuration import DesiredConfiguration
from fleet_contract.reasons import Reason

MAX_STARTS: Final = 2
"""Starts that an unproven configuration gets; the next one goes back."""
SURE: Final = 10
"""Answers that a pipeline would have given as before, when none means that something is wrong."""
PATIENCE: Final = 3
"""Times the events that it took for one answer before, and `SURE` more, which a pipeline may take without one."""


@dataclass(frozen=True, slots=True)
class Breach:
    """Why a configuration is taken back."""

    reason: Reason
    detail: str


class Verdict(Enum):
    """How a probation stands."""

    WAIT = auto()
    PROVEN = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The bounds of a probation, in seconds."""

    time: float
    reach: float
    longest: float


# ---- at the start ----------------------------------------------------------------------------------------------------


def begin_start(record: Record, now: str) -> Record:
    """The record as this start finds it: counted, and gone back where the counted ones were too many."""
    started = msgspec.structs.replace(record, state=RESUME[record.state])
    if not record.unproven:
        return started
    if record.starts >= MAX_STARTS:
        return fall_back(started, Reason.START_FAILED, f"not proven in {record.starts} starts", now)
    started.starts += 1
    return started


def fall_back(record: Record, reason: Reason, detail: str, now: str) -> Record:
    """The record after its current configuration has failed: the one before is the current one, at last the own file alone."""
    back = record.previous if record.previous != record.current else None
    fallen = msgspec.structs.replace(
        record,
        current=back,
        previous=back,
        unproven=back is not None,
        starts=0,
        restart=(),
        before={},
        watched=0.0,
        untold=True,
    )
    if allows(record.state, Event.FAILED_TO_START):
        fallen.state = step(record.state, Event.FAILED_TO_START)
        fallen.since = now
        if record.state is not State.ROLLED_BACK:
            fallen.reason, fallen.detail = reason, detail
    return fallen


# ---- what is desired -------------------------------------------------------------------------------------------------


def is_asked(record: Record, desired: DesiredConfiguration | None) -> bool:
    """Whether the desired state asks for another change than the newest one. What was refused is not tried again."""
    wanted = ("", 0) if desired is None else (desired.name, desired.revision)
    return wanted != record.target


def is_returned(record: Record) -> bool:
    """Whether the current configuration was gone back to, and only has to show that it still starts."""
    return record.unproven and record.current == record.previous


def find_on_disk(record: Record, name: str, revision: int) -> Layer | None:
    """The current or the proven revision, if it is the one that is meant."""
    for layer in (record.current, record.previous):
        if layer is not None and (layer.name, layer.revision) == (name, revision):
            return layer
    return None


# ---- probation -------------------------------------------------------------------------------------------------------


def compare(record: Record, flows: Mapping[str, Flow], unchanged: frozenset[str]) -> dict[str, Flow]:
    """What the pipelines did before a switch, of those that have given answers.

    `flows` is since the last start; where the current configuration is itself on probation, what was before that counts.
    `unchanged` are the pipelines whose windows are gathered as before.
    """
    known = record.before if record.unproven and record.before else flows
    return {
        name: msgspec.structs.replace(flow, comparable=flow.comparable and name in unchanged)
        for name, flow in known.items()
        if flow.answers > 0
    }


def judge(record: Record, now: Mapping[str, Flow], seconds: float, *, reached: bool, span: Span) -> Verdict | Breach:
    """How the probation of the current configuration stands.

    Args:
        now: what the pipelines have done since the start, by name; one that is configured no more is not in it.
        seconds: of probation so far.
        reached: whether the fleet broker was reached since the switch.
    """
    if not reached:
        if seconds < span.reach:
            return Verdict.WAIT
        return Breach(Reason.BROKER_UNREACHABLE, f"the fleet broker was not reached within {span.reach:g} s")
    waits = False
    for name, before in sorted(record.before.items()):
        flow = now.get(name)
        if flow is None or flow.answers:
            continue
        silent = _find_silence(name, before, flow, seconds, span)
        if silent is not None:
            return silent
        waits = waits or flow.events > 0
    if seconds >= span.longest or (seconds >= span.time and not waits):
        return Verdict.PROVEN
    return Verdict.WAIT


def _find_silence(name: str, before: Flow, flow: Flow, seconds: float, span: Span) -> Breach | None:
    each = before.events / before.answers
    if before.comparable and flow.events >= PATIENCE * each + SURE:
        text = f"pipeline {name} has taken {flow.events} events without an answer; before, it took {each:.1f} for one"
        return Breach(Reason.PIPELINE_SILENT, text)
    if before.comparable and seconds >= span.time:
        expected = before.answers / max(before.seconds, 1.0) * seconds
        if expected >= SURE:
            text = f"pipeline {name} gave no answer in {seconds:.0f} s; before, it would have given {expected:.0f}"
            return Breach(Reason.PIPELINE_SILENT, text)
    if flow.events and seconds >= span.longest:
        return Breach(Reason.PIPELINE_SILENT, f"pipeline {name} has taken {flow.events} events without an answer")
    return None
