"""The lowest class goes first, then the oldest row; what is durable goes only if that is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.journal.batch import Counts, OutboxRow, Priority
from edge_agent.journal.eviction import Bounds, Cause, Cut, Load, load_of, plan

NOTE, RESULT, PLAIN = Priority


def rows(*priorities: Priority, size: int = 10) -> list[OutboxRow]:
    return [OutboxRow("result", "t", bytes(size), durable=False, priority=priority) for priority in priorities]


def held(notes: int, results: int, plain: int, size: int = 10) -> Counts:
    total = notes + results + plain
    return Counts(0, total, total * size, 0, 0, results, results * size, plain, plain * size)


BOUNDS = Bounds(100, 10_000)
EVICTING = Bounds(100, 10_000, evict_durable=True)


@pytest.mark.parametrize(
    ("counts", "coming", "bounds", "expected"),
    [
        (held(0, 50, 44), rows(PLAIN), BOUNDS, ()),
        (held(0, 50, 45), rows(PLAIN), BOUNDS, (Cut(PLAIN, Load(1, 0), Cause.ROWS),)),
        (held(0, 50, 45), rows(RESULT, RESULT), BOUNDS, (Cut(PLAIN, Load(2, 0), Cause.ROWS),)),
        (held(0, 95, 0), rows(RESULT), BOUNDS, Cause.ROWS),
        (held(0, 95, 0), rows(PLAIN), BOUNDS, Cause.ROWS),
        (held(0, 95, 0), rows(NOTE), BOUNDS, ()),
        (held(0, 95, 5), rows(NOTE), BOUNDS, (Cut(PLAIN, Load(1, 0), Cause.ROWS),)),
        (held(5, 95, 0), rows(NOTE), BOUNDS, Cause.ROWS),
        (held(0, 95, 0), rows(NOTE, RESULT), BOUNDS, Cause.ROWS),
        (held(0, 95, 0), rows(RESULT), EVICTING, (Cut(RESULT, Load(1, 0), Cause.ROWS),)),
        (held(0, 95, 0), rows(PLAIN), EVICTING, Cause.ROWS),
        (held(95, 0, 0), rows(RESULT), EVICTING, Cause.ROWS),
        (held(97, 1, 2), rows(NOTE, NOTE), EVICTING, (Cut(PLAIN, Load(2, 0), Cause.ROWS),)),
        (
            held(97, 1, 2),
            rows(*[NOTE] * 4),
            EVICTING,
            (
                Cut(PLAIN, Load(2, 20), Cause.ROWS),
                Cut(RESULT, Load(1, 10), Cause.ROWS),
                Cut(NOTE, Load(1, 0), Cause.ROWS),
            ),
        ),
        (held(0, 20, 30, size=200), rows(PLAIN), BOUNDS, (Cut(PLAIN, Load(0, 510), Cause.BYTES),)),
        (held(0, 47, 0, size=200), rows(RESULT, size=101), BOUNDS, Cause.BYTES),
    ],
)
def test_what_goes(counts: Counts, coming: list[OutboxRow], bounds: Bounds, expected: tuple[Cut, ...] | Cause) -> None:
    assert plan(counts, coming, bounds) == expected


PRIORITIES = st.sampled_from(Priority)


@given(
    st.tuples(*[st.integers(0, 120)] * 3),
    st.integers(0, 300),
    st.lists(PRIORITIES, min_size=1, max_size=20),
    st.booleans(),
)
def test_after_the_cuts_the_rows_fit_and_nothing_goes_that_must_not(
    there: tuple[int, int, int], size: int, priorities: list[Priority], evict_durable: bool
) -> None:
    counts = held(*there, size=size)
    bounds = Bounds(100, 10_000, evict_durable)
    coming = rows(*priorities, size=size)
    cuts = plan(counts, coming, bounds)
    if isinstance(cuts, Cause):
        return
    allowed = bounds.for_class(max(priorities))
    gone = sum(max(cut.least.rows, -(-cut.least.size // size) if size else 0) for cut in cuts)
    assert counts.outbox_rows - gone + len(coming) <= allowed.rows
    assert (counts.outbox_rows - gone + len(coming)) * size <= allowed.size
    for cut in cuts:
        assert cut.priority is PLAIN or evict_durable
        assert cut.priority >= min(priorities)
        assert cut.least.rows <= load_of(counts, cut.priority).rows
        assert cut.least.size <= load_of(counts, cut.priority).size
