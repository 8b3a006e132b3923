from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.committing import FULL_RETRY_MAX, RETRY_MAX, Commits
from edge_agent.journal.batch import Batch, OutboxRow
from edge_agent.journal.errors import StoreError, StoreFull
from edge_agent.settings import StoreSettings
from fleet_contract.reasons import Reason


class Time:
    """A loop whose timers are made to run at once, and that remembers how long they were to wait."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._call: Callable[[], object] | None = None

    def call_later(self, delay: float, call: Callable[[], object]) -> None:
        self.delays.append(delay)
        self._call = call

    def run(self) -> None:
        assert self._call is not None
        self._call()


class Store:
    """Answers each batch with `error`."""

    def __init__(self, error: StoreError | None) -> None:
        self.error = error
        self.taken: list[Batch] = []

    def submit(self, batch: Batch, done: Callable[[StoreError | None], None], *, urgent: bool = True) -> None:
        if self.error is None:
            self.taken.append(batch)
        done(self.error)


@pytest.mark.parametrize(
    ("error", "longest"),
    [
        (StoreFull("the outbox is full", Reason.OUTBOX_FULL), FULL_RETRY_MAX),
        (StoreError("disk I/O error", temporary=True), RETRY_MAX),
    ],
)
def test_a_refused_commit_is_tried_again_soon_where_only_a_bound_stands_against_it(error: StoreError, longest: float) -> None:
    time, store, refused = Time(), Store(error), []
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    loop: Any = time
    commits = Commits(
        StoreSettings(),
        loop,
        store,
        Counter(),
        0,
        acknowledge=nothing,
        on_scored=nothing,
        on_refused=refused.append,
        on_broken=nothing,
    )
    commits.next.batch.outbox.append(OutboxRow("result", "t", b"{}", durable=True))
    commits.next.touch()
    commits.flush()
    for _ in range(12):
        time.run()
    assert max(time.delays) == time.delays[-1] == longest
    assert time.delays[:2] == [0.5, 1.0]
    assert refused == [error]
    store.error = None
    time.run()
    assert (len(store.taken), commits.idle) == (1, True)
