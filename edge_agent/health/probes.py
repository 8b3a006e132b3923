"""Probes: what the operating system says about the device and about our processes."""

import contextlib
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from fleet_contract.messages import Hardware


@dataclass(frozen=True, slots=True)
class DeviceProbe:
    """One look at the device."""

    cpu_percent: float
    memory_percent: float
    temperature_celsius: float | None
    disk_free_bytes: int
    uptime_s: float


def probe_device(state_dir: str) -> DeviceProbe:
    """CPU since the last call (0 on the first), memory, the hottest sensor, free space for the state folder."""
    return DeviceProbe(
        cpu_percent=psutil.cpu_percent(interval=None),
        memory_percent=psutil.virtual_memory().percent,
        temperature_celsius=read_temperature(),
        disk_free_bytes=psutil.disk_usage(state_dir).free,
        uptime_s=round(time.clock_gettime(time.CLOCK_BOOTTIME), 1),
    )


@dataclass(frozen=True, slots=True)
class Pressure:
    """What may make models wait; None is what the device does not tell."""

    celsius: float | None
    available: int | None
    """Bytes of memory that could be had without swapping."""
    memory: dict[str, int]
    """By model, what its worker takes: the proportional set size, or an upper bound of it where that is enough."""


def probe_pressure(workers: Mapping[str, int], limit: int | None) -> Pressure:
    """One look at temperature and memory; `workers` are process ids by model.

    The proportional set size costs the kernel a walk through all pages, so it is asked for only where the resident sizes, which
    count shared pages twice, are together beyond `limit`.
    """
    memory = {name: size for name, pid in workers.items() if (size := resident_of(pid)) is not None}
    if limit is not None and sum(memory.values()) > limit:
        memory = {name: size for name in memory if (size := memory_of(workers[name])) is not None}
    return Pressure(read_temperature(), psutil.virtual_memory().available, memory)


def resident_of(pid: int) -> int | None:
    """Resident set size of a process in bytes; None if it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def read_temperature(root: Path = Path("/sys/class/thermal")) -> float | None:
    """The hottest thermal zone in °C; None where the board has no sensor."""
    found = []
    for zone in sorted(root.glob("thermal_zone*/temp")):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue  # a zone may be switched off; the others still count
    return max(found, default=None)


def read_battery(root: Path = Path("/sys/class/power_supply")) -> tuple[float | None, bool]:
    """The emptiest battery in percent, and whether the device is fed from outside; None where it has no battery.

    https://www.kernel.org/doc/html/latest/power/power_supply_class.html
    """
    levels, fed = [], False
    for supply in sorted(root.glob("*")):
        try:
            kind = (supply / "type").read_text().strip()
            if kind != "Battery":
                fed = fed or (supply / "online").read_text().strip() == "1"
                continue
            if (supply / "scope").is_file() and (supply / "scope").read_text().strip() == "Device":
                continue  # of a mouse, say
            levels.append(float((supply / "capacity").read_text()))
            fed = fed or (supply / "status").read_text().strip() in ("Charging", "Full")
        except (OSError, ValueError):
            continue  # a supply that does not tell is none
    return min(levels, default=None), fed


def read_default_interface(file: Path = Path("/proc/net/route")) -> str | None:
    """The network interface of the default route (IPv4) with the lowest metric; None where there is none."""
    routes = []
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines()[1:]:
            parts = line.split()
            if len(parts) >= 8 and parts[1] == parts[7] == "00000000":
                routes.append((int(parts[6]), parts[0]))
    return min(routes)[1] if routes else None


def memory_of(pid: int) -> int | None:
    """Proportional set size of a process in bytes; its resident size where the kernel does not tell; None if it is gone."""
    try:
        return sum(
            int(line.split()[1]) * 1024
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith("Pss:")
        )
    except (OSError, ValueError):
        return resident_of(pid)


def peak_of(pid: int) -> int | None:
    """The most that a process ever had resident, in bytes (`VmHWM`); None if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def written_bytes() -> int | None:
    """Bytes that this process has caused to be written to storage (`write_bytes` of `/proc/self/io`); None if not told.

    Files in memory (tmpfs) do not count.
    """
    try:
        return int(psutil.Process().io_counters().write_bytes)
    except (psutil.Error, AttributeError, OSError):
        return None


def read_hardware() -> Hardware:
    """What the device is."""
    board = None
    with contextlib.suppress(OSError):  # only boards with a device tree have it
        board = Path("/proc/device-tree/model").read_text().rstrip("\0\n") or None
    return Hardware(
        machine=platform.machine(),
        board=board,
        cpus=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
    )


def read_operating_system() -> str:
    """The distribution's name for people, such as `Debian GNU/Linux 12 (bookworm)`."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def read_boot_id() -> str:
    """The kernel's random id of this boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
