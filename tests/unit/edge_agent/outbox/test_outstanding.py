"""Nothing is deleted unacknowledged, nothing acknowledged is sent again, the order is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.journal.batch import OutboxRow, Priority
from edge_agent.outbox.outstanding import Outstanding
from edge_agent.outbox.policy import (
    MAX_UNSETTLED_BYTES,
    MAX_UNSETTLED_ROWS,
    RESEND_LONGEST,
    RESERVED_ROWS,
    UNRESERVED_BYTES,
    UNRESERVED_ROWS,
    may_send,
    resend_delay,
    stamp,
    stamp_prefix,
)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.booleans()),
        st.tuples(st.just("publish"), st.booleans()),
        st.tuples(st.just("ack"), st.integers(0, 40), st.integers(0, 10)),
        st.tuples(st.just("reconnect")),
        st.tuples(st.just("wait"), st.floats(0, 700)),
    ),
    max_size=120,
)


@given(STEPS)
def test_rows_settle_exactly_once_and_only_for_their_own_reason(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    outstanding = Outstanding()
    now, seq = 0.0, 0
    durable: dict[int, bool] = {}
    flying: list[int] = []
    settled: set[int] = set()
    acknowledged: set[int] = set()
    for step in steps:
        match step:
            case ("send", kind):
                seq += 1
                durable[seq] = kind
                outstanding.sent(OutboxRow("result", "t", b"{}", durable=kind, seq=seq), now)
                flying.append(seq)
            case ("publish", ok) if flying:
                number = flying.pop(0)
                gone = outstanding.published(number, ok, now)
                assert gone == (ok and not durable[number])
                settled |= {number} if gone else set()
            case ("ack", low, width):
                gone_now = outstanding.acknowledged([(low, low + width)])
                assert all(durable[number] and low <= number <= low + width for number in gone_now)
                assert not settled & set(gone_now)
                settled |= set(gone_now)
                acknowledged |= set(gone_now)
            case ("reconnect",):
                flying.clear()
                outstanding.disconnected()
                outstanding.connected()
                line = _send_all_again(outstanding, now)
                assert line == sorted(set(durable) - settled, key=lambda number: (not durable[number], number))
                flying += line
            case ("wait", seconds):
                now += seconds
                outstanding.collect_due(now)
                line = _send_all_again(outstanding, now)
                assert line == sorted(line, key=lambda number: (not durable[number], number))
                assert not set(line) & (acknowledged | settled | set(flying))
                flying += line
        assert {number for number in durable if number in outstanding} == set(durable) - settled


def _send_all_again(outstanding: Outstanding, now: float) -> list[int]:
    line: list[int] = []
    for priority in Priority:
        while (row := outstanding.next_again(priority)) is not None:
            assert row.priority is priority
            line.append(row.seq)
            outstanding.sent(row, now)
    return line


def test_a_silent_controller_is_asked_after_30_s_doubling_to_10_min() -> None:
    outstanding = Outstanding()
    outstanding.sent(OutboxRow("note", "t", b"{}", durable=True, seq=1), 0.0)
    outstanding.published(1, True, 0.0)
    now, delays = 0.0, []
    for _ in range(7):
        due = outstanding.next_due()
        assert due is not None
        assert outstanding.collect_due(due - 0.001) == 0
        assert outstanding.collect_due(due) == 1
        delays.append(due - now)
        now = due
        _send_all_again(outstanding, now)
        outstanding.published(1, True, now)
    assert delays == [30, 60, 120, 240, 480, 600, 600]


def test_an_enormous_range_costs_only_the_rows_that_are_held() -> None:
    outstanding = Outstanding()
    outstanding.sent(OutboxRow("note", "t", b"{}", durable=True, seq=3), 0.0)
    assert outstanding.acknowledged([(5, 4), (-(2**62), 2**62)]) == [3]


@given(st.integers(1, 10_000), st.booleans())
def test_delays_stay_within_their_bounds(attempts: int, refused: bool) -> None:
    assert 0 < resend_delay(attempts, refused=refused) <= RESEND_LONGEST


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 2**23)), max_size=600))
def test_what_is_unsettled_is_bounded_and_each_class_keeps_its_places(rows: list[tuple[Priority, int]]) -> None:
    held, sizes = [0, 0, 0], [0, 0, 0]
    for priority, size in rows:
        if may_send(held, sizes, priority, size):
            others = sum(sizes)
            held[priority] += 1
            sizes[priority] += size
            assert held[priority] == 1 or others + size <= MAX_UNSETTLED_BYTES
    assert sum(held) <= MAX_UNSETTLED_ROWS


ROWS = st.tuples(*[st.integers(0, 100)] * 3)
SIZES = st.tuples(*[st.integers(0, 2**22)] * 3)


@given(ROWS, SIZES, st.sampled_from(Priority), st.integers(0, 2**20))
def test_below_what_is_reserved_any_row_may_be_sent(
    held: tuple[int, int, int], sizes: tuple[int, int, int], priority: Priority, size: int
) -> None:
    if sum(held) < UNRESERVED_ROWS and sum(sizes) + size <= UNRESERVED_BYTES:
        assert may_send(held, sizes, priority, size)


@pytest.mark.parametrize("priority", list(Priority))
def test_a_class_that_nobody_settles_leaves_the_others_their_places(priority: Priority) -> None:
    held, sizes = [0, 0, 0], [0, 0, 0]
    while may_send(held, sizes, priority, 100):
        held[priority] += 1
        sizes[priority] += 100
    others = [other for other in Priority if other is not priority]
    assert held[priority] == MAX_UNSETTLED_ROWS - sum(RESERVED_ROWS[other] for other in others)
    for other in others:
        for _ in range(RESERVED_ROWS[other]):
            assert may_send(held, sizes, other, 100)
            held[other] += 1
    assert not any(may_send(held, sizes, any_class, 100) for any_class in Priority)


def test_large_rows_of_one_class_leave_the_others_their_bytes_and_one_row_always_fits() -> None:
    assert may_send([0, 0, 9], [0, 0, MAX_UNSETTLED_BYTES], Priority.NOTE, 2**40)
    assert not may_send([1, 0, 9], [1, 0, MAX_UNSETTLED_BYTES], Priority.NOTE, 1)
    assert not may_send([0, 0, 6], [0, 0, 6 * 1024**2], Priority.PLAIN, 1024**2)
    assert may_send([0, 1, 6], [0, 10, 6 * 1024**2], Priority.RESULT, 1024**2 - 10)


def test_stream_and_seq_are_written_into_the_object() -> None:
    prefix = stamp_prefix("ab")
    assert stamp(prefix, 7, b'{"x":1}') == b'{"stream":"ab","seq":7,"x":1}'
    assert stamp(prefix, 7, b'{"stream":"","seq":0,"x":1}') == b'{"stream":"ab","seq":7,"x":1}'
    assert stamp(prefix, 7, b"{}") == b'{"stream":"ab","seq":7}'
