from typing import Any

import pytest

from edge_agent.ingest.events import Sample
from edge_agent.pipeline.quality import flags_of
from edge_agent.pipeline.windows import MICROS, ClosedWindow, Event
from edge_agent.settings import WindowKind, WindowSettings


def flags(*times: float | None, kind: WindowKind = WindowKind.COUNT, end: float = 0.0, **window: Any) -> tuple[str, ...]:
    events = tuple(Event(place, str(place), Sample("s", time, None, {}, {})) for place, time in enumerate(times))
    closed = ClosedWindow("s", kind, events, 0, 0, round(end * MICROS))
    return flags_of(closed, WindowSettings(kind=kind, **window))


def test_the_flags_of_all_events_are_listed_once_in_order() -> None:
    qualities: tuple[tuple[str, ...], ...] = (("retained",), ("naive_time", "retained"), ())
    events = tuple(Event(place, "e", Sample("s", place, None, {}, {}, None, it)) for place, it in enumerate(qualities))
    assert flags_of(ClosedWindow("s", WindowKind.COUNT, events, 2), WindowSettings(size=3)) == ("retained", "naive_time")


def test_two_events_of_one_time_are_duplicates() -> None:
    assert flags(2.0, 1.0, 2.0) == ("duplicate",)
    assert flags(1.0, 2.0, None) == ()


def test_neighbours_that_are_further_apart_than_allowed_are_a_gap() -> None:
    assert flags(1.0, 4.1, max_gap=3) == ("gap",)
    assert flags(4.0, 1.0, max_gap=3) == ()
    assert flags(1.0, 400.0) == ()


@pytest.mark.parametrize("times", [(4.0, 7.0, 10.0), (0.0, 3.0, 6.0)])
def test_a_window_that_lacks_its_head_or_its_tail_has_a_gap(times: tuple[float, ...]) -> None:
    assert flags(*times, kind=WindowKind.TUMBLING, end=10, max_gap=3) == ("gap",)
    assert flags(*times, kind=WindowKind.SESSION, end=10, max_gap=3) == ()
    assert flags(3.0, 6.0, 7.0, kind=WindowKind.TUMBLING, end=10, max_gap=3) == ()


def test_one_event_alone_lacks_the_rest_of_its_window() -> None:
    assert flags(1.0, kind=WindowKind.HOPPING, end=10, max_gap=3) == ("gap",)
