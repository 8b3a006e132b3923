"""A disk that is full at every step of an update, and one that its kernel has made read-only in the middle of one.

Real file systems: a tmpfs that another file fills to the last byte, and an ext4 that is told that it has met an error.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from edge_agent.updates.history import DESIRED
from edge_agent.updates.machine import FINAL, Event
from fleet_contract.update_report import UpdateState as State
from fleet_controller.demo.brokers import Broker
from tests.faults.network.lab import Liar
from tests.faults.programs import until
from tests.faults.updates.device import ENDED, Device, ended_in
from tests.faults.updates.farm import Farm, WholeAgent, users
from tests.faults.updates.fleet import MODEL, Fleet, read_ledger
from tests.faults.updates.scenario import GOOD
from tests.faults.world import can_mount, unmount

needs_root = pytest.mark.skipif(not can_mount(), reason="only root may mount")
SMALL: Final = 4 * 1024**2
STEPS: Final = (
    DESIRED,
    Event.BEGIN,
    Event.FETCHED,
    Event.VERIFIED,
    Event.STAGED,
    Event.PASSED,
    Event.SHADOWED,
    Event.ACTIVATED,
    Event.PROVEN,
)
DEVICE: Final = "farm-1"
PATIENCE: Final = 40.0
ANSWERED: Final = 70


@needs_root
@pytest.mark.parametrize("event", STEPS, ids=str)
def test_an_update_waits_for_a_full_disk_and_goes_on_by_itself(tmp_path: Path, fleet: Fleet, event: str) -> None:
    # the state folder alone, as the test's own files are no part of the device
    disk = tmp_path / "device" / "state"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "smallhold-test", str(disk)], check=True, timeout=10)
    device = None
    try:
        device = Device(fleet, tmp_path / "device", GOOD)
        assert device.live(full_at=event) == ENDED, device.log()
        print(f"\nfull at {event:<12} {device.check()}", end=" ")
    finally:
        if device is not None:
            device.end()
        unmount(disk)


@pytest.fixture
def farm(mosquitto: Callable[..., Broker]) -> Iterator[tuple[Farm, int]]:
    port = mosquitto(users([DEVICE])).port
    made = Farm(port, [DEVICE])
    yield made, port
    made.close()


@needs_root
def test_an_agent_whose_disk_becomes_read_only_acknowledges_nothing_and_has_lost_nothing_when_it_is_repaired(
    tmp_path: Path, fleet: Fleet, farm: tuple[Farm, int]
) -> None:
    events, port = farm
    folder, image, disk = tmp_path / "device", tmp_path / "image", tmp_path / "disk"
    fleet.found(folder)
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(48 * 1024**2)
    _run("mkfs.ext4", "-q", str(image))
    _mount(image, disk)
    server = Liar(fleet.repository)
    with TemporaryDirectory(prefix="sh") as sockets:
        state = disk / "state"
        _run("cp", "-a", str(folder / "state"), str(state))
        _run("sync", "-f", str(state))  # what nobody has synced goes with the error
        url = f"http://127.0.0.1:{server.server_port}"
        agent = WholeAgent(folder, Path(sockets) / "c.sock", DEVICE, port, url, state=state)
        try:
            agent.start()
            until(lambda: agent.release() == 1, agent.program.log_tail, PATIENCE)
            events.start(DEVICE)
            until(lambda: len(events.results[DEVICE]) >= ANSWERED, agent.program.log_tail, PATIENCE)
            events.desire(DEVICE, 2, 2)
            until(lambda: agent.update()["state"] == State.SHADOWING, lambda: str(agent.update()), PATIENCE)
            _trigger_error(disk)
            until(lambda: _refused(agent) > 1, agent.program.log_tail, PATIENCE)
            # a kernel that shuts the disk after an error need not call it read-only
            assert agent.status()["store_fault"] in ("disk_read_only", "disk_failing")
            until(lambda: "commit refused, acknowledgements wait" in agent.log(), agent.program.log_tail, PATIENCE)
            agent.program.stop()
            unmount(disk)
            _run("e2fsck", "-fy", str(image), accepted=(0, 1))
            _mount(image, disk)
            agent.start()
            until(lambda: agent.update()["state"] in FINAL and agent.release() == 2, lambda: str(agent.update()), PATIENCE)
            events.finish(DEVICE)
            until(lambda: not events.unanswered(DEVICE), lambda: f"{events.unanswered(DEVICE)} events left", PATIENCE)
        finally:
            events.finish(DEVICE)
            agent.program.stop()
            server.end()
            ledger = read_ledger(state / "agent.db")
            unmount(disk)
    assert ended_in(ledger).state is State.COMMITTED
    assert set(events.releases(DEVICE)) == {1, 2}
    assert ledger.previous[MODEL].release == 1


def _refused(agent: WholeAgent) -> int:
    return int(agent.status().get("counters", {}).get("commits_refused", 0))


def _run(*command: str, accepted: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(command, check=False, timeout=30, capture_output=True)
    assert done.returncode in accepted, done.stderr.decode()


def _mount(image: Path, folder: Path) -> None:
    _run("mount", "-o", "loop,errors=remount-ro", str(image), str(folder))


def _trigger_error(folder: Path) -> None:
    found = subprocess.run(["findmnt", "-n", "-o", "SOURCE", str(folder)], check=True, capture_output=True, timeout=10)
    device = Path(found.stdout.decode().strip()).name
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a test")
