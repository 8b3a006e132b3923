"""When a release has ended its worker too often to be trusted any longer. Pure: times are given.

One input that ends its worker twice is a dead letter, and no more is said of the release. A release that ends workers over
*different* inputs, or with none at all, is itself at fault. What counts within a sliding window of time is

- each content of an input that was alone in a worker that ended, or that was late there, once, however often it came;
- each end over a batch whose inputs did nothing when they were tried alone: until they are, the batch counts too, unless a
  content in it is known already, and is forgotten when one of them turns out to be the cause;
- each end without an input: while the model was loaded, or idle.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.inference.answers import ModelInput


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a worker, or one missed deadline."""

    time: float
    inputs: frozenset[int]
    """The contents that the worker had."""


def content_of(item: ModelInput) -> int:
    """What an input is known by: its values without their times, so that a sensor that repeats a reading repeats a content."""
    values = tuple((name, tuple(column)) for name, column in sorted(item.values.items()))
    tensors = tuple((name, part.dtype, part.shape, bytes(part.data)) for name, part in sorted(item.tensors.items()))
    return hash((values, item.text, tensors))


class CrashPolicy:
    """Of one release of one model.

    Args:
        most: causes within `window` seconds that are borne; one more is too many. 0 bears any number.
    """

    def __init__(self, most: int, window: float) -> None:
        self._most, self._window = most, window
        self._ends: deque[_End] = deque()

    def note(self, now: float, inputs: Iterable[int] = ()) -> None:
        """A worker ended at `now` (seconds on a monotonic clock), or was late, over inputs of these contents."""
        had = frozenset(inputs)
        known = next((end.inputs for end in self._ends if len(end.inputs) == 1 and end.inputs <= had), None)
        if known is not None:
            had = known
        if len(had) == 1:
            # What it did before, alone or in a batch, has the same cause.
            self._ends = deque(end for end in self._ends if not end.inputs & had)
        self._ends.append(_End(now, had))
        self._forget(now)

    def count(self, now: float) -> int:
        """Different causes within the window."""
        self._forget(now)
        return len(self._ends)

    def is_too_many(self, now: float) -> bool:
        """Whether the release is to be used no longer."""
        return 0 < self._most < self.count(now)

    def _forget(self, now: float) -> None:
        while self._ends and now - self._ends[0].time > self._window:
            self._ends.popleft()
        # The rest is of no more use than to say "too many".
        while len(self._ends) > self._most + 1:
            self._ends.popleft()
