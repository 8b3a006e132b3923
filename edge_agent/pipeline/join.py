"""Several readings side by side: the events of a window completed with each other's values, or put on a regular grid.

Computed when the window is asked about, from its events alone, so nothing of it is stored; what a reading was before the window
began is not known.
"""

from collections.abc import Sequence
from math import inf
from typing import Final

from edge_agent.ingest.events import Sample, Value
from edge_agent.ingest.instant import format_micros
from edge_agent.pipeline.question import number
from edge_agent.pipeline.windows import MICROS, ClosedWindow, Event
from edge_agent.settings import Aggregate, JoinMethod, JoinSettings, WindowKind

MAX_CELLS: Final = 10_000
"""Of a grid; of a longer window the newest ones are made."""
_UNBOUNDED: Final = (WindowKind.COUNT, WindowKind.SESSION)


def join(window: ClosedWindow, settings: JoinSettings) -> ClosedWindow:
    """The window with other samples in place of its events'; ids, bounds and the rest stay."""
    if settings.method is JoinMethod.LAST:
        return _with_events(window, _complete(window.events, settings.max_age))
    assert settings.every is not None
    cells = _to_grid(window, max(round(settings.every * MICROS), 1), settings.aggregate)
    return _with_events(window, cells) if cells else window


def _with_events(window: ClosedWindow, events: Sequence[Event]) -> ClosedWindow:
    return ClosedWindow(
        window.key, window.kind, tuple(events), window.mark, window.start, window.end, window.revision, window.timeliness
    )


def _complete(events: Sequence[Event], max_age: float | None) -> list[Event]:
    """Each event with the last known value of every reading that it does not carry itself."""
    known: dict[str, tuple[Value, str | None, float | None]] = {}
    completed = []
    for event in events:
        sample = event.sample
        time = sample.time
        values = dict(sample.values)
        units = dict(sample.units)
        for name, (value, unit, since) in known.items():
            if values.get(name) is None and (max_age is None or _age(since, time) <= max_age):
                values[name], units[name] = value, unit
        for name, own in sample.values.items():
            if own is not None:
                known[name] = own, sample.units.get(name), time
        completed.append(Event(event.position, event.event_id, _sample(sample, time, sample.time_text, values, units)))
    return completed


def _age(since: float | None, time: float | None) -> float:
    return inf if since is None or time is None else time - since


def _to_grid(window: ClosedWindow, every: int, aggregate: Aggregate) -> list[Event]:
    """One event for each cell of the grid; a reading that has no value there is missing."""
    timed = [(round(event.sample.time * MICROS), event) for event in window.events if event.sample.time is not None]
    if not timed:
        return []
    timed.sort(key=lambda item: (item[0], item[1].position))
    if window.kind in _UNBOUNDED:
        start = timed[0][0] // every * every
        count = (timed[-1][0] - start) // every + 1
    else:
        start = window.start
        count = -(-(window.end - start) // every)
    open_left = window.kind is WindowKind.SLIDING  # its bounds are (start, end]
    cells: dict[int, dict[str, list[Value]]] = {}
    names: dict[str, str | None] = {}
    for moment, event in timed:
        cell = cells.setdefault((moment - start - open_left) // every, {})
        for name, value in event.sample.values.items():
            names.setdefault(name, event.sample.units.get(name))
            if value is not None:
                cell.setdefault(name, []).append(value)
    last = timed[-1][1]
    made = []
    for place in range(max(count - MAX_CELLS, 0), count):
        found = cells.get(place, {})
        values = {name: _aggregate(found.get(name, []), aggregate) for name in names}
        moment = start + place * every
        sample = _sample(last.sample, moment / MICROS, format_micros(moment), values, names)
        made.append(Event(last.position, last.event_id, sample))
    return made


def _aggregate(values: Sequence[Value], how: Aggregate) -> Value:
    if how is Aggregate.LAST:
        return values[-1] if values else None
    numbers = [found for value in values if (found := number(value)) is not None]
    if not numbers:
        return None
    match how:
        case Aggregate.MEAN:
            return sum(numbers) / len(numbers)
        case Aggregate.MIN:
            return min(numbers)
        case Aggregate.MAX:
            return max(numbers)
        case Aggregate.SUM:
            return sum(numbers)


def _sample(
    like: Sample, time: float | None, time_text: str | None, values: dict[str, Value], units: dict[str, str | None]
) -> Sample:
    return Sample(like.device, time, time_text, values, units, like.text, like.quality)
