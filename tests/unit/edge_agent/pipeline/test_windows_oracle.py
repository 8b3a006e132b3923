"""Ids and contents of windows against what their definitions say, computed from the events alone."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest.events import Sample
from edge_agent.ingest.identity import result_id
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.windows import Event
from edge_agent.settings import IngestSettings, PipelineSettings, WindowKind, WindowSettings

Found = dict[str, list[str]]
"""Result id to the ids of the events of its highest revision."""

TIMES = st.lists(st.integers(0, 120).map(lambda value: value / 4), min_size=1, max_size=40)
WAITS = st.sampled_from([0.0, 0.25, 2.0, 9.0])


def run(times: list[float], **window: Any) -> Found:
    settings = WindowSettings(**{"backlog_after": None, "max_jump": None, **window})
    pipeline = Pipeline(PipelineSettings(name="p", source=IngestSettings(topic="#"), window=settings))
    found: Found = {}
    revisions: dict[str, int] = {}
    for number, time in enumerate(times):
        fed = pipeline.feed(Event(number, str(number), Sample("s", time, None, {}, {})))
        assert fed is not None
        for item in fed.closed:
            name = pipeline.result_id(item)
            assert item.revision == revisions.get(name, -1) + 1, "a revision is missing, or a window fired twice"
            revisions[name] = item.revision
            found[name] = [event.event_id for event in item.events]
            pipeline.finish(item)
    return found


def newest_before(times: list[float], number: int) -> float:
    return max(times[:number], default=float("-inf"))


def in_order(times: list[float], numbers: list[int]) -> list[str]:
    return [str(number) for number in sorted(numbers, key=lambda number: (times[number], number))]


@given(times=TIMES, size=st.integers(1, 6), steps=st.integers(1, 4), delay=WAITS, lateness=WAITS)
def test_windows_on_a_grid(times: list[float], size: int, steps: int, delay: float, lateness: float) -> None:
    step = size / steps
    kind = WindowKind.TUMBLING if steps == 1 else WindowKind.HOPPING
    expected: Found = {}
    for place in range(-6 * steps, 40 * steps):
        start, end = place * step, place * step + size
        held = [
            number
            for number, time in enumerate(times)
            if start <= time < end and end > newest_before(times, number) - delay - lateness
        ]
        if held and end <= max(times) - delay:
            name = result_id("p", "s", kind, round(start * 1e6), round(end * 1e6))
            expected[name] = in_order(times, held)
    if 1e6 * step == round(1e6 * step):
        assert run(times, kind=kind, size=size, step=step, delay=delay, lateness=lateness) == expected


@given(times=TIMES, size=st.integers(1, 6), delay=WAITS, lateness=WAITS)
def test_sliding_windows(times: list[float], size: int, delay: float, lateness: float) -> None:
    taken = [number for number, time in enumerate(times) if time >= newest_before(times, number) - delay - lateness]
    expected: Found = {}
    for number in taken:
        end = times[number]
        if end <= max(times) - delay:
            held = [one for one in taken if end - size < times[one] and (times[one], one) <= (end, number)]
            expected[result_id("p", "s", "sliding", str(number), str(number))] = in_order(times, held)
    assert run(times, kind=WindowKind.SLIDING, size=size, delay=delay, lateness=lateness) == expected


@given(times=TIMES, gap=st.integers(1, 6), max_length=st.integers(1, 12), ordered=st.booleans())
def test_sessions(times: list[float], gap: int, max_length: int, ordered: bool) -> None:
    """In order, or with a delay behind which everything is in order again."""
    if ordered:
        times = sorted(times)
    delay = 0.0 if ordered else 30.0
    end = max(times) + 60
    times.append(end)
    numbers = sorted(range(len(times) - 1), key=lambda number: (times[number], number))
    sessions: list[list[int]] = [[numbers[0]]]
    for before, number in pairwise(numbers):
        if times[number] - times[before] >= gap or times[number] - times[sessions[-1][0]] >= max_length:
            sessions.append([])
        sessions[-1].append(number)
    expected = {
        result_id("p", "s", "session", round(times[held[0]] * 1e6), round(times[held[-1]] * 1e6)): in_order(times, held)
        for held in sessions
    }
    assert run(times, kind=WindowKind.SESSION, gap=gap, max_length=max_length, delay=delay) == expected


@given(count=st.integers(1, 30), size=st.integers(1, 6), step=st.integers(1, 6))
def test_count_windows(count: int, size: int, step: int) -> None:
    step = min(step, size)
    expected = {
        result_id("p", "s", "count", str(first), str(first + size - 1)): [str(first + place) for place in range(size)]
        for first in range(0, count - size + 1, step)
    }
    assert run([0.0] * count, size=size, step=step) == expected
