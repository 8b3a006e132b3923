"""SIGKILL at every persisted step of the machine, just before the write and just after it.

`scenario.py` makes the rows from the machine's table. Each is a process of its own (`life.py`); the figures of each row are
printed with `-s`: what it ends in, who answers, why, lives, events answered, moves in the log, seconds.
"""

from collections.abc import Callable

import pytest

from fleet_contract.reasons import Reason
from fleet_contract.update_report import UpdateState as State
from tests.faults.updates.device import ENDED, KILLED, Device, ended_in
from tests.faults.updates.fleet import read_ledger
from tests.faults.updates.scenario import GOOD, Kill, Row, Step, rows, unused


def test_every_transition_of_the_table_has_rows_and_every_scenario_is_played() -> None:
    assert not unused()
    assert len({str(row) for row in rows()}) == len(rows())


@pytest.mark.parametrize("row", rows(), ids=str)
def test_a_device_that_is_killed_at_this_step_ends_in_a_good_state(device: Callable[[str], Device], row: Row) -> None:
    made = device(row.scenario)
    if row.first is not None:
        assert made.live(row.first) == KILLED, made.log()
    assert made.live(row.step, row.kill) == KILLED, made.log()
    assert made.live() == ENDED, made.log()
    print(f"\n{row!s:<75} {made.check()}", end=" ")


def test_a_boot_loop_ends_with_the_incumbent(device: Callable[[str], Device]) -> None:
    made = device(GOOD)
    while made.live(Step(State.TESTING, "passed", State.SHADOWING), Kill.BEFORE) == KILLED:
        assert len(made.exits) < 20, "it goes on for ever"
    ending = ended_in(read_ledger(made.folder / "state" / "agent.db"))
    assert (ending.state, ending.release, ending.reason) == (State.REJECTED, 1, Reason.INTERRUPTED)


def test_a_kill_is_where_the_row_says(device: Callable[[str], Device]) -> None:
    before = device(GOOD)
    assert before.live(Step(State.STAGING, "staged", State.TESTING), Kill.BEFORE) == KILLED
    assert ended_in(read_ledger(before.folder / "state" / "agent.db")).state == State.STAGING
    assert before.live(Step(State.TESTING, "passed", State.SHADOWING), Kill.AFTER) == KILLED
    assert ended_in(read_ledger(before.folder / "state" / "agent.db")).state == State.SHADOWING
