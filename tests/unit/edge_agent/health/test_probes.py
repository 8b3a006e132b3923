"""What the kernel's files say."""

from pathlib import Path

import pytest

from edge_agent.health.probes import read_battery, read_default_interface


def supply(root: Path, name: str, **files: str) -> None:
    folder = root / name
    folder.mkdir()
    for key, value in files.items():
        (folder / key).write_text(value + "\n")


def test_a_device_without_a_battery_has_none(tmp_path: Path) -> None:
    assert read_battery(tmp_path) == (None, False)


@pytest.mark.parametrize(
    ("status", "online", "fed"), [("Discharging", "0", False), ("Charging", "0", True), ("Unknown", "1", True)]
)
def test_the_emptiest_battery_counts_and_whether_the_device_is_fed(tmp_path: Path, status: str, online: str, fed: bool) -> None:
    supply(tmp_path, "BAT0", type="Battery", capacity="80", status=status)
    supply(tmp_path, "BAT1", type="Battery", capacity="40", status="Discharging")
    supply(tmp_path, "mouse", type="Battery", scope="Device", capacity="3", status="Charging")
    supply(tmp_path, "AC", type="Mains", online=online)
    supply(tmp_path, "broken", type="Battery", capacity="?")
    assert read_battery(tmp_path) == (40.0, fed)


def test_the_default_route_with_the_lowest_metric_names_the_interface(tmp_path: Path) -> None:
    file = tmp_path / "route"
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    file.write_text(
        head
        + "wwan0\t00000000\t0101A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0\n"
        + "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
        + "eth1\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
    )
    assert read_default_interface(file) == "wlan0"
    file.write_text(head)
    assert read_default_interface(file) is None
    assert read_default_interface(tmp_path / "none") is None
