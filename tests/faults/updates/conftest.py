"""Signed releases for all tests here, and devices that are ended after each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.updates.device import Device
from tests.faults.updates.fleet import Fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet") / "signed")


@pytest.fixture
def device(tmp_path: Path, fleet: Fleet) -> Iterator[Callable[[str], Device]]:
    made: list[Device] = []

    def make(scenario: str) -> Device:
        made.append(Device(fleet, tmp_path / "device", scenario))
        return made[-1]

    yield make
    for each in made:
        each.end()
