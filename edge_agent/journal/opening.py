"""Opening agent.db: one process at a time, checked, migrated; a damaged file is set aside and a fresh one made."""

import fcntl
import logging
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from edge_agent.durable import fsync_folder
from edge_agent.journal.batch import Counts
from edge_agent.journal.errors import StoreInUse, is_corrupt, to_store_error
from edge_agent.journal.schema import migrate, refuse_newer

log = logging.getLogger(__name__)

ALWAYS_CHECKED_BYTES: Final = 64 * 1024**2
"""Up to this size the whole file is checked at each start; a larger one when the last run met damage in it."""
WAL_LIMIT_BYTES: Final = 8 * 1024**2


class Damaged(NamedTuple):
    """A damaged file that was set aside."""

    path: Path
    """Where it is now; its WAL, if it had one, lies beside it."""
    held: Counts | None
    """What it said that it held, at its last checkpoint at the latest; None where that cannot be read."""


def take_lock(path: Path) -> int:
    """Become the only process with this store, until the descriptor is closed. Raises StoreInUse."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreInUse(f"{path} is in use by another process") from error
    return descriptor


def suspect_mark(path: Path) -> Path:
    """A file that exists when damage was met while running: the next start then checks the whole file, whatever its size."""
    return path.with_name(f"{path.name}.suspect")


def open_writable(path: Path) -> tuple[sqlite3.Connection, Damaged | None]:
    """The connection for the writer thread, and the damaged file that was set aside, if there was one.

    Raises StoreError; StoreTooNew for the file of a newer release.
    """
    damaged: Damaged | None = None
    try:
        opened = _open(path)
        if isinstance(opened, Damaged):
            damaged, opened = opened, _open(path)
            if isinstance(opened, Damaged):
                raise sqlite3.DatabaseError("a fresh file is damaged too")
    except (sqlite3.Error, OSError) as error:
        raise to_store_error(error) from error
    suspect_mark(path).unlink(missing_ok=True)
    return opened, damaged


def _leave_newer_alone(path: Path) -> None:
    """Raises StoreTooNew for a newer release's file, which is not written to: not even its log is moved into it."""
    if not path.exists() or not path.stat().st_size:
        return
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        refuse_newer(connection)
    except sqlite3.Error:
        pass  # damaged, or not to be read now: what opens it for writing judges that
    finally:
        connection.close()


def _open(path: Path) -> sqlite3.Connection | Damaged:
    _leave_newer_alone(path)
    # used by the writer thread alone after this function has returned
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False, cached_statements=64)
    usable = False
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL does not sync the WAL at a commit: a power cut then loses what was acknowledged
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 1000")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        if path.stat().st_size <= ALWAYS_CHECKED_BYTES or suspect_mark(path).exists():
            _check(connection)
        migrate(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        fsync_folder(path.parent)
        usable = True
        return connection
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        # before the connection is closed, which would delete the WAL
        damaged = _set_aside(path)
        log.error("the store was damaged and set aside", extra={"moved_to": str(damaged.path), "error": str(error)})
        return damaged
    finally:
        if not usable:
            connection.close()


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        error = sqlite3.DatabaseError(found)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _set_aside(path: Path) -> Damaged:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    # the WAL belongs to the damaged file: left behind it would be played into the fresh one
    for suffix in ("-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    path.rename(target)
    fsync_folder(path.parent)
    return Damaged(target, _read_totals(target))


def _read_totals(path: Path) -> Counts | None:
    names = "journal_rows", "outbox_rows", "outbox_bytes"  # these are in files of every release
    try:
        # immutable: reads the file as it lies there and writes nothing beside it
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            row = connection.execute(f"SELECT {', '.join(names)} FROM totals").fetchone()  # noqa: S608 - names of columns
        finally:
            connection.close()
        return Counts(**dict(zip(names, map(int, row), strict=True)))
    except (sqlite3.Error, TypeError, ValueError):
        return None  # too damaged to say
