"""Keeps the ledger and the floors as two values of agent.db, written together.

A write that is refused (a full disk) is tried again until it goes through; until then the machine stands still, which is safe
in every state.
"""

import logging
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from edge_agent.loop import Loop
from edge_agent.updates.ledger import Floors, Ledger
from edge_agent.updates.ports import Values

LEDGER_KEY: Final = "updates.ledger"
FLOORS_KEY: Final = "updates.floors"
LEDGER_VERSION: Final = 1
"""Of what the two values mean. New fields with a default need no new version; what older code must not go on with does."""

log = logging.getLogger(__name__)


class UpdateStore:
    """The durable memory of the update room. `ledger` and `floors` are changed in place, then `save`d."""

    def __init__(self, values: Values, loop: Loop, *, retry: float) -> None:
        """`retry`: seconds until a refused write is tried again.

        Raises ValueError if what is stored does not decode, or was written by a newer release.
        """
        self._values = values
        self._loop = loop
        self._retry = retry
        self._waiting: list[Callable[[], object]] = []
        self._writing = False
        self._dirty = False
        stored = values.get(LEDGER_KEY)
        floors = values.get(FLOORS_KEY)
        try:
            if stored is not None:
                _refuse_newer(msgspec.msgpack.decode(stored, type=_Versioned).version)
            self.ledger = msgspec.msgpack.decode(stored, type=Ledger) if stored is not None else Ledger()
            self.floors = msgspec.msgpack.decode(floors, type=Floors) if floors is not None else Floors()
        except msgspec.DecodeError as error:
            raise ValueError(f"agent.db: what is stored about updates cannot be read: {error}") from error

    def save(self, then: Callable[[], object] | None = None) -> None:
        """Write the present state; `then()` follows when a write that holds it is durable."""
        if then is not None:
            self._waiting.append(then)
        self._dirty = True
        if not self._writing:
            self._write()

    def _write(self) -> None:
        self._writing, self._dirty = True, False
        calls, self._waiting = self._waiting, []
        encode = msgspec.msgpack.encode
        values = {LEDGER_KEY: encode(self.ledger), FLOORS_KEY: encode(self.floors)}
        self._values.put(values, lambda error: self._written(calls, error))

    def _written(self, calls: list[Callable[[], object]], error: Exception | None) -> None:
        if error is not None:
            log.warning("update state not stored, trying again", extra={"error": str(error), "delay": self._retry})
            self._waiting = calls + self._waiting
            self._loop.call_later(self._retry, self._write)
            return
        self._writing = False
        if self._dirty:
            self._write()
        for call in calls:
            self._loop.post(call)


class _Versioned(Struct):
    version: int = 1


def _refuse_newer(found: int) -> None:
    if found > LEDGER_VERSION:
        raise ValueError(
            f"agent.db: what is stored about updates has version {found}, this release knows {LEDGER_VERSION} at most: "
            "run the newer release again, or move the file away to start anew"
        )
