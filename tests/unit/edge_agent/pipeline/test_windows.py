from typing import Any

import pytest

from edge_agent.ingest.events import Sample
from edge_agent.pipeline.lanes import Sensor
from edge_agent.pipeline.windows import Event, Fed
from edge_agent.settings import WindowKind, WindowSettings


def feed(times: list[float | None], **window: Any) -> list[Fed]:
    """Feed one sensor's events, numbered from 0, to windows that nobody finishes."""
    sensor = Sensor("s", WindowSettings(**{"backlog_after": None, "max_jump": None, **window}), (None, None), (None, None))
    return [sensor.feed(Event(number, str(number), Sample("s", time, None, {}, {}))) for number, time in enumerate(times)]


def closed(fed: list[Fed]) -> list[list[int]]:
    return [[event.position for event in window.events] for item in fed for window in item.closed]


def bounds(fed: list[Fed]) -> list[tuple[float, float]]:
    return [(window.start / 1e6, window.end / 1e6) for item in fed for window in item.closed]


def test_tumbling_count_windows_share_no_event() -> None:
    assert closed(feed([None] * 7, size=3)) == [[0, 1, 2], [3, 4, 5]]


def test_count_windows_overlap_by_size_minus_step() -> None:
    fed = feed([None] * 7, size=3, step=2)
    assert closed(fed) == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert [list(item.released) for item in fed] == [[], [], [0, 1], [], [2, 3], [], [4, 5]]


def test_a_tumbling_time_window_closes_when_the_watermark_reaches_its_end() -> None:
    fed = feed([1, 9.9, 10, 19, 20], kind=WindowKind.TUMBLING, size=10)
    assert closed(fed) == [[0, 1], [2, 3]]
    assert bounds(fed) == [(0, 10), (10, 20)]
    assert [bool(item.closed) for item in fed] == [False, False, True, False, True]


def test_hopping_time_windows_hold_an_event_several_times_and_release_it_once() -> None:
    fed = feed([1, 6, 11, 40], kind=WindowKind.HOPPING, size=10, step=5)
    assert closed(fed) == [[0], [0, 1], [1, 2], [2]]
    assert bounds(fed) == [(-5, 5), (0, 10), (5, 15), (10, 20)]
    assert sorted(position for item in fed for position in item.released) == [0, 1, 2]


def test_delay_holds_the_watermark_back() -> None:
    fed = feed([1, 12, 2, 13], kind=WindowKind.TUMBLING, size=10, delay=3)
    assert closed(fed) == [[0, 2]]


def test_events_of_a_time_window_stand_in_the_order_of_event_time() -> None:
    assert closed(feed([3, 1, 2, 1, 10], kind=WindowKind.TUMBLING, size=10)) == [[1, 3, 2, 0]]


def test_an_event_of_a_closed_window_is_late_and_released() -> None:
    fed = feed([1, 10, 2], kind=WindowKind.TUMBLING, size=10)
    assert (fed[2].late, fed[2].released, fed[2].closed) == (1, [2], ())


def test_an_event_that_is_late_for_one_hopping_window_still_joins_the_open_ones() -> None:
    fed = feed([1, 11, 6, 30], kind=WindowKind.HOPPING, size=10, step=5)
    assert not fed[2].late
    assert closed(fed) == [[0], [0], [2, 1], [1]]


def test_an_event_without_a_time_is_in_no_time_window() -> None:
    (fed,) = feed([None], kind=WindowKind.TUMBLING, size=10)
    assert (fed.untimed, fed.released) == (True, [0])


def test_a_window_shorter_than_a_microsecond_is_one_long() -> None:
    assert closed(feed([1, 2], kind=WindowKind.TUMBLING, size=1e-9)) == [[0]]


def test_times_before_1970_have_windows_too() -> None:
    assert bounds(feed([-9, -1], kind=WindowKind.TUMBLING, size=10)) == []
    assert bounds(feed([-1, 15], kind=WindowKind.TUMBLING, size=10)) == [(-10, 0)]


