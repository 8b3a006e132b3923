from typing import Any

import pytest

from edge_agent.ingest.events import Sample
from edge_agent.pipeline import lanes
from edge_agent.pipeline.lanes import Lane, Sensor
from edge_agent.pipeline.windows import BACKLOG, Event, Fed, lane_key
from edge_agent.settings import WindowKind, WindowSettings

HOUR = 3600.0
DAY = 24 * HOUR


def make(**window: Any) -> Sensor:
    return Sensor("s", WindowSettings(**window), (None, None), (None, None))


def feed(sensor: Sensor, *times: float | None, quality: tuple[str, ...] = (), first: int = 0) -> list[Fed]:
    return [
        sensor.feed(Event(number, str(number), Sample("s", time, None, {}, {}, None, quality)))
        for number, time in enumerate(times, first)
    ]


def closed(fed: list[Fed]) -> list[tuple[list[int], str]]:
    return [([event.position for event in window.events], window.timeliness) for item in fed for window in item.closed]


def test_an_event_that_is_much_older_than_the_newest_is_backlog() -> None:
    fed = feed(make(size=2), HOUR, 0.0, HOUR - 601, HOUR - 599)
    assert [item.historical for item in fed] == [False, True, True, False]
    assert closed(fed) == [([1, 2], "backlog"), ([0, 3], "live")]


def test_an_event_that_its_source_calls_historical_is_backlog_however_new() -> None:
    sensor = make(backlog_after=None)
    assert closed(feed(sensor, HOUR, 2 * HOUR, quality=("retained", "historical"))) == [([0], "backlog"), ([1], "backlog")]
    assert closed(feed(sensor, 0.0, first=2)) == [([2], "live")]


def test_the_backlog_has_a_watermark_of_its_own() -> None:
    sensor = make(kind=WindowKind.TUMBLING, size=60)
    assert closed(feed(sensor, DAY)) == []
    assert closed(feed(sensor, 10.0, 20.0, 70.0, first=1)) == [([1, 2], "backlog")]
    fed = feed(sensor, DAY + 60, 15.0, first=4)
    assert closed(fed) == [([0], "live")]
    assert (fed[1].late, fed[1].historical) == (1, True)


def test_one_event_far_in_the_future_closes_no_window() -> None:
    sensor = make(kind=WindowKind.TUMBLING, size=60)
    fed = feed(sensor, 10.0, 400 * DAY, 20.0, 70.0)
    assert closed(fed) == [([0, 2], "live")]
    assert [item.jumped for item in fed] == [0, 0, 1, 0]
    assert list(fed[2].released) == [1]


def test_a_jump_that_the_next_event_confirms_is_taken_in_order() -> None:
    fed = feed(make(size=3), 0.0, 3 * DAY, 3 * DAY + 60)
    assert closed(fed) == [([0, 1, 2], "live")]
    assert [item.changed for item in fed][1:] == [True, True]


def test_a_jump_to_nowhere_is_not_confirmed_by_the_end_of_an_outage() -> None:
    fed = feed(make(size=4), 0.0, 900 * DAY, 3 * DAY, 3 * DAY + 60, 3 * DAY + 120)
    assert closed(fed) == [([0, 2, 3, 4], "live")]
    assert sum(item.jumped for item in fed) == 1


def test_an_event_without_a_time_cannot_confirm_a_jump() -> None:
    fed = feed(make(size=2), 0.0, 3 * DAY, None)
    assert (closed(fed), fed[2].jumped) == ([([0, 2], "live")], 1)


def test_a_jump_of_exactly_the_limit_is_none() -> None:
    assert closed(feed(make(), 0.0, DAY, 2 * DAY)) == [([0], "live"), ([1], "live"), ([2], "live")]


def restart(before: Sensor, window: WindowSettings) -> Sensor:
    return Sensor("s", window, (before.live.dump(), None), (before.backlog.dump(), None))


def test_an_event_that_is_held_back_is_held_back_after_a_restart() -> None:
    window = WindowSettings(size=2)
    sensor = make(size=2)
    feed(sensor, 0.0, 3 * DAY)
    again = restart(sensor, window)
    for number, time in enumerate((0.0, 3 * DAY)):
        fed = again.reattach(Event(number, str(number), Sample("s", time, None, {}, {})), historical=False)
        assert (fed.closed, fed.released) == ((), ())
    assert [item.closed for item in again.resume()] == [()]
    assert closed(feed(again, 3 * DAY + 1, first=2)) == [([0, 1], "live")]


