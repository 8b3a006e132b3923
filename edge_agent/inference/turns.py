"""Which model's batch runs next where they would need more CPU threads than there are. Pure: the clock is given.

A model asks for a turn before each batch. Turns are given by priority, and among equals to whom has waited longest; but one
that has waited for a second goes before all others: a busy model of high priority slows a lower one and never starves it. The
first in line is waited for until its threads are free: nobody passes it, or a model with many threads would never run.

A batch that takes long does not keep the threads to itself: after `HELD` they are given on as if they were free, and the system
shares them out. So a model that never ends holds up nobody until its deadline.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PATIENCE: Final = 1.0
"""Seconds after which one that waits goes first, whatever its priority."""
HELD: Final = 0.1
"""Seconds after which a batch shares its threads with those that wait."""


@dataclass(frozen=True, slots=True)
class _Running:
    threads: int
    since: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    name: str
    priority: int
    threads: int
    since: float
    come: Callable[[], object]


class Turns:
    """The CPU threads of the board, shared by all models.

    Args:
        threads: how many may run batches at once. A batch that needs more runs alone.
    """

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._threads = threads
        self._clock = clock
        self._free = threads
        """Below 0 while threads are shared."""
        self._running: dict[str, _Running] = {}
        self._waiting: dict[str, _Waiting] = {}
        self.waited = 0
        """Batches that could not start at once because no thread was free."""

    def ask(self, name: str, priority: int, threads: int, come: Callable[[], object]) -> bool:
        """True: the model may start a batch, and says `end` after it. False: `come` is called when it is its turn.

        Who was called has the turn, and says `end` at once if it has no use for it. Asking again while waiting changes nothing.
        """
        threads = min(threads, self._threads)
        if not self._waiting and self._has_room(threads):
            self._start(name, threads)
            return True
        if name not in self._waiting:
            self._waiting[name] = _Waiting(name, priority, threads, self._clock(), come)
            if self.give(asking=name):
                return True
            self.waited += 1
        return False

    def end(self, name: str) -> None:
        """The model's batch is over, or it asks no more. What is free is given on by `give`, after it could ask again."""
        running = self._running.pop(name, None)
        if running is not None:
            self._free += running.threads
        self._waiting.pop(name, None)

    def give(self, asking: str = "") -> bool:
        """Give turns to those that wait, as far as threads are free. True when `asking` got one: it is not called.

        To be called after each `end`, and `HELD` after somebody had to wait.
        """
        granted = False
        while self._waiting:
            first = self._first()
            if not self._has_room(first.threads):
                break
            del self._waiting[first.name]
            self._start(first.name, first.threads)
            if first.name == asking:
                granted = True
            else:
                first.come()
        return granted

    def _start(self, name: str, threads: int) -> None:
        self._running[name] = _Running(threads, self._clock())
        self._free -= threads

    def _has_room(self, threads: int) -> bool:
        if threads <= self._free:
            return True
        late = self._clock() - HELD
        return threads <= self._free + sum(item.threads for item in self._running.values() if item.since <= late)

    def _first(self) -> _Waiting:
        late = self._clock() - PATIENCE
        return min(
            self._waiting.values(),
            key=lambda item: (0, 0, item.since) if item.since <= late else (1, -item.priority, item.since),
        )
