"""When the inputs that wait for a model are sent, and how many together. Pure: times are given.

A full batch goes at once, a partial one when its oldest input has waited for `max_delay`, as in Triton's dynamic batcher
(https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/batcher.html#dynamic-batcher).
What is measured of the batches can only take from that: nothing is delayed where an input in a batch costs no less than one
alone, or where those that wait stay alone; and no batch is of a size that costs more for each input than a smaller one.
"""

from enum import StrEnum
from typing import Final

SEEN: Final = 4
"""Batches of a size that are measured before anything is concluded from them; the first one, which warms up, is not counted."""
GAIN: Final = 0.9
"""In a batch an input must cost at most this share of one alone, or waiting for others is of no use."""
SLOWER: Final = 1.25
"""A batch whose inputs cost this much more than those of smaller ones is too large."""
COMPANY: Final = 0.1
"""Waiting is of no use when it brought a second input less often than this."""
LOOK_AGAIN: Final = 1000
"""After so many batches it is tried again whether waiting, or larger batches, help by now."""
FALL: Final = 0.5
RISE: Final = 0.1
"""Weights of a new measurement that is below and above the average. What disturbs one makes it longer, never shorter."""
MOST_RISE: Final = 2.0


class BatchState(StrEnum):
    """What becomes of a partial batch."""

    AT_ONCE = "at_once"
    """`max_delay` is 0, or the model takes one input at a time."""
    DELAYED = "delayed"
    NO_GAIN = "no_gain"
    """It goes at once, because waiting was measured to be of no use."""


class Cost:
    """Seconds for each input of batches of about one size, as an average that leans to the least."""

    __slots__ = ("seconds", "seen")

    def __init__(self) -> None:
        self.seen = -1
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        """One batch took so long for each input."""
        self.seen += 1
        if self.seen < 1:
            return
        if self.seen == 1:
            self.seconds = seconds
        elif seconds < self.seconds:
            self.seconds += FALL * (seconds - self.seconds)
        else:
            self.seconds += RISE * (min(seconds, MOST_RISE * self.seconds) - self.seconds)

    @property
    def known(self) -> bool:
        """Whether it was measured often enough."""
        return self.seen >= SEEN


class Batching:
    """The batches of one release of a model.

    Args:
        max_batch: inputs in one batch at most; 1 where the model's file takes no more.
        max_delay: seconds that an input waits for others.
    """

    def __init__(self, max_batch: int, max_delay: float) -> None:
        self._max_batch = max_batch
        self._max_delay = max_delay if max_batch > 1 else 0.0
        self._costs = [Cost() for _ in range(max_batch.bit_length())]
        """By the size's power of two: 1, 2 to 3, 4 to 7, …"""
        self._limit = max_batch
        self._company = 1.0
        self._useless = False
        self._since_judged = 0
        self._waited = False

    @property
    def limit(self) -> int:
        """The largest batch that is worth it, as far as was measured."""
        return self._limit

    @property
    def state(self) -> BatchState:
        """What becomes of a partial batch now."""
        if not self._max_delay:
            return BatchState.AT_ONCE
        return BatchState.NO_GAIN if self._useless else BatchState.DELAYED

    def wait(self, queued: int, age: float) -> float:
        """Seconds until a batch should go, with so many inputs of which the oldest has waited `age` seconds; 0: now."""
        if not self._max_delay or self._useless or queued >= self._limit or not self._costs[0].known:
            return 0.0
        left = self._max_delay - age
        if left <= 0.0:
            return 0.0
        self._waited = True
        return left

    def size(self, queued: int) -> int:
        """How many of the inputs that wait go now."""
        if self._max_delay and not self._costs[0].known:
            return 1
        return min(queued, self._limit)

    def note(self, size: int, seconds: float) -> None:
        """A batch of `size` inputs was answered after so long."""
        if size > self._max_batch:
            return  # of the release before
        self._costs[size.bit_length() - 1].note(seconds / size)
        if self._waited:
            self._waited = False
            self._company += RISE * ((size > 1) - self._company)
        self._since_judged += 1
        if self._since_judged >= LOOK_AGAIN:
            self._forget()
        else:
            self._judge()

    def _judge(self) -> None:
        """Draw the conclusions. What was found of no use stays so until it is tried again."""
        least = None
        batched = None
        for power, cost in enumerate(self._costs):
            if 2**power > self._limit or not cost.known:
                continue
            if least is not None and cost.seconds > SLOWER * least:
                self._limit = 2**power - 1
                self._since_judged = 0
                break
            least = cost.seconds if least is None else min(least, cost.seconds)
            if power and (batched is None or cost.seconds < batched):
                batched = cost.seconds
        alone = self._costs[0]
        if self._useless or not self._max_delay:
            return
        no_gain = self._limit == 1 or (alone.known and batched is not None and batched > GAIN * alone.seconds)
        if no_gain or self._company < COMPANY:
            self._useless = True
            self._since_judged = 0

    def _forget(self) -> None:
        """Measure what was found of no use once more."""
        self._since_judged = 0
        if not self._useless and self._limit == self._max_batch:
            return
        for cost in self._costs[1:]:
            cost.seen = 0
        self._limit = self._max_batch
        self._useless = False
        self._company = 1.0
