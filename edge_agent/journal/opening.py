"""Opening agent.db: one process at a time, checked, migrated; a damaged file is set aside and a fresh one made."""

import fcntl
import logging
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge_agent.durable import fsync_folder
from edge_agent.journal.errors import StoreInUse, is_corrupt, to_store_error
from edge_agent.journal.schema import migrate

log = logging.getLogger(__name__)

ALWAYS_CHECKED_BYTES: Final = 64 * 1024**2
"""Up to this size the whole file is checked at each start; a larger one when the last run met damage in it."""
WAL_LIMIT_BYTES: Final = 8 * 1024**2


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


def open_writable(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    """The connection for the writer thread, and where a damaged file was moved to, if there was one.

    Raises StoreError; StoreTooNew for the file of a newer release.
    """
    try:
        try:
            connection, moved = _open(path), None
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            moved = _set_aside(path)
            log.error("the store was damaged and set aside", extra={"moved_to": str(moved), "error": str(error)})
            connection = _open(path)
    except (sqlite3.Error, OSError) as error:
        raise to_store_error(error) from error
    suspect_mark(path).unlink(missing_ok=True)
    return connection, moved


def _open(path: Path) -> sqlite3.Connection:
    # used by the writer thread alone after this function has returned
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False, cached_statements=64)
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
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        error = sqlite3.DatabaseError(found)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _set_aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    # the WAL belongs to the damaged file: left behind it would be played into the fresh one
    for suffix in ("-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    path.rename(target)
    fsync_folder(path.parent)
    return target
