"""What windows and joins may say that their types cannot: for the check of the configuration. Pure."""

import math
from collections.abc import Iterable
from typing import Final

from edge_agent.pipeline.join import MAX_CELLS
from edge_agent.settings import JoinMethod, JoinSettings, WindowKind, WindowSettings

MOST_OVERLAP: Final = 10_000


def find_join_problems(key: str, join: JoinSettings, window: WindowSettings) -> Iterable[tuple[str, str]]:
    """Each (key, what is wrong) of a join; `key` is the pipeline's place."""
    key = f"{key}.join"
    for name in ("max_age", "every"):
        value = getattr(join, name)
        if value is not None and not 0 < value < math.inf:
            yield f"{key}.{name}", "must be above 0"
    if join.method is JoinMethod.LAST:
        if join.every is not None:
            yield f"{key}.every", "belongs to method resample"
        return
    if join.max_age is not None:
        yield f"{key}.max_age", "belongs to method last"
    longest = {WindowKind.COUNT: 0.0, WindowKind.SESSION: window.max_length}.get(window.kind, window.size)
    if join.every is None:
        yield f"{key}.every", "is needed for method resample"
    elif join.every > 0 and longest / join.every > MAX_CELLS:
        yield f"{key}.every", f"a window would have more than {MAX_CELLS} cells; use a longer one"


def find_window_problems(key: str, window: WindowSettings) -> Iterable[tuple[str, str]]:
    """Each (key, what is wrong) of a window; `key` is the pipeline's place."""
    key = f"{key}.window"
    kind = window.kind
    for name in ("size", "max_length"):
        if not 0 < getattr(window, name) < math.inf:
            yield f"{key}.{name}", "must be above 0"
    for name in ("delay", "lateness"):
        if not 0 <= getattr(window, name) < math.inf:
            yield f"{key}.{name}", "must not be negative"
    for name in ("backlog_after", "max_jump", "max_gap", "clock_skew", "idle_timeout", "backlog_idle_timeout", "gap"):
        value = getattr(window, name)
        if value is not None and not 0 < value < math.inf:
            yield f"{key}.{name}", "must be above 0"
    if window.step is not None:
        if kind not in (WindowKind.COUNT, WindowKind.HOPPING):
            yield f"{key}.step", f"a window of kind {kind} has no step; kinds count and hopping have"
        elif not 0 < window.step <= window.size:
            yield f"{key}.step", "must be above 0 and not above size"
        elif kind is WindowKind.HOPPING and window.size / window.step > MOST_OVERLAP:
            yield f"{key}.step", f"every event would be in more than {MOST_OVERLAP} windows; use a longer step"
    elif kind is WindowKind.HOPPING:
        yield f"{key}.step", "is needed for a window of kind hopping"
    if kind is WindowKind.SESSION and window.gap is None:
        yield f"{key}.gap", "is needed for a window of kind session"
    if kind is not WindowKind.SESSION and window.gap is not None:
        yield f"{key}.gap", f"a window of kind {kind} has no gap; kind session has (see max_gap for the quality flag)"
    if kind is WindowKind.COUNT:
        for name in ("size", "step"):
            value = getattr(window, name)
            if value is not None and value != int(value):
                yield f"{key}.{name}", "a window of kind count holds a whole number of events"
        for name in ("delay", "lateness"):
            if getattr(window, name) > 0:
                yield f"{key}.{name}", "a window of kind count is fed in order of arrival and does not wait"
