"""Updates that wait, on the real loop with a clock that is set by hand."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_agent.update_settings import MaintenanceWindow, ShadowSettings
from edge_agent.updates import fetching
from edge_agent.updates.conditions import Surroundings
from edge_agent.updates.trust.job import Failed
from fleet_contract.reasons import Reason
from fleet_contract.update_report import Evidence, Figures, UpdateReport
from fleet_contract.update_report import UpdateState as State
from tests.unit.edge_agent.updates.test_updater import Device, Disk, committed, digest

NIGHT = (MaintenanceWindow(cron="0 2 * * *", duration=3600.0),)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
TWO = datetime(2026, 11, 26, 2, tzinfo=UTC).timestamp()


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Callable[..., Device]]:
    devices: list[Device] = []
    disk = Disk()

    def make(**settings: Any) -> Device:
        if devices:
            devices[-1].dead = True
        device = Device(tmp_path, disk, **settings)
        device.now = NOON
        devices.append(device)
        device.updater.start()
        return device

    yield make
    for device in devices:
        device.end()


def report(device: Device) -> UpdateReport:
    return device.updater.reports()[0]


def waits(device: Device, reason: Reason) -> None:
    device.until(lambda: any((item.state, item.reason) == (State.WAITING, reason) for item in device.updater.reports()))
    device.until(lambda: device.updater._steps.current is None)


def test_an_update_waits_for_the_window_says_so_once_and_goes_on_when_it_opens(boot: Callable[..., Device]) -> None:
    device = boot(windows=NIGHT)
    committed(device, 1, 1)  # where nothing answers there is nothing to protect
    device.notes.clear()
    jobs = len(device.jobs)
    device.desire(2, frost=2)
    waits(device, Reason.OUTSIDE_WINDOW)
    for _ in range(3):
        device.updater.plan()
    assert report(device).until == "2026-11-26T02:00:00Z"
    assert [note["reason"] for note in device.notes] == [Reason.OUTSIDE_WINDOW]
    assert len(device.jobs) == jobs
    device.now = TWO
    device.updater.plan()
    device.settle("frost", 2, State.COMMITTED)
    assert (report(device).reason, report(device).until) == (None, None)


def test_the_look_is_repeated_by_itself(boot: Callable[..., Device]) -> None:
    device = boot(windows=NIGHT)
    committed(device, 1, 1)
    device.now = TWO - 0.05
    device.desire(2, frost=2)
    waits(device, Reason.OUTSIDE_WINDOW)
    device.now = TWO
    device.settle("frost", 2, State.COMMITTED)


def test_a_download_that_went_early_waits_unpacked_over_a_restart_and_is_not_fetched_again(boot: Callable[..., Device]) -> None:
    settings = {"windows": NIGHT, "fetch_outside_window": True}
    device = boot(**settings)
    committed(device, 1, 1)
    device.desire(2, frost=2)
    waits(device, Reason.OUTSIDE_WINDOW)
    assert ("frost", digest(2)) in device.disk.bundles
    assert device.running == {"frost": 1}
    device.until_stored()
    again = boot(**settings)
    waits(again, Reason.OUTSIDE_WINDOW)
    again.now = TWO
    again.updater.plan()
    again.settle("frost", 2, State.COMMITTED)
    assert [job.have for job in again.jobs] == [digest(2)]
    assert again.running == {"frost": 2}


def test_a_revoked_release_gives_way_outside_the_window(boot: Callable[..., Device]) -> None:
    device = boot(windows=NIGHT)
    committed(device, 1, 1)
    device.updater._floors.releases["frost"] = 2
    committed(device, 2, 2)


def test_going_back_to_what_is_on_the_disk_waits_for_nothing(boot: Callable[..., Device]) -> None:
    device = boot(windows=NIGHT)
    committed(device, 1, 1)
    device.now = TWO
    committed(device, 2, 2)
    device.now = NOON
    device.updater.hold(None)
    committed(device, 3, 1)
    assert device.running == {"frost": 1}


def test_a_held_model_waits_over_a_restart_until_it_is_let_go_and_others_go_on(boot: Callable[..., Device]) -> None:
    device = boot()
    device.updater.hold("frost", "harvest")
    device.desire(1, frost=1, leak=1)
    device.until(device.ended("leak", 1, State.COMMITTED))
    waits(device, Reason.HELD)
    assert "harvest" in (report(device).detail or "")
    device.until_stored()
    again = boot()
    waits(again, Reason.HELD)
    assert again.updater.holds() == ("frost",)
    assert again.updater.release(None) == ("frost",)
    again.settle("frost", 1, State.COMMITTED)


def test_a_hold_ends_a_running_download(boot: Callable[..., Device]) -> None:
    device = boot()
    device.hang = True
    device.desire(1, frost=1)
    device.until(lambda: bool(device.jobs))
    device.updater.hold(None)
    waits(device, Reason.HELD)
    device.hang = False
    device.updater.release(None)
    device.settle("frost", 1, State.COMMITTED)


def test_a_download_ends_when_the_way_to_the_network_becomes_a_metered_one(
    boot: Callable[..., Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LOOK_AGAIN", 0.001)
    device = boot(metered_interfaces=("wwan*",))
    device.hang = True
    device.around = Surroundings(interface="wlan0")
    device.desire(1, frost=1)
    device.until(lambda: bool(device.jobs))
    device.around = Surroundings(interface="wwan0")
    waits(device, Reason.METERED_LINK)
    device.hang, device.around = False, Surroundings(interface="wlan0")
    device.updater.plan()
    device.settle("frost", 1, State.COMMITTED)


def test_a_hold_while_it_shadows_keeps_it_from_the_switch(boot: Callable[..., Device]) -> None:
    device = boot(shadow=ShadowSettings(inputs=50, time=600.0))
    committed(device, 1, 1)
    device.desire(2, frost=2)
    device.until(lambda: report(device).state is State.SHADOWING)
    device.updater.hold("frost")
    good = Figures(inferences=50)
    device.evidence["frost"] = Evidence(candidate=good, incumbent=good, compared=50, agreed=50)
    waits(device, Reason.HELD)
    assert device.running == {"frost": 1}
    assert device.cancelled == 1
    device.updater.release("frost")
    device.settle("frost", 2, State.COMMITTED)


def test_a_battery_that_is_charged_lets_the_update_go_on(boot: Callable[..., Device]) -> None:
    device = boot(min_battery=30)
    device.around = Surroundings(battery_percent=12)
    device.desire(1, frost=1)
    waits(device, Reason.BATTERY_LOW)
    device.around = Surroundings(battery_percent=11)
    detail = report(device).detail
    device.updater.plan()
    assert report(device).detail == detail  # not told anew with each percent
    device.around = Surroundings(battery_percent=11, charging=True)
    device.updater.plan()
    device.settle("frost", 1, State.COMMITTED)


def test_what_was_received_counts_in_its_month_and_no_more_is_fetched_than_the_budget(boot: Callable[..., Device]) -> None:
    device = boot(data_budget=1000)
    device.received = 400
    committed(device, 1, 1)
    assert device.updater.received == 400
    assert device.jobs[-1].budget == 1000
    device.received = 0
    device.fetch_error = Failed(reason=Reason.DATA_BUDGET, detail="700 bytes are needed", temporary=True, needed=700)
    device.desire(2, frost=2)
    waits(device, Reason.DATA_BUDGET)
    assert report(device).until == "2026-12-01T00:00:00Z"
    jobs = len(device.jobs)
    device.updater.plan()
    assert (len(device.jobs), device.jobs[-1].budget) == (jobs, 600)
    device.fetch_error = None
    device.now = 0.0  # a clock that is not believed refills nothing
    device.updater.plan()
    assert (len(device.jobs), device.updater.received) == (jobs, 400)
    device.now = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    device.updater.plan()
    device.settle("frost", 2, State.COMMITTED)
    assert device.updater.received == 0


def test_what_another_room_has_fetched_counts_too_and_is_kept(boot: Callable[..., Device]) -> None:
    device = boot(data_budget=1000)
    device.updater.receive(300)
    device.until_stored()
    device = boot(data_budget=1000)
    assert device.updater.received == 300
    committed(device, 1, 1)
    assert device.jobs[-1].budget == 700


def test_a_release_beyond_a_whole_months_budget_says_so_and_is_tried_in_each_month(boot: Callable[..., Device]) -> None:
    device = boot(data_budget=1000)
    device.fetch_error = Failed(reason=Reason.DATA_BUDGET, detail="x", temporary=True, needed=5000, received=10)
    device.desire(1, frost=1)
    waits(device, Reason.DATA_BUDGET)
    assert report(device).detail == "5000 bytes are needed and 1000 are a whole month's data budget"
    device.updater.plan()
    assert len(device.jobs) == 1
    device.now = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    device.updater.plan()
    waits(device, Reason.DATA_BUDGET)
    assert len(device.jobs) == 2
    device.fetch_error = None  # a delta has come
    device.now = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    device.updater.plan()
    device.settle("frost", 1, State.COMMITTED)


def test_a_month_that_a_wrong_clock_has_turned_to_is_not_waited_for(boot: Callable[..., Device]) -> None:
    device = boot(data_budget=1000)
    device.now = datetime(2090, 1, 1, tzinfo=UTC).timestamp()
    device.updater.receive(1000)
    device.now = NOON
    assert device.updater.received == 1000  # and setting it back has refilled nothing
    device.now = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert device.updater.received == 0


def test_a_child_that_stops_at_the_budget_is_not_started_again_and_again(boot: Callable[..., Device]) -> None:
    device = boot(data_budget=1000)
    device.fetch_error = Failed(reason=Reason.DATA_BUDGET, detail="x", temporary=True)
    device.desire(1, frost=1)
    waits(device, Reason.DATA_BUDGET)
    device.updater.plan()
    assert len(device.jobs) == 1


def test_a_release_that_waits_unpacked_goes_on_with_a_spent_budget_and_a_return_has_none(boot: Callable[..., Device]) -> None:
    device = boot(windows=NIGHT, fetch_outside_window=True, data_budget=400)
    committed(device, 1, 1)
    device.received = 400
    device.desire(2, frost=2)
    waits(device, Reason.OUTSIDE_WINDOW)
    assert device.updater.received == 400
    device.now = TWO
    device.updater.plan()
    device.settle("frost", 2, State.COMMITTED)
    assert device.jobs[-1].budget == 1024**2
    committed(device, 3, 1)
    assert device.jobs[-1].budget is None


def test_another_bundle_than_the_one_that_waits_unpacked_waits_for_the_budget(boot: Callable[..., Device]) -> None:
    device = boot(windows=NIGHT, fetch_outside_window=True, data_budget=400)
    committed(device, 1, 1)
    device.received = 400
    device.desire(2, frost=2)
    waits(device, Reason.OUTSIDE_WINDOW)
    device.fetch_error = Failed(reason=Reason.DATA_BUDGET, detail="x", temporary=True, needed=2 * 1024**2)
    device.now = TWO
    device.updater.plan()
    waits(device, Reason.DATA_BUDGET)
    jobs = len(device.jobs)
    device.updater.plan()
    assert len(device.jobs) == jobs
