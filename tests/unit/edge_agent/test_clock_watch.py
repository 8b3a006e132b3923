from typing import Any

from edge_agent.clock_watch import ClockWatch
from fleet_contract.reasons import Reason


def test_a_clock_that_is_behind_is_told_once_and_once_more_when_it_is_right() -> None:
    notes: list[dict[str, Any]] = []
    now = [0.0]
    watch = ClockWatch(lambda **fields: notes.append(fields), lambda: 1000.0, lambda: now[0])
    watch.look()
    watch.look()
    assert watch.behind == 1000.0
    assert [item["reason"] for item in notes] == [Reason.CLOCK_BEHIND]
    now[0] = 1000.0
    watch.look()
    watch.look()
    assert watch.behind is None
    assert len(notes) == 2
    assert "reason" not in notes[1]