def test_a_refuted_event_that_another_pipeline_keeps_in_the_journal_is_not_taken_after_a_restart() -> None:
    window = WindowSettings(size=3)
    sensor = make(size=3)
    feed(sensor, 0.0, 3 * DAY, 1.0)
    again = restart(sensor, window)
    fed = [
        again.reattach(Event(number, str(number), Sample("s", time, None, {}, {})), historical=False)
        for number, time in enumerate((0.0, 3 * DAY, 1.0))
    ]
    assert [list(item.released) for item in fed] == [[], [1], []]
    assert closed(feed(again, 2.0, first=3)) == [([0, 2, 3], "live")]


def test_refuted_events_are_remembered_within_bounds_the_nearest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_REFUTED", 3)
    sensor = make()
    for number in range(0, 20, 2):
        feed(sensor, float(number), (100 - number) * DAY, first=number)
    assert [place for _, place in sensor.live.refuted] == [17, 15, 13]


@pytest.mark.parametrize("kind", [WindowKind.TUMBLING, WindowKind.SESSION])
def test_silence_closes_open_windows_and_then_lets_go_of_those_that_lateness_keeps(kind: WindowKind) -> None:
    lane = make(kind=kind, size=60, gap=10, lateness=100).live
    fed = Fed("s")
    lane.place(Event(0, "0", Sample("s", 5.0, None, {}, {})), fed)
    assert lane.windows.idle(fed)
    assert (closed([fed]), fed.released, fed.changed) == ([([0], "live")], (), True)
    later = Fed("s")
    lane.place(Event(1, "1", Sample("s", 4.0, None, {}, {})), later)
    assert [window.revision for window in later.closed] == [1]
    gone = Fed("s")
    assert not lane.windows.idle(gone)
    assert sorted(gone.released) == [0, 1]
    late = Fed("s")
    lane.place(Event(2, "2", Sample("s", 3.0, None, {}, {})), late)
    assert (late.late, late.closed) == (1, ())


def test_silence_fires_sliding_windows_that_wait_and_keeps_their_events() -> None:
    lane: Lane = make(kind=WindowKind.SLIDING, size=60, delay=30).live
    fed = Fed("s")
    lane.place(Event(0, "0", Sample("s", 5.0, None, {}, {})), fed)
    assert closed([fed]) == []
    assert not lane.windows.idle(fed)
    assert (closed([fed]), fed.released) == ([([0], "live")], ())


def test_no_two_lanes_share_a_key_whatever_sensors_call_themselves() -> None:
    names = ["a", "a\x1f", f"a\x1f{BACKLOG}", f"a\x1f\x1f{BACKLOG}"]
    keys = [lane_key(name, lane) for name in names for lane in ("live", BACKLOG)]
    assert len(set(keys)) == len(keys)


def test_after_a_restart_an_event_that_was_late_for_one_of_its_windows_does_not_make_that_one_fire() -> None:
    window = WindowSettings(kind=WindowKind.HOPPING, size=2, step=1)
    before = make(kind=WindowKind.HOPPING, size=2, step=1)
    fed = feed(before, 13.0, 12.0)
    assert [(item.late, item.changed) for item in fed] == [(0, False), (0, True)]  # so it is stored
    again = Sensor("s", window, (before.live.dump(), None), (None, None))
    for number, time in enumerate((13.0, 12.0)):
        again.reattach(Event(number, str(number), Sample("s", time, None, {}, {})), historical=False)
    assert [item.closed for item in again.resume()] == [()]


def test_a_confirmed_jump_into_a_window_that_silence_has_closed_is_late_and_remembered() -> None:
    sensor = make(kind=WindowKind.TUMBLING, size=7 * DAY)
    feed(sensor, 0.0)
    sensor.live.windows.idle(Fed("s"))
    fed = feed(sensor, 3 * DAY, 3 * DAY + 60, first=1)
    assert (fed[1].late, fed[1].dropped) == (2, True)
    assert [place for _, place in sensor.live.refuted] == [1]
