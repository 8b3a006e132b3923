"""Inserts that leave rows alone which are there already, in the words of each database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_ignoring(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert `rows`; one that breaks any unique constraint is left out. Returns how many went in."""
    if not rows:
        return 0
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    count = connection.execute(insert(table).on_conflict_do_nothing(), rows).rowcount
    return max(count, 0)
