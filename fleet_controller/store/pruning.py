"""Forgetting what is too old: the history of health, and feedback on results that are gone."""

import sqlalchemy as sa

from fleet_controller.store.database import Database
from fleet_controller.store.tables import feedback, health, results

_PORTION = 5000


def prune_health(database: Database, before: float) -> int:
    """Delete health messages that came before this time (seconds since 1970); the newest of each device stays as its slot.

    In portions, so that intake never waits long. Returns how many went.
    """
    total = 0
    oldest = sa.select(health.c.id).where(health.c.received < before).order_by(health.c.id).limit(_PORTION).scalar_subquery()
    while True:
        with database.write() as connection:
            gone = connection.execute(sa.delete(health).where(health.c.id.in_(oldest))).rowcount
        total += gone
        if gone < _PORTION:
            return total


def prune_feedback(database: Database) -> int:
    """Delete what was right for results that are no longer there, with its history. Returns how many rows went."""
    same = (results.c.device == feedback.c.device) & (results.c.result_id == feedback.c.result_id)
    gone = sa.select(feedback.c.id).where(~sa.exists().where(same)).limit(_PORTION).scalar_subquery()
    total = 0
    while True:
        with database.write() as connection:
            deleted = connection.execute(sa.delete(feedback).where(feedback.c.id.in_(gone))).rowcount
        total += deleted
        if deleted < _PORTION:
            return total
