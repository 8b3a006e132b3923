"""A slice of the fault matrix: each kind of fault once. All of it, many times: `make soak`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults.matrix import CASES
from tests.faults.soak import Soak

SLICE = (
    "outbox full, controller silent",
    "controller: killed",
    "agent: killed",
    "agent: paused",
    "worker: killed",
    "site broker: killed",
    "fleet broker: restarted",
    "site link: half-open",
    "fleet link: reset mid-packet",
    "site link: slowed",
    "fleet link: cut",
    "disk: full, then freed",
    "agent.db: damaged",
    "clock: 1970",
)
"""The longest first, so that the worlds that run beside each other end at about the same time."""
SEEDS = {case.name: seed for seed, case in enumerate(CASES)}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Mapping[str, Any]]:
    """What came of the slice's seeds, played some worlds at a time."""
    soak = Soak(Path(tmp_path_factory.mktemp("soak")), [SEEDS[name] for name in SLICE], worlds=3)
    soak.run()
    return soak.done


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SLICE)
def test_every_event_is_accounted_for_after(name: str, lines: Mapping[int, Mapping[str, Any]]) -> None:
    line = lines[SEEDS[name]]
    assert line["case"] == name
    assert line["failures"] == []
    account = line["account"]
    assert account["events"] > 300
    assert account["unreadable"] > 0
    assert account["results"] > 300
