"""Forgetting what is too old: the history of health."""

import sqlalchemy as sa

from fleet_controller.store.database import Database
from fleet_controller.store.tables import health

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
