from typing import Any

from edge_agent.ingest.events import Sample, Value
from edge_agent.pipeline.join import MAX_CELLS, join
from edge_agent.pipeline.windows import MICROS, ClosedWindow, Event
from edge_agent.settings import Aggregate, JoinMethod, JoinSettings, WindowKind


def window(*rows: tuple[float | None, dict[str, Value]], kind: WindowKind = WindowKind.COUNT, start: float = 0, end: float = 0):
    events = tuple(
        Event(place, f"e{place}", Sample("s", time, None, values, dict.fromkeys(values, "Cel")))
        for place, (time, values) in enumerate(rows)
    )
    return ClosedWindow("s", kind, events, 0, round(start * MICROS), round(end * MICROS))


def joined(closed: ClosedWindow, **how: Any) -> list[dict[str, Value]]:
    return [event.sample.values for event in join(closed, JoinSettings(**how)).events]


def grid(closed: ClosedWindow, **how: Any) -> list[tuple[float | None, Value]]:
    made = join(closed, JoinSettings(method=JoinMethod.RESAMPLE, **how))
    return [(event.sample.time, event.sample.values["x"]) for event in made.events]


def test_each_event_takes_the_last_known_value_of_what_it_lacks() -> None:
    rows = window((1.0, {"x": 1}), (2.0, {"y": 10}), (3.0, {"x": 3, "y": None}), (4.0, {"z": True}))
    assert joined(rows) == [{"x": 1}, {"y": 10, "x": 1}, {"x": 3, "y": 10}, {"z": True, "x": 3, "y": 10}]
    assert join(rows, JoinSettings()).events[1].sample.units == {"x": "Cel", "y": "Cel"}


def test_a_value_that_is_too_old_is_not_taken() -> None:
    rows = window((1.0, {"x": 1}), (4.0, {"y": 1}), (4.5, {"y": 2}))
    assert joined(rows, max_age=3) == [{"x": 1}, {"y": 1, "x": 1}, {"y": 2}]


def test_without_times_nobody_knows_how_old_a_value_is() -> None:
    rows = window((None, {"x": 1}), (None, {"y": 1}))
    assert joined(rows, max_age=3) == [{"x": 1}, {"y": 1}]
    assert joined(rows) == [{"x": 1}, {"y": 1, "x": 1}]


def test_joining_leaves_the_window_itself_as_it_is() -> None:
    rows = window((1.0, {"x": 1}), (2.0, {"y": 10}))
    join(rows, JoinSettings())
    assert [event.sample.values for event in rows.events] == [{"x": 1}, {"y": 10}]


def test_a_window_is_put_on_a_grid_from_its_start_to_its_end() -> None:
    rows = window((0.5, {"x": 1}), (0.7, {"x": 2}), (2.0, {"x": 4}), kind=WindowKind.TUMBLING, end=4)
    assert grid(rows, every=1) == [(0.0, 2), (1.0, None), (2.0, 4), (3.0, None)]
    assert [value for _, value in grid(rows, every=2, aggregate=Aggregate.SUM)] == [3.0, 4.0]


def test_the_values_of_a_cell_are_aggregated_and_texts_are_no_numbers() -> None:
    rows = window((0.0, {"x": 1}), (0.1, {"x": "off"}), (0.2, {"x": 5}), kind=WindowKind.TUMBLING, end=1)
    found = {how: grid(rows, every=1, aggregate=how)[0][1] for how in Aggregate}
    assert found == {"last": 5, "mean": 3.0, "min": 1.0, "max": 5.0, "sum": 6.0}


def test_a_sliding_window_ends_with_its_event_and_so_does_its_grid() -> None:
    rows = window((1.5, {"x": 1}), (2.0, {"x": 2}), (3.0, {"x": 3}), kind=WindowKind.SLIDING, start=1, end=3)
    assert grid(rows, every=1) == [(1.0, 2), (2.0, 3)]


def test_a_window_without_bounds_has_its_grid_between_its_events() -> None:
    assert grid(window((12.0, {"x": 1}), (25.0, {"x": 2})), every=10) == [(10.0, 1), (20.0, 2)]


def test_a_grid_is_bounded_and_the_newest_cells_stay() -> None:
    made = grid(window((0.0, {"x": 1}), (1e9, {"x": 2})), every=1)
    assert (len(made), made[-1]) == (MAX_CELLS, (1e9, 2))


def test_events_without_times_are_on_no_grid() -> None:
    rows = window((None, {"x": 1}))
    assert join(rows, JoinSettings(method=JoinMethod.RESAMPLE, every=1)) is rows
