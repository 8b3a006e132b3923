"""A model is swapped under load: a real agent at a real broker, two real releases, and every event accounted for."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fleet_controller.demo.brokers import Broker
from tests.faults.programs import until
from tests.hostile_models import onnx_files
from tests.hostile_models.device import HEALTHY, USERS, Device, Farm
from tests.hostile_models.releases import INCUMBENT, TRIED, Release, install

PATIENCE = 60.0
EVENTS = 100
"""Answered before the swap, and after it."""
BUDGET = 64 * 1024**3
"""More than any worker takes, so that only what a manifest asks for can be too much."""


@pytest.fixture
def farm(mosquitto: Callable[..., Broker]) -> Iterator[Farm]:
    made = Farm(mosquitto(USERS).port)
    yield made
    made.close()


def start(folder: Path, sockets: str, farm: Farm, *, memory_bytes: int = 0) -> Device:
    """An agent that runs release 2 and has release 1, which asks for so much memory, from earlier."""
    release = Release("onnx", onnx_files.harmless())
    golden = ((1.0, 2.0, 3.0), (2.0, 2.0, 4.0))
    other = Release("onnx", onnx_files.harmless(), golden=golden, memory_bytes=memory_bytes)
    install(folder / "state", {HEALTHY: release}, {HEALTHY: other})
    device = Device(folder, Path(sockets) / "c.sock", farm.port, [HEALTHY], {}, f"memory_budget = {BUDGET}\n")
    device.program.start()
    until(lambda: device.release_of(HEALTHY) == INCUMBENT, device.program.log_tail, PATIENCE)
    return device


def swap(device: Device, farm: Farm) -> int:
    """Swap in the middle of a stream of events; returns how many were sent before the other release was desired."""
    farm.start()
    until(lambda: len(farm.results.get(HEALTHY, ())) >= EVENTS, device.program.log_tail, PATIENCE)
    before = len(farm.sent[HEALTHY])
    farm.desire({HEALTHY: TRIED})
    until(lambda: device.release_of(HEALTHY) == TRIED, lambda: str(device.update_of(HEALTHY)), PATIENCE)
    after = len(farm.results[HEALTHY])
    until(lambda: len(farm.results[HEALTHY]) >= after + EVENTS, device.program.log_tail, PATIENCE)
    farm.finish()
    until(lambda: not farm.unanswered(HEALTHY), lambda: f"{len(farm.unanswered(HEALTHY))} events left", PATIENCE)
    return before


def check(farm: Farm) -> list[int]:
    """Nothing is missed, repeated or wrong, and the releases answered one after the other; their numbers, by event."""
    answers = farm.results[HEALTHY]
    assert Counter(len(answer) for answer in answers.values()) == {1: len(farm.sent[HEALTHY])}
    assert {event: answer[0].score for event, answer in answers.items()} == {event: farm.sums[event] for event in answers}
    releases = [answers[event][0].release for event in farm.sent[HEALTHY]]
    assert releases == sorted(releases, reverse=True)
    assert set(releases) == {INCUMBENT, TRIED}
    return releases


def test_a_swap_under_load_misses_nothing_repeats_nothing_and_nobody_waits_for_the_model(tmp_path: Path, farm: Farm) -> None:
    with TemporaryDirectory(prefix="sh") as sockets:
        device = start(tmp_path, sockets, farm)
        try:
            before = swap(device, farm)
        finally:
            device.program.stop()
    releases = check(farm)
    # While the other one was started, loaded and tried, the incumbent went on.
    assert releases.count(INCUMBENT) > before


def test_a_release_that_does_not_fit_beside_the_incumbent_takes_its_place_and_windows_wait(tmp_path: Path, farm: Farm) -> None:
    with TemporaryDirectory(prefix="sh") as sockets:
        device = start(tmp_path, sockets, farm, memory_bytes=BUDGET)
        try:
            swap(device, farm)
        finally:
            device.program.stop()
    check(farm)
    told = [line for line in (tmp_path / "agent.log").read_text().splitlines() if "swap_unloads_first" in line]
    assert len(told) == 1, told
    assert "no answer for" in told[0]
