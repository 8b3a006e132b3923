"""Every operation on the disk of a good update fails from the n-th on, or is the process's last; for each n.

The operations are commits of agent.db and what the update room syncs, renames and removes, in the order of `operations.py`. The
disk is well again after some failures: without a restart, and with one.
"""

from pathlib import Path

import pytest

from tests.faults.updates.device import ENDED, KILLED, Device
from tests.faults.updates.fleet import Fleet
from tests.faults.updates.operations import Failing, Fault
from tests.faults.updates.scenario import THIRD


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> list[str]:
    """Those of an update that nothing disturbs."""
    device = Device(fleet, tmp_path_factory.mktemp("undisturbed") / "device", THIRD)
    try:
        assert device.live() == ENDED, device.log()
        device.check()
    finally:
        device.end()
    return device.operations()


def test_an_update_has_operations_of_every_kind(operations: list[str]) -> None:
    assert set(operations) == {"commit", "fsync", "rename", "unlink"}


@pytest.mark.parametrize("fault", list(Fault))
def test_a_device_ends_in_a_good_state_whichever_operation_it_is(
    tmp_path: Path, fleet: Fleet, operations: list[str], fault: Fault
) -> None:
    for number, name in enumerate(operations, 1):
        device = Device(fleet, tmp_path / str(number), THIRD)
        try:
            first = device.live(failing=Failing(fault, number))
            if fault is Fault.KILLED:
                assert first == KILLED, device.log()
            else:
                assert first in (KILLED, ENDED), device.log()
            # what could not be removed goes at the next start
            assert device.live() == ENDED, device.log()
            print(f"\n{number:>3} {name:<8} {fault:<10} {device.check()}", end=" ")
        finally:
            device.end()
