from dataclasses import replace

import msgspec
import pytest

from edge_agent.configuring.policy import (
    MAX_STARTS,
    Breach,
    Span,
    Verdict,
    begin_start,
    compare,
    fall_back,
    find_on_disk,
    is_asked,
    is_returned,
    judge,
)
from edge_agent.configuring.record import Flow, Layer, Record
from fleet_contract.configuration import ConfigurationState as State
from fleet_contract.configuration import DesiredConfiguration
from fleet_contract.reasons import Reason

OLD = Layer(name="farm", revision=1, digest="sha256:1")
NEW = Layer(name="farm", revision=2, digest="sha256:2")
SPAN = Span(time=600.0, reach=300.0, longest=86400.0)


def on_trial(**changes: object) -> Record:
    record = Record(
        state=State.PROBATION, name="farm", revision=2, since="t", current=NEW, previous=OLD, unproven=True, starts=1
    )
    return msgspec.structs.replace(record, **changes)


def test_what_was_being_applied_is_on_probation_after_the_start() -> None:
    record = begin_start(on_trial(state=State.APPLYING, starts=0), "now")
    assert (record.state, record.starts, record.current) == (State.PROBATION, 1, NEW)


def test_the_third_start_without_proof_goes_back() -> None:
    record = on_trial(starts=0)
    for _ in range(MAX_STARTS):
        record = begin_start(record, "now")
        assert record.current == NEW
    record = begin_start(record, "now")
    assert (record.state, record.current, record.reason) == (State.ROLLED_BACK, OLD, Reason.START_FAILED)
    assert record.untold


def test_what_was_gone_back_to_gets_three_starts_too_and_then_the_own_file_alone_is_left() -> None:
    record = fall_back(on_trial(), Reason.START_FAILED, "why", "now")
    assert is_returned(record)
    for _ in range(MAX_STARTS):
        record = begin_start(record, "now")
        assert record.current == OLD
    record = begin_start(record, "now")
    assert (record.current, record.unproven, record.state) == (None, False, State.ROLLED_BACK)
    assert record.detail == "why"


def test_a_proven_configuration_is_not_counted() -> None:
    record = on_trial(state=State.COMMITTED, unproven=False, starts=0)
    for _ in range(5):
        record = begin_start(record, "now")
    assert (record.current, record.starts) == (NEW, 0)


def test_a_start_in_the_middle_of_another_change_does_not_blame_that_one() -> None:
    fallen = fall_back(on_trial(state=State.WAITING, revision=3), Reason.START_FAILED, "why", "now")
    assert (fallen.state, fallen.reason, fallen.current) == (State.WAITING, None, OLD)


def test_a_proven_configuration_that_does_not_load_any_more_gives_way_too() -> None:
    fallen = fall_back(on_trial(state=State.COMMITTED, unproven=False), Reason.CONFIGURATION_INVALID, "why", "now")
    assert (fallen.state, fallen.current) == (State.ROLLED_BACK, OLD)


def test_what_was_refused_is_not_asked_again_until_another_is() -> None:
    record = on_trial(state=State.REJECTED)
    assert not is_asked(record, DesiredConfiguration(name="farm", revision=2))
    assert is_asked(record, DesiredConfiguration(name="farm", revision=1))
    assert is_asked(record, None)
    assert not is_asked(Record(), None)


def test_going_back_finds_what_is_on_the_disk() -> None:
    assert find_on_disk(on_trial(), "farm", 1) == OLD
    assert find_on_disk(on_trial(), "farm", 3) is None


BEFORE = {"echo": Flow(events=100, answers=50, seconds=100.0)}
WATCHED = on_trial(before=BEFORE)


def test_without_the_broker_it_is_taken_back_when_the_time_is_over() -> None:
    assert judge(WATCHED, {}, 299.0, reached=False, span=SPAN) is Verdict.WAIT
    verdict = judge(WATCHED, {}, 300.0, reached=False, span=SPAN)
    assert isinstance(verdict, Breach)
    assert verdict.reason is Reason.BROKER_UNREACHABLE


def test_a_pipeline_that_takes_events_and_gives_nothing_is_found_before_the_time_is_over() -> None:
    assert judge(WATCHED, {"echo": Flow(events=15)}, 5.0, reached=True, span=SPAN) is Verdict.WAIT
    verdict = judge(WATCHED, {"echo": Flow(events=16)}, 5.0, reached=True, span=SPAN)
    assert isinstance(verdict, Breach)
    assert verdict.reason is Reason.PIPELINE_SILENT


def test_a_pipeline_whose_events_stay_away_is_found_by_what_it_did_before() -> None:
    assert isinstance(judge(WATCHED, {"echo": Flow()}, 600.0, reached=True, span=SPAN), Breach)


def test_a_sensor_that_hardly_speaks_is_no_breach() -> None:
    rare = on_trial(before={"echo": Flow(events=2, answers=2, seconds=1000.0)})
    assert judge(rare, {"echo": Flow()}, 600.0, reached=True, span=SPAN) is Verdict.PROVEN


def test_other_windows_get_the_longest_time() -> None:
    changed = on_trial(before={"echo": replace_flow(comparable=False)})
    flow = {"echo": Flow(events=1000)}
    assert judge(changed, flow, 600.0, reached=True, span=SPAN) is Verdict.WAIT
    assert isinstance(judge(changed, flow, SPAN.longest, reached=True, span=SPAN), Breach)


def replace_flow(**changes: object) -> Flow:
    return msgspec.structs.replace(BEFORE["echo"], **changes)


@pytest.mark.parametrize("flow", [{}, {"echo": Flow(events=1, answers=1)}])
def test_it_is_proven_when_all_pipelines_answer_or_are_gone(flow: dict[str, Flow]) -> None:
    assert judge(WATCHED, flow, 599.0, reached=True, span=SPAN) is Verdict.WAIT
    assert judge(WATCHED, flow, 600.0, reached=True, span=SPAN) is Verdict.PROVEN


def test_a_pipeline_that_never_gave_anything_is_not_waited_for() -> None:
    flows = {"echo": Flow(events=10, answers=5), "idle": Flow(events=10)}
    assert set(compare(Record(), flows, frozenset(flows))) == {"echo"}


def test_what_was_before_an_unproven_configuration_is_what_counts() -> None:
    silent = {"echo": Flow(events=100)}
    assert compare(WATCHED, silent, frozenset({"echo"})) == BEFORE


def test_the_span_is_what_the_device_says() -> None:
    quick = replace(SPAN, time=0.0)
    assert judge(on_trial(), {}, 0.0, reached=True, span=quick) is Verdict.PROVEN
