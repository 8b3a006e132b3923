"""A really full disk: a small tmpfs in a mount namespace of its own, which is gone with the process that made it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from edge_agent.journal.ballast import Ballast

ON_A_FULL_DISK = """
import json, subprocess, sys
from pathlib import Path
from edge_agent.journal.batch import Batch, OutboxRow
from edge_agent.journal.store import Store
from edge_agent.loop import Loop
from edge_agent.settings import StoreSettings

folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
settings = StoreSettings(min_free_bytes=2 * 1024**2, ballast_bytes=int(sys.argv[2]))
loop = Loop()

def commit(batch):
    answers = []
    store.submit(batch, answers.append)
    assert loop.run_until(lambda: answers, 20)
    return "stored" if answers[0] is None else type(answers[0]).__name__ if answers[0].temporary else "broken"

def rows(count, kind="result"):
    return [OutboxRow(kind, "t", bytes(1000), durable=True) for _ in range(count)]

store = Store(folder / "agent.db", settings, loop.post)
assert {commit(Batch(outbox=rows(100))) for _ in range(60)} == {"stored"}
assert store.close()
store = Store(folder / "agent.db", settings, loop.post)  # its WAL is empty: a commit needs new blocks
told = []
store.on_ballast_given_up = lambda: told.append(store.ballast_missing)
seen = {"ballast_at_start": (folder / "agent.db.ballast").exists()}
filler = (folder / "filler").open("wb", buffering=0)
for size in (2**20, 4096):
    try:
        while True:
            filler.write(bytes(size))
    except OSError:
        pass
seen["deletes"] = [commit(Batch(delivered=[6000]))]
seen["note"] = commit(Batch(outbox=rows(1, "note")))
seen["result"] = commit(Batch(outbox=rows(1)))
seen["deletes"] += [commit(Batch(delivered=list(range(first, first + 100)))) for first in range(1, 6001, 100)]
seen["rows"] = store.counts.outbox_rows
stored = lambda: commit(Batch(outbox=rows(1))) == "stored"
seen["stored_in_the_space_of_drained_rows"] = settings.ballast_bytes > 0 and loop.run_until(stored, 20)
seen["told"] = told
seen["given_up"] = store.stats()["store_ballast_given_up"]
filler.close()
(folder / "filler").unlink()
loop.run_until(lambda: not store.ballast_missing, 20)
seen["ballast_at_end"] = (folder / "agent.db.ballast").exists()
seen["result_at_end"] = commit(Batch(outbox=rows(1)))
assert store.close()
print(json.dumps(seen))
"""


OPENED_ON_A_FULL_DISK = """
import json, subprocess, sys
from pathlib import Path
from edge_agent.journal.batch import Batch
from edge_agent.journal.errors import StoreError
from edge_agent.journal.store import Store
from edge_agent.loop import Loop
from edge_agent.settings import StoreSettings

folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
settings = StoreSettings(min_free_bytes=2**20, ballast_bytes=int(sys.argv[2]))
loop = Loop()
assert Store(folder / "agent.db", settings, loop.post).close()
with (folder / "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError:
        pass
try:
    store = Store(folder / "agent.db", settings, loop.post)
except StoreError as error:
    print(json.dumps({"opened": False, "temporary": error.temporary}))
    raise SystemExit
answers, told = [], []
store.on_ballast_given_up = lambda: told.append(True)
store.submit(Batch(values={"a": b"b"}), answers.append)
assert loop.run_until(lambda: answers, 20)
print(json.dumps({"opened": True, "stored": answers == [None], "told": told}))
assert store.close()
"""


def run_on_a_full_disk(folder: Path, ballast: int, script: str = ON_A_FULL_DISK) -> Any:
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", "--mount", *as_root, sys.executable, "-c", script, str(folder), str(ballast)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_a_ballast_a_full_disk_lets_nothing_be_deleted(tmp_path: Path) -> None:
    seen = run_on_a_full_disk(tmp_path, 0)
    assert set(seen["deletes"]) == {"StoreError"}
    assert seen["note"] == "StoreError"
    assert (seen["ballast_at_start"], seen["ballast_at_end"], seen["given_up"]) == (False, False, 0)
    assert seen["rows"] == 6000


def test_with_a_ballast_the_outbox_drains_notes_pass_and_results_are_refused_until_there_is_space(tmp_path: Path) -> None:
    seen = run_on_a_full_disk(tmp_path, 4 * 1024**2)
    assert seen["ballast_at_start"]
    assert set(seen["deletes"]) == {"stored"}
    assert (seen["note"], seen["result"]) == ("stored", "StoreFull")
    assert seen["rows"] == 1
    assert seen["stored_in_the_space_of_drained_rows"]
    assert (seen["given_up"], seen["told"]) == (1, [True])
    assert seen["ballast_at_end"]
    assert seen["result_at_end"] == "stored"


def test_a_store_can_be_opened_on_a_full_disk_only_with_a_ballast(tmp_path: Path) -> None:
    assert run_on_a_full_disk(tmp_path, 0, OPENED_ON_A_FULL_DISK) == {"opened": False, "temporary": True}
    with_ballast = run_on_a_full_disk(tmp_path, 2**20, OPENED_ON_A_FULL_DISK)
    assert with_ballast == {"opened": True, "stored": True, "told": [True]}


def test_the_ballast_is_of_real_blocks_and_is_not_made_where_it_would_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    assert not Ballast(path, 2**20).make(2**20 - 1)
    assert not path.exists()
    ballast = Ballast(path, 2**20)
    assert ballast.missing == 2**20
    assert ballast.make(2**20)
    assert path.stat().st_blocks * 512 >= 2**20
    assert ballast.missing == 0
    with path.open("wb") as file:
        file.truncate(2**20)  # of the same size, without a block
    again = Ballast(path, 2**20)
    assert not again.make(0)
    assert again.make(2**21)
    assert path.stat().st_blocks * 512 >= 2**20
    assert again.give_up()
    assert not again.give_up()
    assert (again.given_up, path.exists(), again.missing) == (1, False, 2**20)


def test_a_ballast_that_is_not_configured_any_more_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "ballast"
    assert Ballast(path, 2**20).make(2**30)
    none = Ballast(path, 0)
    assert not none.make(2**30)
    assert not path.exists()
    assert none.missing == 0
