"""State folders of other releases of ours: one of the previous release goes on, one of a newer release is refused untouched."""

import shutil
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import pytest

from edge_agent.journal.errors import StoreTooNew
from edge_agent.journal.schema import VERSION
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from edge_agent.updates.ledger import Ledger
from edge_agent.updates.store import LEDGER_KEY, LEDGER_VERSION
from fleet_contract.update_report import UpdateState as State
from tests.faults.updates.device import ENDED, Device, check_path, ended_in
from tests.faults.updates.fleet import MODEL, read_ledger, write_values
from tests.faults.updates.scenario import GOOD

FIXTURES: Final = Path(__file__).parents[2] / "fixtures" / "state"
RELEASES: Final = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())


def digests(folder: Path) -> dict[str, str]:
    """Every file that holds something, and what it holds; the rest is made by looking."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size and path.suffix != ".db-shm")
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def open_store(path: Path) -> Store:
    return Store(path, StoreSettings(ballast_bytes=0), lambda call, *arguments: call(*arguments))


@pytest.mark.parametrize("release", RELEASES)
def test_the_state_of_an_earlier_release_is_opened_and_its_update_goes_on(
    device: Callable[[str], Device], release: str
) -> None:
    made = device(GOOD)
    state = made.folder / "state"
    shutil.rmtree(state)
    shutil.copytree(FIXTURES / release, state)
    (made.folder / "retained.json").unlink()
    assert made.live() == ENDED, made.log()
    ledger = read_ledger(state / "agent.db")
    assert ended_in(ledger).state is State.COMMITTED
    assert ledger.active[MODEL].release == 3
    assert (ledger.previous[MODEL].release, ledger.factory[MODEL].release) == (2, 1)
    check_path(ledger.history[MODEL])


@pytest.mark.parametrize("release", RELEASES)
def test_what_an_earlier_release_had_not_sent_yet_is_still_there(tmp_path: Path, release: str) -> None:
    state = tmp_path / "state"
    shutil.copytree(FIXTURES / release, state)
    store = open_store(state / "agent.db")
    assert store.set_aside is None
    assert store.counts.outbox_rows == 2
    assert [row.payload for row in store.journal_rows()] == [b'{"id": "e1", "a": 1}']
    assert store.close()


def test_a_newer_store_is_refused_with_both_versions_and_left_as_it_was(tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(FIXTURES / RELEASES[-1], state)
    with sqlite3.connect(state / "agent.db") as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = digests(state)
    with pytest.raises(StoreTooNew, match=rf"version {VERSION + 1}, this release knows {VERSION} at most"):
        open_store(state / "agent.db")
    assert digests(state) == before


def test_newer_memory_of_updates_is_refused_with_both_versions_and_left_as_it_was(device: Callable[[str], Device]) -> None:
    made = device(GOOD)
    database = made.folder / "state" / "agent.db"
    newer = msgspec.to_builtins(read_ledger(database)) | {"version": LEDGER_VERSION + 1, "unheard_of": 1}
    write_values(database, {LEDGER_KEY: newer})
    before = digests(made.folder / "state")
    assert made.live() == 1
    assert f"version {LEDGER_VERSION + 1}, this release knows {LEDGER_VERSION} at most" in made.log()
    assert digests(made.folder / "state") == before


def test_memory_of_updates_without_a_version_is_the_first() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode({}), type=Ledger).version == 1
