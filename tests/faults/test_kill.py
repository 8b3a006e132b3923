"""SIGKILL of each part at random moments of the stream: nothing that was acknowledged is lost or answered twice."""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

KILLS = 3
AWAY = 1.0
"""Seconds from a kill to the start."""


def kill_agent(world: Any) -> Callable[[], None]:
    world.agent.kill()
    return world.agent.start


def kill_worker(world: Any) -> Callable[[], None]:
    end = time.monotonic() + 30
    while (pid := world.worker_pid()) is None and time.monotonic() < end:
        time.sleep(0.01)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return lambda: None  # its daemon starts it again


def kill_controller(world: Any) -> Callable[[], None]:
    world.controller.kill()
    return world.controller.start


def kill_site_broker(world: Any) -> Callable[[], None]:
    world.site.kill()
    return world.site.start


def kill_fleet_broker(world: Any) -> Callable[[], None]:
    world.fleet.kill()
    return world.fleet.start


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kill", [kill_agent, kill_worker, kill_controller, kill_site_broker, kill_fleet_broker])
def test_nothing_is_lost_or_repeated_when_it_is_killed_three_times(
    world: Any, kill: Callable[[Any], Callable[[], None]]
) -> None:
    moments = random.Random(kill.__name__)
    world.sensor.start()
    for _ in range(KILLS):
        world.wait_for_stream()
        time.sleep(moments.uniform(1.0, 3.0))
        start_again = kill(world)
        time.sleep(AWAY)
        start_again()
    world.wait_for_stream()
    world.settle()
    for pipeline in ("echo", "frost"):
        found = world.reconcile(pipeline)
        print(kill.__name__, found)
        assert found.sent > 300
        assert found.expected > 300
        assert (found.missing, found.repeated, found.unexpected) == (0, 0, 0), found
