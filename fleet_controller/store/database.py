"""The engine, its transactions, and the upgrade of the schema at start.

SQLite runs in WAL with `synchronous=FULL`: what is committed survives a power cut, which is what an acknowledgement to a device
promises. Query functions take a connection; whoever calls them opens the transaction, with `read` or `write`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event

BUSY_TIMEOUT: Final = 10_000
"""Milliseconds that SQLite waits for another process's write, such as a backup."""
_WRITE: Final = "smallhold_write"


class DatabaseError(RuntimeError):
    """The database cannot be used; the text says what to do."""


class Database:
    """One engine. Safe to use from any thread; on SQLite writers take turns, readers never wait."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _create_engine(url)
        # Without it two writers of this process would poll for SQLite's lock; with it they queue.
        self._writer: Any = threading.Lock() if self.is_sqlite else nullcontext()

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a SQLite file."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may change things: committed (durably) at the end, rolled back on an exception. Do not nest."""
        with (
            self._writer,
            self._engine.connect().execution_options(**{_WRITE: True}) as connection,
            connection.begin(),
        ):
            yield connection

    def upgrade(self) -> None:
        """Create or upgrade the schema; raises DatabaseError when the database is newer than this code or cannot be opened."""
        config = migration_config()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        try:
            with self.write() as connection:
                current = MigrationContext.configure(connection).get_current_revision()
                if current is not None and current not in known:
                    raise DatabaseError(
                        f"the database {_without_password(self.url)} has schema {current}, which this version does not know: "
                        "it was written by a newer controller. Install that version again, or restore a backup"
                    )
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except sa.exc.OperationalError as error:
            raise DatabaseError(f"cannot open the database {_without_password(self.url)}: {error.orig}") from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def open_database(url: str) -> Database:
    """Open, and upgrade the schema; raises DatabaseError."""
    database = Database(url)
    try:
        database.upgrade()
    except BaseException:
        database.close()
        raise
    return database


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path}"


def migration_config() -> Config:
    """Alembic's configuration: the steps that are shipped inside this package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _create_engine(url: str) -> Engine:
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not open transactions by itself: `_begin_sqlite` does.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: a reader that turns into a writer cannot wait for it and fails.
    write = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _without_password(url: str) -> str:
    return sa.make_url(url).render_as_string(hide_password=True)
