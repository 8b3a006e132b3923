"""A pipeline's result as the event of another pipeline."""

from typing import Final

from edge_agent.ingest.events import Sample, Value
from edge_agent.ingest.instant import seconds
from fleet_contract.messages import Result

HISTORICAL: Final = "historical"


def chained_id(result: Result) -> str:
    """The event's id: of each revision one of its own."""
    return f"{result.result_id}.{result.revision}"


def to_sample(result: Result) -> Sample:
    """Readings `label`, `score`, `state`, `scores.X` and `values.X`; what the result does not have is left out, lists too.

    A result of a backlog is historical. Time is the result's, so that of the last event in its window.
    """
    outcome = result.outcome
    named: dict[str, Value] = {"label": outcome.label, "score": outcome.score, "state": outcome.state}
    values: dict[str, Value] = {name: value for name, value in named.items() if value is not None}
    for name, score in outcome.scores.items():
        values[f"scores.{name}"] = score
    for name, reading in outcome.values.items():
        if isinstance(reading, int | float | str):
            values[f"values.{name}"] = reading
    quality = result.quality
    if result.timeliness != "live" and HISTORICAL not in quality:
        quality = (*quality, HISTORICAL)
    time = None if result.time is None else seconds(result.time)
    return Sample(result.source, time, result.time, values, {}, None, quality)
