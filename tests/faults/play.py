"""Plays one case in a world of its own: stream, faults at seeded moments, settling, account."""

import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from tests.faults.account import Account, draw_up, settle
from tests.faults.matrix import Case
from tests.faults.programs import until
from tests.faults.world import RATE, World

FLOWS_AFTER: Final = 200
"""Events after which a stream is one."""


@dataclass(slots=True)
class Run:
    """What came of one case with one seed."""

    case: str
    seed: int
    account: Account = field(default_factory=Account)
    failures: list[str] = field(default_factory=list)
    rate: float = 0.0
    """Events a second that the sensor made before the first fault."""
    stream_s: float = 0.0
    """How long events were made."""
    settle_s: float = 0.0
    """From the last event until nothing changed any more."""
    total_s: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    """Process to the share of one core that it took from the first event to the last result."""

    def to_plain(self) -> dict[str, Any]:
        """For one JSON line."""
        return asdict(self)


def play(case: Case, seed: int, folder: Path, rate: float = RATE) -> Run:
    """Run a case. Whatever goes wrong is in `failures`, nothing is raised but what ends the program."""
    began = time.monotonic()
    run = Run(case.name, seed)
    moments = random.Random(f"{case.name} {seed}")
    world = None
    try:
        world = World(folder, case.conditions, seed, rate)
        _play(case, run, world, moments)
    except Exception as error:  # noqa: BLE001 - one seed must not end the soak: it is reported as failed
        run.failures.append(f"{type(error).__name__}: {error}")
    finally:
        if world is not None:
            world.close()
    run.total_s = round(time.monotonic() - began, 1)
    return run


def _play(case: Case, run: Run, world: World, moments: random.Random) -> None:
    usage = _Usage(world)
    start = time.monotonic()
    world.sensor.start()
    time.sleep(moments.uniform(1.0, 2.5))
    run.rate = round(world.sensor.sent / (time.monotonic() - start), 1)
    for _ in range(case.times):
        time.sleep(moments.uniform(0.0, 1.0))
        case.inflict(world, moments)
        _wait_for_stream(world)
    run.stream_s = round(time.monotonic() - start, 1)
    run.settle_s = round(settle(world), 1)
    run.cpu = usage.shares()
    run.account = draw_up(world)
    run.failures += run.account.failures()


def _wait_for_stream(world: World) -> None:
    """The next fault, and the end, come when events flow again."""
    before = world.sensor.sent
    until(lambda: world.sensor.sent >= before + FLOWS_AFTER, "the sensor publishes", 60.0)


class _Usage:
    """Processor time of the processes that live to the end without being replaced."""

    def __init__(self, world: World) -> None:
        self._began = time.monotonic()
        pids = {"controller": world.controller.pid, "agent": world.agent.pid}
        pids |= {"site broker": world.site.pid, "fleet broker": world.fleet.pid, "sensor": psutil.Process().pid}
        if (worker := world.worker_pid()) is not None:
            pids["worker"] = worker
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._before = {name: self._seconds(process) for name, process in self._processes.items()}

    def shares(self) -> dict[str, float]:
        wall = time.monotonic() - self._began
        found = {}
        for name, process in self._processes.items():
            try:
                found[name] = round((self._seconds(process) - self._before[name]) / wall, 3)
            except psutil.Error:  # it was killed
                continue
        return found

    @staticmethod
    def _seconds(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)
