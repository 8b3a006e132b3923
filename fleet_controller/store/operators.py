"""Operators, their tokens (hashed), and the audit log."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from fleet_controller.store.tables import audit, operators


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One operator; `role` is `viewer` or `operator`."""

    name: str
    role: str
    revoked: float | None


def add_operator(connection: Connection, name: str, role: str, token_hash: str, now: float) -> None:
    """Add an operator; raises sqlalchemy.exc.IntegrityError if the name is taken."""
    connection.execute(sa.insert(operators).values(name=name, role=role, token_hash=token_hash, created=now))


def operator_of_token(connection: Connection, token_hash: str) -> OperatorRow | None:
    """Whose token this is."""
    query = sa.select(operators.c.name, operators.c.role, operators.c.revoked).where(operators.c.token_hash == token_hash)
    row = connection.execute(query).first()
    return OperatorRow(*row) if row is not None else None


def record_action(
    connection: Connection, now: float, operator: str, action: str, subject: str, details: dict[str, Any]
) -> None:
    """Add a line to the audit log, in the transaction of what it records where there is one."""
    connection.execute(sa.insert(audit).values(time=now, operator=operator, action=action, subject=subject, details=details))


def recent_actions(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The newest lines of the audit log, newest first."""
    rows = connection.execute(sa.select(audit).order_by(audit.c.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]
