"""Energy from counters that wrap round and from power rails."""

from pathlib import Path

import pytest

from edge_agent.health.power import RailMeter, RaplMeter, open_meter


def zone(root: Path, name: str, microjoules: int, wrap: int = 1_000_000) -> Path:
    folder = root / "powercap" / name
    folder.mkdir(parents=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{wrap}\n")
    return folder


def test_packages_are_added_up_and_their_parts_are_not(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "intel-rapl:0", 100), zone(tmp_path, "intel-rapl:1", 900_000)
    zone(tmp_path, "intel-rapl:0:0", 50)
    meter = open_meter(tmp_path)
    assert isinstance(meter, RaplMeter)
    (first / "energy_uj").write_text("500100")
    (second / "energy_uj").write_text("950000")
    assert meter.joules() == pytest.approx(0.55)


def test_a_counter_that_wraps_round_goes_on_counting(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", 900_000)
    meter = open_meter(tmp_path)
    assert meter is not None
    (folder / "energy_uj").write_text("100000")
    assert meter.joules() == pytest.approx(0.2)
    (folder / "energy_uj").write_text("300000")
    assert meter.joules() == pytest.approx(0.4)


def test_rails_are_integrated_over_time(tmp_path: Path) -> None:
    for number in (1, 2):
        rail = tmp_path / "hwmon" / "hwmon0" / f"power{number}_input"
        rail.parent.mkdir(parents=True, exist_ok=True)
        rail.write_text("2500000\n")
    meter = open_meter(tmp_path)
    assert isinstance(meter, RailMeter)
    first, later = meter.joules(), meter.joules()
    meter.close()
    assert 0 <= first < later


def test_a_device_without_a_sensor_or_leave_to_read_it_has_no_meter(tmp_path: Path) -> None:
    assert open_meter(tmp_path) is None
    zone(tmp_path, "intel-rapl:0", 1)
    (tmp_path / "powercap" / "intel-rapl:0" / "energy_uj").write_text("unreadable")
    assert open_meter(tmp_path) is None
