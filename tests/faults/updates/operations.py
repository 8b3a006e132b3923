"""Everything that a daemon's update room does to its disk, numbered: each can be made to fail, or to be the process's last."""

import errno
import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge_agent.journal.store import Store
from tests.faults.updates.watched import die


class Fault(StrEnum):
    """What becomes of the operations from a number on."""

    LIFTED = "lifted"
    """They fail, and after some failures the disk is well again."""
    RESTARTED = "restarted"
    """They fail, and after some failures the process is killed."""
    KILLED = "killed"
    """The process is killed instead of the first of them."""


@dataclass(frozen=True, slots=True)
class Failing:
    """Which operations fail."""

    fault: Fault
    number: int
    """The first of them, from 1 on."""
    failures: int = 3
    """How many."""


class Operations:
    """Counts commits of agent.db, and what is made, synced, renamed and removed by Python below `folder`, on any thread."""

    def __init__(self, failing: Failing | None, folder: Path, store: Store) -> None:
        self._failing = failing
        self._folder = str(folder)
        self._lock = threading.Lock()
        self._counting = False
        self._failed = 0
        self.seen: list[str] = []
        """The operations so far."""
        writer = store._writer
        writer._connection = _Connection(writer._connection, self)  # type: ignore[assignment]
        self._replaced = [
            self._replace(os, "fsync", "fsync", lambda place: isinstance(place, int)),
            self._replace(Path, "replace", "rename", self._is_ours),
            self._replace(Path, "unlink", "unlink", self._is_there),
        ]

    def begin(self) -> None:
        """Count from here on."""
        self._counting = True

    def end(self) -> None:
        """Count no more."""
        self._counting = False
        for put_back in self._replaced:
            put_back()

    def happen(self, name: str) -> None:
        """An operation is about to happen. Raises OSError if it is to fail."""
        with self._lock:
            if not self._counting:
                return
            self.seen.append(name)
            failing = self._failing
            if failing is None or len(self.seen) < failing.number:
                return
            if failing.fault is Fault.KILLED:
                die()
            if self._failed == failing.failures:
                if failing.fault is Fault.RESTARTED:
                    die()
                return
            self._failed += 1
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _is_ours(self, place: Any) -> bool:
        return str(place).startswith(self._folder)

    def _is_there(self, place: Any) -> bool:
        return self._is_ours(place) and os.path.lexists(place)

    def _replace(self, owner: Any, name: str, what: str, counts: Callable[[Any], bool]) -> Callable[[], None]:
        real = getattr(owner, name)

        def counted(place: Any, *arguments: Any, **options: Any) -> Any:
            if counts(place):
                self.happen(what)
            return real(place, *arguments, **options)

        setattr(owner, name, counted)
        return lambda: setattr(owner, name, real)


class _Connection:
    """agent.db, whose commits may fail as on a failing disk."""

    def __init__(self, real: sqlite3.Connection, operations: Operations) -> None:
        self._real, self._operations = real, operations

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            try:
                self._operations.happen("commit")
            except OSError as cause:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error from cause
        return self._real.execute(statement, *parameters)
