"""The log of moves: every line as the table says, a chain without a gap, bounded."""

from edge_agent.updates.history import KEPT, advance, begin, resume
from edge_agent.updates.ledger import Ledger, UpdateRecord
from edge_agent.updates.machine import Event
from fleet_contract.reasons import Reason
from fleet_contract.update_report import UpdateState as State


def fresh(ledger: Ledger) -> UpdateRecord:
    record = UpdateRecord(model="frost", release=2, since="t0")
    begin(ledger, record)
    return record


def test_each_move_is_kept_with_time_event_and_reason() -> None:
    ledger = Ledger()
    record = fresh(ledger)
    advance(ledger, record, Event.BEGIN, "t1")
    record.reason = Reason.DOWNLOAD_FAILED
    advance(ledger, record, Event.RETRY, "t2")
    advance(ledger, record, Event.BEGIN, "t3")
    moves = ledger.history["frost"]
    assert [(item.time, item.before, item.event, item.after, item.reason) for item in moves] == [
        ("t0", None, "desired", State.WAITING, None),
        ("t1", State.WAITING, Event.BEGIN, State.FETCHING, None),
        ("t2", State.FETCHING, Event.RETRY, State.WAITING, Reason.DOWNLOAD_FAILED),
        ("t3", State.WAITING, Event.BEGIN, State.FETCHING, None),
    ]
    assert record.since == "t3"
    assert ledger.records["frost"] is record


def test_a_restart_in_the_middle_is_kept_and_counted_and_one_outside_is_not() -> None:
    ledger = Ledger()
    record = fresh(ledger)
    resume(ledger, record, "t1")
    assert (record.interruptions, len(ledger.history["frost"])) == (0, 1)
    advance(ledger, record, Event.BEGIN, "t2")
    resume(ledger, record, "t3")
    assert (record.state, record.interruptions) == (State.WAITING, 1)
    last = ledger.history["frost"][-1]
    assert (last.before, last.event, last.after) == (State.FETCHING, "restart", State.WAITING)
    record.state = State.COMMITTED
    resume(ledger, record, "t4")
    assert (record.interruptions, len(ledger.history["frost"])) == (1, 3)


def test_only_the_newest_moves_of_a_model_stay() -> None:
    ledger = Ledger()
    record = fresh(ledger)
    for number in range(KEPT):
        advance(ledger, record, Event.BEGIN, f"b{number}")
        advance(ledger, record, Event.RETRY, f"r{number}")
    moves = ledger.history["frost"]
    assert len(moves) == KEPT
    assert (moves[0].time, moves[-1].time) == (f"b{KEPT // 2}", f"r{KEPT - 1}")
