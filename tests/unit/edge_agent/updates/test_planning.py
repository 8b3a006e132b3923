"""Trust children of updates, of refreshing and of a configuration take turns."""

from collections.abc import Callable

import pytest

from edge_agent.updates import planning, refreshing
from edge_agent.updates.history import DESIRED
from edge_agent.updates.machine import Event
from fleet_contract.update_report import UpdateState as State
from tests.unit.edge_agent.updates.test_updater import Device
from tests.unit.edge_agent.updates.test_updater import boot as boot


def test_an_update_begins_after_a_configuration_and_loses_no_attempt(
    boot: Callable[..., Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "TURN", 0.001)
    device = boot()
    device.configuring = True
    device.desire(1, frost=1)
    device.loop.run_until(lambda: False, 0.05)
    (report,) = device.updater.reports()
    assert (report.state, report.attempts, device.jobs) == (State.WAITING, 0, [])
    assert not device.updater.fetching
    device.configuring = False
    device.settle("frost", 1, State.COMMITTED)
    assert [move.event for move in device.updater.moves()["frost"]][:3] == [DESIRED, Event.BEGIN, Event.FETCHED]


def test_what_is_unpacked_already_goes_on_beside_a_configuration(boot: Callable[..., Device]) -> None:
    device = boot()
    device.silent_test = True
    device.desire(1, frost=1)
    device.until(device.ended("frost", 1, State.TESTING))
    device = boot()
    device.configuring = True
    device.settle("frost", 1, State.COMMITTED)


def test_the_metadata_is_not_refreshed_beside_a_configuration(
    boot: Callable[..., Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "FIRST", 0.001)
    monkeypatch.setattr(refreshing, "SOON", 0.001)
    device = boot()
    device.configuring = True
    device.loop.run_until(lambda: False, 0.05)
    assert device.jobs == []
    device.configuring = False
    device.until(lambda: [(job.model, job.configuration) for job in device.jobs] == [("", None)])
