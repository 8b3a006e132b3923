"""What the engine knows of each event that it is taking over, and the group commit that it is gathering.

Pure bookkeeping: no I/O. An event is *held* by every buffer and every unfinished window that contains it. When nothing holds
it any more it is done: if it was never journaled it never will be, otherwise its journal row is forgotten.
"""

import time
from typing import Final, Protocol

from edge_agent.ingest.events import Decoded
from edge_agent.journal.batch import Batch
from edge_agent.link.port import Delivery

KEPT: Final = "decoded"
"""Beside a journaled message's properties: what decoders that remember made of it."""
PLACED: Final = "placed"
"""Beside them too: which samples a pipeline took as backlog or dropped, for that depends on what came before."""
SKIPPED: Final = "skipped"
"""And the owners of routes whose pipelines did not get it: it was a repeat for them, or they could not read it."""
REPLAYED: Final = "replayed"
"""Beside the properties of a dead letter that is taken in again: the pipeline that could not use it. No other gets it twice."""

CHAINED: Final = "chained"
"""In their place, for an event that is a pipeline's result: the pipeline."""


class Keeper(Protocol):
    """Who has states to store: a pipeline for each sensor, a decoder for each stream."""

    def state(self, key: str) -> bytes | None: ...


class Taking:
    """One event (one MQTT message) on its way."""

    __slots__ = ("decoded", "delivery", "event_no", "holds", "journaled", "placed", "scoring", "skipped", "started")

    def __init__(self, event_no: int, delivery: Delivery | None, started: float) -> None:
        self.event_no = event_no
        self.decoded: dict[str, Decoded] | None = None
        """By decoder, where what the message means depends on those before it: the journal keeps that meaning."""
        self.delivery = delivery
        """None for an event that was read back from the journal."""
        self.placed: dict[str, list[tuple[int, int]]] | None = None
        """By pipeline, (index of the sample, `Fed.placed`) of those that were not simply taken in."""
        self.skipped: list[str] = []
        """Owners of routes, see `SKIPPED`."""
        self.holds = 0
        self.scoring = 0
        """Windows that this event closed and that are not finished."""
        self.journaled = delivery is None
        self.started = started
        """When it arrived, on the monotonic clock."""

    def place(self, pipeline: str, index: int, placed: int) -> None:
        """Remember what a pipeline made of one sample, for the journal."""
        if self.placed is None:
            self.placed = {}
        self.placed.setdefault(pipeline, []).append((index, placed))


def no_event() -> Taking:
    """Stands for the event that closed a window where none has."""
    return Taking(0, None, time.monotonic())


class GroupCommit:
    """What the next transaction will hold, and what has to happen when it is durable."""

    __slots__ = ("batch", "deliveries", "oldest", "qos0", "scored", "states", "takings")

    def __init__(self) -> None:
        self.batch = Batch()
        self.deliveries: list[Delivery] = []
        """To be acknowledged after the commit, in order of arrival."""
        self.takings: list[Taking] = []
        self.qos0 = 0
        """How many of the events came with QoS 0."""
        self.scored: list[tuple[str, int, float]] = []
        """(model, release, arrival on the monotonic clock) of each result in it."""
        self.states: dict[tuple[str, str], Keeper] = {}
        """(pipeline, sensor) or (decoder, stream) whose state has changed; encoded when the commit is submitted."""
        self.oldest: float | None = None

    def touch(self, now: float | None = None) -> None:
        """Note that there is something to commit since `now`."""
        if self.oldest is None:
            self.oldest = time.monotonic() if now is None else now

    def append(self, later: "GroupCommit") -> None:
        """Join what came after this commit to it, which was refused and will be tried again."""
        batch, more = self.batch, later.batch
        batch.outbox += more.outbox
        batch.dead_letters += more.dead_letters
        batch.dead_letters_gone += more.dead_letters_gone
        batch.answered += more.answered
        batch.values |= more.values
        batch.taken += more.taken
        batch.forget += more.forget
        self.deliveries += later.deliveries
        self.takings += later.takings
        self.qos0 += later.qos0
        self.scored += later.scored
        self.states |= later.states

    def drop_finished(self) -> None:
        """Leave out the journal rows of events that are done before they were ever written."""
        batch = self.batch
        done = {row.event_no for row in batch.journal}.intersection(batch.forget)
        if done:
            batch.journal = [row for row in batch.journal if row.event_no not in done]
            batch.forget = [event_no for event_no in batch.forget if event_no not in done]

    @property
    def waiting(self) -> bool:
        """Whether an answer is on its way that a short wait would bring into this very commit.

        An event that a window goes on holding is not waited for: it needs its journal row in any case.
        """
        return any(taking.scoring for taking in self.takings)
