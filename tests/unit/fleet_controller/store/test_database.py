"""The schema and its transactions, on SQLite files."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from fleet_controller.store import tables
from fleet_controller.store.database import Database, DatabaseError, open_database, sqlite_url
from fleet_controller.store.ignoring import insert_ignoring
from fleet_controller.store.pruning import prune_health


@pytest.fixture
def database(tmp_path: Path):
    made = open_database(sqlite_url(tmp_path / "controller.db"))
    yield made
    made.close()


def test_the_migrations_give_exactly_the_tables_that_the_code_names(database: Database) -> None:
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_opening_twice_changes_nothing(tmp_path: Path, database: Database) -> None:
    open_database(sqlite_url(tmp_path / "controller.db")).close()


def test_a_database_of_a_newer_controller_is_refused_and_left_alone(tmp_path: Path, database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer controller"):
        open_database(sqlite_url(tmp_path / "controller.db"))
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_a_database_that_cannot_be_opened_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot open the database"):
        open_database(sqlite_url(tmp_path / "missing" / "controller.db"))


def test_commits_are_durable_and_readers_do_not_wait(database: Database) -> None:
    with database.write() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2
        connection.execute(sa.insert(tables.devices).values(device="a", labels={}, created=1.0))
        with database.read() as other:
            assert other.execute(sa.select(sa.func.count()).select_from(tables.devices)).scalar() == 0


def test_an_exception_takes_the_whole_transaction_back(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(sa.insert(tables.devices).values(device="a", labels={}, created=1.0))
        raise RuntimeError
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.devices)).scalar() == 0


def test_rows_that_break_either_constraint_are_left_out_and_the_others_go_in(database: Database) -> None:
    def row(seq: int | None, result_id: str) -> dict[str, object]:
        stream = "s" if seq is not None else None
        fixed = {"device": "a", "pipeline": "p", "source": "x", "payload": b"{}", "received": 1.0}
        return fixed | {"stream": stream, "seq": seq, "result_id": result_id}

    with database.write() as connection:
        assert insert_ignoring(connection, tables.results, [row(1, "r1"), row(2, "r2")]) == 2
        again = [row(1, "r9"), row(3, "r1"), row(4, "r4"), row(None, "plain1"), row(None, "plain2")]
        assert insert_ignoring(connection, tables.results, again) == 3


def test_pruning_takes_old_health_alone(database: Database) -> None:
    with database.write() as connection:
        rows = [{"device": "a", "received": float(moment), "payload": b"{}"} for moment in range(10)]
        connection.execute(sa.insert(tables.health), rows)
    assert prune_health(database, before=7.0) == 7
    with database.read() as connection:
        assert list(connection.execute(sa.select(tables.health.c.received)).scalars()) == [7.0, 8.0, 9.0]