def revisions(fed: list[Fed]) -> list[tuple[list[int], int]]:
    return [([event.position for event in window.events], window.revision) for item in fed for window in item.closed]


def test_a_late_event_within_lateness_makes_its_window_fire_again() -> None:
    fed = feed([1, 11, 2, 3, 16, 4], kind=WindowKind.TUMBLING, size=10, lateness=5)
    assert revisions(fed) == [([0], 0), ([0, 2], 1), ([0, 2, 3], 2)]
    assert fed[5].late == 1
    assert sorted(fed[4].released) == [0, 2, 3]
    assert {window.start for item in fed for window in item.closed} == {0}


def test_a_late_event_whose_window_never_opened_fires_it_for_the_first_time() -> None:
    assert revisions(feed([1, 25, 12], kind=WindowKind.TUMBLING, size=10, lateness=30)) == [([0], 0), ([2], 0)]


def test_a_sliding_window_holds_what_came_within_its_size_before_each_event() -> None:
    fed = feed([0, 3, 5, 6, 10], kind=WindowKind.SLIDING, size=4)
    assert closed(fed) == [[0], [0, 1], [1, 2], [1, 2, 3], [4]]
    assert bounds(fed)[1] == (-1, 3)
    assert [list(item.released) for item in fed] == [[], [], [0], [], [1, 2, 3]]


def test_sliding_windows_of_one_time_end_with_their_own_event() -> None:
    assert closed(feed([1, 1], kind=WindowKind.SLIDING, size=4)) == [[0], [0, 1]]


def test_a_sliding_window_waits_for_the_delay_and_then_stands_in_order() -> None:
    assert closed(feed([1, 3, 2, 9], kind=WindowKind.SLIDING, size=2, delay=4)) == [[0], [0, 2], [2, 1]]


def test_a_late_event_makes_the_sliding_windows_after_it_fire_again() -> None:
    fed = feed([1, 3, 9, 2], kind=WindowKind.SLIDING, size=5, lateness=10)
    assert revisions(fed[3:]) == [([0, 3], 0), ([0, 3, 1], 1)]


def test_a_session_closes_after_a_gap_and_the_next_event_begins_another() -> None:
    fed = feed([1, 3, 6, 10.5, 20], kind=WindowKind.SESSION, gap=4)
    assert closed(fed) == [[0, 1, 2], [3]]
    assert bounds(fed) == [(1, 6), (10.5, 10.5)]


def test_a_session_that_does_not_end_is_cut_at_its_longest() -> None:
    fed = feed([float(second) for second in range(10)], kind=WindowKind.SESSION, gap=4, max_length=3)
    assert closed(fed) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_an_event_out_of_order_joins_two_open_sessions() -> None:
    assert closed(feed([1, 6, 3.5, 30], kind=WindowKind.SESSION, gap=3, delay=10)) == [[0, 2, 1]]


def test_a_late_event_makes_the_session_that_it_belongs_to_fire_again_under_its_first_bounds() -> None:
    fed = feed([1, 3, 20, 2, 5], kind=WindowKind.SESSION, gap=4, lateness=30)
    assert revisions(fed) == [([0, 1], 0), ([0, 3, 1], 1), ([0, 3, 1, 4], 2)]
    assert bounds(fed) == [(1, 3)] * 3


def test_a_late_event_that_belongs_to_no_session_has_one_of_its_own() -> None:
    assert revisions(feed([1, 40, 20], kind=WindowKind.SESSION, gap=4, lateness=30)) == [([0], 0), ([2], 0)]


@pytest.mark.parametrize("kind", [WindowKind.TUMBLING, WindowKind.SLIDING, WindowKind.SESSION])
def test_what_is_too_late_is_dropped_and_counted(kind: WindowKind) -> None:
    fed = feed([1, 40, 2], kind=kind, size=10, gap=4)
    assert (fed[2].late, fed[2].dropped, list(fed[2].released), fed[2].closed) == (1, True, [2], ())


def test_what_lies_within_a_session_that_was_cut_is_late() -> None:
    assert feed([0, 1, 2, 3, 2.5], kind=WindowKind.SESSION, gap=4, max_length=3)[4].late == 1
