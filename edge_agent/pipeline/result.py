"""The result message of a window, with its provenance. The daemon and a replay make it here."""

from hashlib import sha256
from typing import Final

import msgspec

from edge_agent.ingest.instant import format_micros
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.quality import BOUNDED, flags_of
from edge_agent.pipeline.windows import ClosedWindow
from fleet_contract.messages import EventsRef, ModelRef, Outcome, Result, WindowRef

LISTED_IDS: Final = 16
"""A window of more events names the first, the last and a digest over all ids, one a line."""


def make_result(pipeline: Pipeline, window: ClosedWindow, outcome: Outcome, model: ModelRef | None) -> Result:
    """The message, without its place in a stream, which the outbox gives it."""
    events = window.events
    if window.kind in BOUNDED:
        start, end = format_micros(window.start), format_micros(window.end)
    else:
        start, end = events[0].sample.time_text, events[-1].sample.time_text
    return Result(
        result_id=pipeline.result_id(window),
        pipeline=pipeline.settings.name,
        source=window.key,
        time=events[-1].sample.time_text,
        outcome=outcome,
        model=model,
        window=WindowRef(kind=window.kind, start=start, end=end, count=len(events)),
        events=_events(window),
        quality=flags_of(window, pipeline.settings.window),
        revision=window.revision,
        timeliness=window.timeliness,
    )


def window_as_json(window: ClosedWindow) -> bytes:
    """A window that could not be scored, for a person to look at: its bounds, and the id, time and values of each event."""
    events = [
        {"id": event.event_id, "time": event.sample.time_text, "values": event.sample.values, "text": event.sample.text}
        for event in window.events
    ]
    return msgspec.json.encode({"kind": window.kind, "start": window.start, "end": window.end, "events": events})


def _events(window: ClosedWindow) -> EventsRef:
    events = window.events
    if len(events) == 1:  # the usual case
        return EventsRef(count=1, ids=(events[0].event_id,))
    if len(events) <= LISTED_IDS:
        return EventsRef(count=len(events), ids=tuple(event.event_id for event in events))
    digest = sha256("\n".join(event.event_id for event in events).encode()).hexdigest()
    return EventsRef(count=len(events), first=events[0].event_id, last=events[-1].event_id, digest=f"sha256:{digest}")
