from typing import Any

from edge_agent.ingest.events import Sample
from edge_agent.pipeline.windows import Event, Fed, make_buffer
from edge_agent.settings import WindowKind, WindowSettings


def feed(times: list[float | None], **window: Any) -> list[Fed]:
    """Feed one sensor's events, numbered from 0, to windows that nobody finishes."""
    buffer = make_buffer("s", WindowSettings(**window), None)
    return [buffer.feed(Event(number, str(number), Sample("s", time, None, {}, {}))) for number, time in enumerate(times)]


def closed(fed: list[Fed]) -> list[list[int]]:
    return [[event.position for event in window.events] for item in fed for window in item.closed]


def bounds(fed: list[Fed]) -> list[tuple[float, float]]:
    return [(window.start / 1e6, window.end / 1e6) for item in fed for window in item.closed]


def test_tumbling_count_windows_share_no_event() -> None:
    assert closed(feed([None] * 7, size=3)) == [[0, 1, 2], [3, 4, 5]]


def test_count_windows_overlap_by_size_minus_step() -> None:
    fed = feed([None] * 7, size=3, step=2)
    assert closed(fed) == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert [item.released for item in fed] == [[], [], [0, 1], [], [2, 3], [], [4, 5]]


def test_a_tumbling_time_window_closes_when_the_watermark_reaches_its_end() -> None:
    fed = feed([1, 9.9, 10, 19, 20], kind=WindowKind.TIME, size=10)
    assert closed(fed) == [[0, 1], [2, 3]]
    assert bounds(fed) == [(0, 10), (10, 20)]
    assert [bool(item.closed) for item in fed] == [False, False, True, False, True]


def test_hopping_time_windows_hold_an_event_several_times_and_release_it_once() -> None:
    fed = feed([1, 6, 11, 40], kind=WindowKind.TIME, size=10, step=5)
    assert closed(fed) == [[0], [0, 1], [1, 2], [2]]
    assert bounds(fed) == [(-5, 5), (0, 10), (5, 15), (10, 20)]
    assert sorted(position for item in fed for position in item.released) == [0, 1, 2]


def test_lateness_holds_the_watermark_back() -> None:
    fed = feed([1, 12, 2, 13], kind=WindowKind.TIME, size=10, lateness=3)
    assert closed(fed) == [[0, 2]]


def test_events_of_a_time_window_stand_in_the_order_of_event_time() -> None:
    assert closed(feed([3, 1, 2, 1, 10], kind=WindowKind.TIME, size=10)) == [[1, 3, 2, 0]]


def test_an_event_of_a_closed_window_is_late_and_released() -> None:
    fed = feed([1, 10, 2], kind=WindowKind.TIME, size=10)
    assert (fed[2].late, fed[2].released, fed[2].closed) == (True, [2], [])


def test_an_event_that_is_late_for_one_hopping_window_still_joins_the_open_ones() -> None:
    fed = feed([1, 11, 6, 30], kind=WindowKind.TIME, size=10, step=5)
    assert not fed[2].late
    assert closed(fed) == [[0], [0], [2, 1], [1]]


def test_an_event_without_a_time_is_in_no_time_window() -> None:
    (fed,) = feed([None], kind=WindowKind.TIME, size=10)
    assert (fed.untimed, fed.released) == (True, [0])


def test_a_window_shorter_than_a_microsecond_is_one_long() -> None:
    assert closed(feed([1, 2], kind=WindowKind.TIME, size=1e-9)) == [[0]]


def test_times_before_1970_have_windows_too() -> None:
    assert bounds(feed([-9, -1], kind=WindowKind.TIME, size=10)) == []
    assert bounds(feed([-1, 15], kind=WindowKind.TIME, size=10)) == [(-10, 0)]
