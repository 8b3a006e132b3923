"""What can go wrong with agent.db, and whether trying again helps."""

import os
import sqlite3
from pathlib import Path

from fleet_contract.reasons import Reason

TEMPORARY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes that say something about the disk or the moment, not about the batch or the file."""
CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""Primary result codes that say that the file itself is damaged."""


class StoreError(Exception):
    """A batch was not applied, not even in part, or the file cannot be opened.

    `temporary`: the same batch may be submitted again later (seconds). Otherwise it is a bug in the batch or a damaged file,
    and submitting it again cannot help.
    """

    def __init__(self, text: str, *, temporary: bool) -> None:
        super().__init__(text)
        self.temporary = temporary


class StoreFull(StoreError):
    """A bound of the store was reached. Temporary: batches that only delete still pass and make room."""

    def __init__(self, text: str, reason: Reason) -> None:
        super().__init__(text, temporary=True)
        self.reason = reason


class StoreTooNew(StoreError):
    """The file was written by a newer release of the agent than this one."""

    def __init__(self, text: str) -> None:
        super().__init__(text, temporary=False)


class StoreInUse(StoreError):
    """Another process has the file open as its store."""

    def __init__(self, text: str) -> None:
        super().__init__(text, temporary=False)


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code, 0 where the error carries none."""
    code: int = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF


def is_corrupt(error: BaseException) -> bool:
    """Whether the error says that the file is damaged."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in CORRUPT


def is_full(error: BaseException) -> bool:
    """Whether the error says that there is no space left."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def find_fault(error: StoreError, path: Path) -> Reason:
    """What is wrong with the disk of `path`: SQLite has one code for a disk that its kernel has closed and for bad sectors."""
    code = primary_code(error.__cause__) if error.__cause__ is not None else 0
    if code == sqlite3.SQLITE_FULL:
        return Reason.DISK_FULL
    read_only = code == sqlite3.SQLITE_READONLY or bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    return Reason.DISK_READ_ONLY if read_only else Reason.DISK_FAILING


def to_store_error(error: Exception) -> StoreError:
    """The error that the submitter gets, with `error` as its cause."""
    if isinstance(error, StoreError):
        return error
    temporary = isinstance(error, sqlite3.OperationalError) and primary_code(error) in TEMPORARY
    wrapped = StoreError(f"agent.db: {type(error).__name__}: {error}", temporary=temporary)
    wrapped.__cause__ = error
    return wrapped
