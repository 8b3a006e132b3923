"""Tables of agent.db and the steps that lead to them. A step is never changed once released; new ones are added at the end."""

import secrets
import sqlite3
from typing import Final

from edge_agent.journal.errors import StoreTooNew

APPLICATION_ID: Final = 0x53484C44
"""`PRAGMA application_id`, so that `file` and people can tell what the file is."""

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE journal (
            event_no INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, qos INTEGER NOT NULL,
            retain INTEGER NOT NULL, properties BLOB, received REAL NOT NULL)""",
        """CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY, link TEXT NOT NULL, kind TEXT NOT NULL, durable INTEGER NOT NULL,
            topic TEXT NOT NULL, payload BLOB NOT NULL)""",
        # so that the few rows of another link are found without walking over a fleet backlog of a million rows
        "CREATE INDEX outbox_elsewhere ON outbox (link, seq) WHERE link <> 'fleet'",
        """CREATE TABLE pipeline_state (
            pipeline TEXT NOT NULL, key TEXT NOT NULL, state BLOB NOT NULL, PRIMARY KEY (pipeline, key)) WITHOUT ROWID""",
        "CREATE TABLE value (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
        "CREATE TABLE taken (no INTEGER PRIMARY KEY, keys BLOB NOT NULL)",
        # one row, written in every transaction: counting a large table at start would read all of it, and last_seq must
        # outlive the rows that it was given to
        """CREATE TABLE totals (
            one INTEGER PRIMARY KEY CHECK (one = 1), stream TEXT NOT NULL, journal_rows INTEGER NOT NULL,
            outbox_rows INTEGER NOT NULL, outbox_bytes INTEGER NOT NULL, last_seq INTEGER NOT NULL,
            last_event_no INTEGER NOT NULL)""",
    ),
)
VERSION: Final = len(STEPS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to this release's tables, in one transaction. Raises StoreTooNew, sqlite3.Error."""
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > VERSION:
        raise StoreTooNew(
            f"agent.db has schema version {found}, this release knows {VERSION} at most: "
            "run the newer release again, or move the file away to start anew"
        )
    if found == VERSION:
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        for step in STEPS[found:]:
            for statement in step:
                connection.execute(statement)
        if found == 0:
            connection.execute("INSERT INTO totals VALUES (1, ?, 0, 0, 0, 0, 0)", (secrets.token_hex(16),))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
