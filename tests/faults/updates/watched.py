"""Durable values that say what they are about to hold and what they hold: the seam where a process is killed."""

import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from edge_agent.updates.ledger import Ledger, Move
from edge_agent.updates.store import LEDGER_KEY
from edge_agent.values import StoredValues

Watch = Callable[[tuple[Move, ...]], object]


def ignore(_moves: tuple[Move, ...]) -> None:
    """What is done where nothing is watched for."""


class WatchedValues(StoredValues):
    """As the agent's, with a word before each write of the ledger and after it."""

    def __init__(self, *arguments: Any, before: Watch = ignore, after: Watch = ignore) -> None:
        super().__init__(*arguments)
        self.before, self.after = before, after
        self.durable = True
        """Whether all that was put is on disk."""
        self._known = self._moves(self.get(LEDGER_KEY))

    def put(self, values: dict[str, bytes], done: Callable[[Exception | None], None]) -> None:
        """Write all or nothing."""
        if LEDGER_KEY not in values:
            super().put(values, done)
            return
        moves = self._moves(values[LEDGER_KEY])
        fresh = _newer(moves, self._known)
        self.durable = False
        self.before(fresh)

        def finished(error: Exception | None) -> None:
            if error is None:
                self._known, self.durable = moves, True
                self.after(fresh)
            done(error)

        super().put(values, finished)

    @staticmethod
    def _moves(stored: bytes | None) -> tuple[Move, ...]:
        if stored is None:
            return ()
        history = msgspec.msgpack.decode(stored, type=Ledger).history
        return tuple(move for _, moves in sorted(history.items()) for move in moves)


def _newer(moves: tuple[Move, ...], known: tuple[Move, ...]) -> tuple[Move, ...]:
    """What `moves` has behind the last of `known`; the oldest may have been dropped."""
    for dropped in range(len(known) + 1):
        kept = known[dropped:]
        if moves[: len(kept)] == kept:
            return moves[len(kept) :]
    return moves


def die() -> NoReturn:
    """SIGKILL, at once."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")
