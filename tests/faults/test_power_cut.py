"""A power cut: whatever was not synced is gone. What the store has reported as stored must be there all the same.

How it works: the store runs in a child process with `syncs.c` preloaded, which takes the place of `fsync` and `fdatasync`. Each
such call comes here instead, and `Disk` takes over what the call makes durable: of a file its content at that moment, of a
folder its names at that moment (a file made, renamed or removed without a sync of its folder is as it was before). At a
moment that the seed chooses, at a sync or between two, the child is killed. Then `Disk.restore` writes what is durable, and
nothing else, to a fresh folder: every write since the last sync of its file is dropped, which is more than a real cut would
drop. The store is opened on that, and every batch whose `done(None)` was called must be there.

That this can fail is shown by the same runs with `PRAGMA synchronous = NORMAL`, which does not sync at a commit.
"""

import os
import random
import selectors
import signal
import socket
import stat
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.journal.batch import Priority
from edge_agent.journal.store import Store
from edge_agent.loop import Loop
from edge_agent.settings import StoreSettings

ROWS = 20
"""In each batch; large enough that the WAL is checkpointed several times in a run."""

COMMITTER = """
import sys
from pathlib import Path
from edge_agent.journal.batch import Batch, JournalRow, OutboxRow
from edge_agent.journal.store import Store
from edge_agent.loop import Loop
from edge_agent.settings import StoreSettings

loop = Loop()
store = Store(Path(sys.argv[1]), StoreSettings(ballast_bytes=65536), loop.post)
if sys.argv[2]:
    store._writer._connection.execute(sys.argv[2])
number = store.counts.last_event_no

def again(error=None):
    global number
    assert error is None, error
    number += 1
    mine = number
    batch = Batch(
        journal=[JournalRow(mine, "t", b"x" * 300, 1, False, None, 0.0)],
        outbox=[OutboxRow("result", "t", b"%09d" % mine + bytes(800), durable=True) for _ in range(int(sys.argv[3]))],
        taken=[b"%016d" % mine], forget=[mine - 3])
    def done(error):
        print(mine, flush=True)
        again(error)
    store.submit(batch, done)

again(); again(); again()
loop.run()
"""


@dataclass
class Disk:
    """What of one folder would survive: contents by inode, and names."""

    contents: dict[int, bytes] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> "Disk":
        """A folder that was there before, all of it durable."""
        disk = cls()
        for path in folder.iterdir():
            disk.contents[path.stat().st_ino] = path.read_bytes()
        disk.sync_folder(folder)
        return disk

    def sync_folder(self, folder: Path) -> None:
        self.names = {entry.name: entry.inode() for entry in os.scandir(folder)}

    def sync(self, path: Path) -> None:
        """A descriptor of the child, as a path below /proc."""
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            self.sync_folder(path)
        else:
            self.contents[status.st_ino] = path.read_bytes()

    def restore(self, folder: Path) -> None:
        """What is there after the cut."""
        folder.mkdir()
        for name, inode in self.names.items():
            (folder / name).write_bytes(self.contents.get(inode, b""))


def run_until_the_cut(folder: Path, disk: Disk, shim: Path, pragma: str, chance: random.Random) -> set[int]:
    """Let a child commit in `folder` and cut its power; the numbers of the batches that it reported as stored."""
    syncs_left, sync_counts = chance.randrange(1, 250), chance.random() < 0.5
    lines_left = chance.randrange(1, 250)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    environment = os.environ | {"LD_PRELOAD": str(shim), "SYNCS_FD": str(theirs.fileno())}
    command = [sys.executable, "-c", COMMITTER, str(folder / "agent.db"), pragma, str(ROWS)]
    reported = b""
    with (
        ours,
        theirs,
        selectors.DefaultSelector() as selector,
        subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE) as child,
    ):
        assert child.stdout is not None
        selector.register(ours, selectors.EVENT_READ)
        selector.register(child.stdout, selectors.EVENT_READ)
        while syncs_left > 0 and reported.count(b"\n") < lines_left:
            ready = [key.fileobj for key, _ in selector.select(30)]
            assert ready, "the child hangs"
            if child.stdout in ready:
                part = os.read(child.stdout.fileno(), 65536)
                assert part, "the child ended by itself"
                reported += part
            if ours in ready:
                (descriptor,) = struct.unpack("i", ours.recv(4))
                syncs_left -= 1
                if syncs_left > 0 or sync_counts:
                    disk.sync(Path(f"/proc/{child.pid}/fd/{descriptor}"))
                if syncs_left > 0:
                    ours.send(b"\1")
        child.send_signal(signal.SIGKILL)
        reported += child.stdout.read()
    return {int(line) for line in reported.splitlines(keepends=True) if line.endswith(b"\n")}


def stored_batches(folder: Path) -> dict[int, int]:
    """Open what has survived: batch number to how many of its rows are there. Asserts that the store is sound."""
    loop = Loop()
    store = Store(folder / "agent.db", StoreSettings(ballast_bytes=0), loop.post)
    assert store.set_aside is None
    reader = store.open_reader()
    found: dict[int, int] = {}
    rows = after = 0
    more = True
    while more:
        page, after, more = reader.outbox_page("fleet", Priority.RESULT, after)
        for row in page:
            rows += 1
            found[int(row.payload[:9])] = found.get(int(row.payload[:9]), 0) + 1
    reader.close()
    assert store.counts.outbox_rows == rows
    assert [row.event_no for row in store.journal_rows()] == sorted(found)[-3:]
    assert set(store.taken_keys()) == {b"%016d" % number for number in found}
    assert store.close()
    loop.close()
    return found


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "syncs.so"
    source = Path(__file__).with_name("syncs.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
    return library


def lost_after_cuts(tmp_path: Path, shim: Path, pragma: str, seed: int, cuts: int) -> int:
    """How many reported batches are missing after several cuts in a row, each on what the one before has left.

    `pragma` is executed by the child first; empty: the store is as it is.
    """
    chance = random.Random(seed)
    folder = tmp_path / "0"
    folder.mkdir()
    reported: set[int] = set()
    for cut in range(1, cuts + 1):
        disk = Disk.of(folder)
        reported |= run_until_the_cut(folder, disk, shim, pragma, chance)
        folder = tmp_path / str(cut)
        disk.restore(folder)
        found = stored_batches(folder)
        assert set(found.values()) <= {ROWS}, "a batch was stored in part"
        if reported - found.keys():
            return len(reported - found.keys())
    assert len(reported) > 10
    return 0


@pytest.mark.parametrize("seed", range(3))
def test_no_reported_batch_is_lost_when_the_power_goes(tmp_path: Path, shim: Path, seed: int) -> None:
    assert lost_after_cuts(tmp_path, shim, "", seed, 4) == 0


def test_the_same_cuts_lose_batches_when_commits_are_not_synced(tmp_path: Path, shim: Path) -> None:
    assert lost_after_cuts(tmp_path, shim, "PRAGMA synchronous = NORMAL", 0, 4) > 0
