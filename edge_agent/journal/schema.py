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
    (
        "ALTER TABLE outbox ADD COLUMN class INTEGER NOT NULL DEFAULT 2",
        # the age clock of `totals` when the row came
        "ALTER TABLE outbox ADD COLUMN stored INTEGER NOT NULL DEFAULT 0",
        "UPDATE outbox SET class = CASE WHEN kind = 'note' THEN 0 ELSE 1 END WHERE durable OR kind = 'note'",
        # plain rows of the fleet link are the usual case and cost no index: they are read in the order of the table
        "CREATE INDEX outbox_sorted ON outbox (link, class, seq) WHERE link <> 'fleet' OR class <> 2",
        "DROP INDEX outbox_elsewhere",
        "ALTER TABLE totals ADD COLUMN result_rows INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE totals ADD COLUMN result_bytes INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE totals ADD COLUMN plain_rows INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE totals ADD COLUMN plain_bytes INTEGER NOT NULL DEFAULT 0",
        # seconds that the agent has run with this file: what ages are measured by, because a wall clock can jump
        "ALTER TABLE totals ADD COLUMN age_clock INTEGER NOT NULL DEFAULT 0",
        """UPDATE totals SET
            (result_rows, result_bytes) = (SELECT count(*), coalesce(sum(length(payload)), 0) FROM outbox WHERE class = 1),
            (plain_rows, plain_bytes) = (SELECT count(*), coalesce(sum(length(payload)), 0) FROM outbox WHERE class = 2)""",
    ),
    (
        # AUTOINCREMENT: a number that an operator has read is never given to another letter
        """CREATE TABLE dead_letter (
            no INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL,
            detail TEXT NOT NULL, pipeline TEXT NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, properties BLOB,
            received REAL NOT NULL, is_message INTEGER NOT NULL)""",
    ),
    (
        # a packed `Publishing`; NULL for nearly all rows
        "ALTER TABLE outbox ADD COLUMN publishing BLOB",
    ),
    (
        # without an index by result id: its places are random, so each answer would write a page of its own; what is right
        # comes seldom, and then the table, which is bounded, is read from one end to the other
        """CREATE TABLE answered (
            no INTEGER PRIMARY KEY, result_id TEXT NOT NULL, model TEXT NOT NULL, release INTEGER NOT NULL,
            answer BLOB NOT NULL, truth BLOB)""",
    ),
)
VERSION: Final = len(STEPS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to this release's tables, in one transaction. Raises StoreTooNew, sqlite3.Error."""
    found = refuse_newer(connection)
    if found == VERSION:
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        for step in STEPS[found:]:
            for statement in step:
                connection.execute(statement)
        if found == 0:
            connection.execute(
                "INSERT INTO totals (one, stream, journal_rows, outbox_rows, outbox_bytes, last_seq, last_event_no) "
                "VALUES (1, ?, 0, 0, 0, 0, 0)",
                (secrets.token_hex(16),),
            )
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def refuse_newer(connection: sqlite3.Connection) -> int:
    """The version of the file's tables. Raises StoreTooNew, sqlite3.Error."""
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > VERSION:
        raise StoreTooNew(
            f"agent.db has schema version {found}, this release knows {VERSION} at most: "
            "run the newer release again, or move the file away to start anew"
        )
    return found
