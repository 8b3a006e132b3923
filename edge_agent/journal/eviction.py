"""What is evicted from a full outbox: the lowest class first, and in it the oldest row first. Pure.

Plain rows may always go to make room for rows that come, durable ones and notes only if the configuration says so; otherwise
what comes is refused, and acknowledgements are withheld until there is room.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from edge_agent.journal.batch import Counts, OutboxRow, Priority

NOTE_RESERVE: Final = 0.05
"""The share of both bounds that only notes may use, so that a full outbox can still tell that it is full."""


class Cause(StrEnum):
    """Which bound evicted a row."""

    ROWS = "rows"
    BYTES = "bytes"
    AGE = "age"


class Load(NamedTuple):
    """An amount of outbox rows."""

    rows: int = 0
    size: int = 0
    """Bytes of their payloads."""


class Cut(NamedTuple):
    """Evict the oldest rows of a class until at least this much has gone."""

    priority: Priority
    least: Load
    cause: Cause


class Bounds(NamedTuple):
    """How much the outbox may hold."""

    rows: int
    size: int
    evict_durable: bool = False

    def for_class(self, priority: Priority) -> Load:
        """The bounds that a row of this class must fit into, together with all that is there."""
        if priority is Priority.NOTE:
            return Load(self.rows, self.size)
        return Load(self.rows - int(self.rows * NOTE_RESERVE), self.size - int(self.size * NOTE_RESERVE))


def load_of(counts: Counts, priority: Priority) -> Load:
    """What the outbox holds of one class."""
    if priority is Priority.PLAIN:
        return Load(counts.plain_rows, counts.plain_bytes)
    if priority is Priority.RESULT:
        return Load(counts.result_rows, counts.result_bytes)
    rows = counts.outbox_rows - counts.result_rows - counts.plain_rows
    return Load(rows, counts.outbox_bytes - counts.result_bytes - counts.plain_bytes)


def must_pass(*bounds: int) -> bool:
    """Whether a batch goes over a bound all the same; `bounds` are (held, coming, allowed) of each.

    A commit that is refused grows by all that comes meanwhile. One that is larger than a bound would wait for ever, so it
    passes once hardly anything is held that could still leave.
    """
    threes = [bounds[place : place + 3] for place in range(0, len(bounds), 3)]
    return any(coming > allowed for _, coming, allowed in threes) and all(held * 10 <= allowed for held, _, allowed in threes)


def plan(counts: Counts, coming: Sequence[OutboxRow], bounds: Bounds) -> tuple[Cut, ...] | Cause:
    """What has to go so that the rows `coming` fit, in order; or the bound that refuses them.

    A row never makes one of a higher class go. The rows of a batch come together, so the highest class among them counts.
    """
    rows, size = len(coming), sum([len(row.payload) for row in coming])
    allowed = bounds.for_class(Priority.PLAIN)
    if counts.outbox_rows + rows <= allowed.rows and counts.outbox_bytes + size <= allowed.size:
        return ()  # as a rule, and then nothing depends on the classes
    first, last = min(row.priority for row in coming), max(row.priority for row in coming)
    allowed = bounds.for_class(last)
    over_rows = counts.outbox_rows + rows - allowed.rows
    over_size = counts.outbox_bytes + size - allowed.size
    if over_rows <= 0 and over_size <= 0:
        return ()
    cause = Cause.ROWS if over_rows > 0 else Cause.BYTES
    cuts: list[Cut] = []
    for priority in reversed(Priority):
        if priority < first or (priority is not Priority.PLAIN and not bounds.evict_durable):
            return () if must_pass(counts.outbox_rows, rows, allowed.rows, counts.outbox_bytes, size, allowed.size) else cause
        held = load_of(counts, priority)
        if over_rows <= held.rows and over_size <= held.size:
            return (*cuts, Cut(priority, Load(max(over_rows, 0), max(over_size, 0)), cause))
        if held.rows:
            cuts.append(Cut(priority, held, cause))
        over_rows -= held.rows
        over_size -= held.size
    return cause
