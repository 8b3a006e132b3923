from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fleet_controller.store.alarms import AlarmRow, list_alarms, merge, write_alarms
from fleet_controller.store.database import Database, open_database, sqlite_url

ROW = AlarmRow(
    device="d",
    alarm_id="a",
    pipeline="p",
    source="s",
    state="raised",
    severity="warning",
    text=None,
    since=None,
    time="2026-01-01T10:00:00Z",
    first_received=1.0,
    received=1.0,
)


def row(**more: Any) -> AlarmRow:
    return replace(ROW, **more)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(sqlite_url(tmp_path / "controller.db"))
    yield made
    made.close()


RAISED = row()
UPDATED = row(state="updated", severity="critical", time="2026-01-01T12:00:00+01:00")
CLEARED = row(state="cleared", severity="critical", time="2026-01-01T12:00:00Z")


@pytest.mark.parametrize("order", list(permutations([RAISED, UPDATED, CLEARED])))
def test_an_alarm_ends_cleared_in_whatever_order_its_results_come(order: tuple[AlarmRow, ...]) -> None:
    known = order[0]
    for come in order[1:]:
        known = merge(known, come)
    assert (known.state, known.time) == ("cleared", CLEARED.time)


def test_what_is_older_by_event_time_changes_nothing_but_when_something_came() -> None:
    late = replace(RAISED, received=9.0)
    assert merge(UPDATED, late) == replace(UPDATED, received=9.0)
    assert merge(RAISED, replace(UPDATED, received=9.0)) == replace(UPDATED, received=9.0)


@pytest.mark.parametrize("time", [None, "no time", "2026-01-01T00:00:00"])
def test_without_a_comparable_time_the_later_arrival_counts(time: str | None) -> None:
    assert merge(RAISED, replace(UPDATED, time=time)).state == "updated"


def test_those_that_are_on_are_listed_newest_first_and_the_others_if_asked_for(database: Database) -> None:
    with database.write() as connection:
        write_alarms(connection, [row(alarm_id=name, first_received=at) for name, at in (("x", 1.0), ("y", 3.0), ("z", 2.0))])
        write_alarms(connection, [row(alarm_id="z", state="cleared"), row(device="e", alarm_id="w", first_received=4.0)])

    def listed(device: str | None, *, cleared: bool = False, limit: int = 9) -> str:
        with database.read() as connection:
            return "".join(item.alarm_id for item in list_alarms(connection, device, cleared=cleared, limit=limit))

    assert listed(None) == "wyx"
    assert listed("d") == "yx"
    assert listed("d", cleared=True) == "yzx"
    assert listed(None, limit=1) == "w"
