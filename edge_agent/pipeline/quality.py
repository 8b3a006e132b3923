"""What is to be known about a window's events: their own flags, and what only the window shows."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from edge_agent.pipeline.windows import MICROS, ClosedWindow
from edge_agent.settings import WindowKind, WindowSettings

GAP: Final = "gap"
DUPLICATE: Final = "duplicate"
OF_EVENTS: Final = {"retained": "events_retained", "historical": "events_historical", "no_time": "events_without_time"}
"""Flags that events bring with them, and where they are counted."""
OF_WINDOWS: Final = {GAP: "windows_with_gap", DUPLICATE: "windows_with_duplicate"}
BOUNDED: Final = (WindowKind.TUMBLING, WindowKind.HOPPING, WindowKind.SLIDING)
"""Kinds whose bounds are not those of their events, so that the head or the tail may be missing."""


def flags_of(window: ClosedWindow, settings: WindowSettings) -> tuple[str, ...]:
    """The flags of the events in order of appearance; `gap` and `duplicate` where the window has them."""
    events = window.events
    if len(events) == 1 and settings.max_gap is None:
        return events[0].sample.quality
    flags = dict.fromkeys(flag for event in events for flag in event.sample.quality)
    times = sorted(event.sample.time for event in events if event.sample.time is not None)
    if settings.max_gap is not None and times and _widest(window, times) > settings.max_gap:
        flags[GAP] = None
    if any(before == after for before, after in pairwise(times)):
        flags[DUPLICATE] = None
    return tuple(flags)


def count_names(flags: Sequence[str], counted: Mapping[str, str]) -> list[str]:
    """The counters of those flags that are counted."""
    return [counted[flag] for flag in flags if flag in counted]


def _widest(window: ClosedWindow, times: list[float]) -> float:
    widest = max((after - before for before, after in pairwise(times)), default=0.0)
    if window.kind in BOUNDED:
        widest = max(widest, times[0] - window.start / MICROS, window.end / MICROS - times[-1])
    return widest
