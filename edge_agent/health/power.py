"""Energy that the device has used, where a sensor tells: RAPL counters of a PC, or the board's power rails (Jetson, INA226…).

RAPL: https://www.kernel.org/doc/html/latest/power/powercap/powercap.html (`energy_uj`, microjoules, which wrap round at
`max_energy_range_uj`). Rails: https://www.kernel.org/doc/html/latest/hwmon/sysfs-interface.html (`power1_input`, microwatts).
A Raspberry Pi 4 has neither.
"""

import threading
import time
from pathlib import Path
from typing import Final, Protocol

SAMPLE_SECONDS: Final = 0.05


class EnergyMeter(Protocol):
    """Counts energy while it is open."""

    name: str
    """What is measured, for people."""

    def joules(self) -> float:
        """Since it was opened."""
        ...

    def close(self) -> None:
        """Stop measuring."""


class RaplMeter:
    """The processor packages' own counters."""

    name = "RAPL, all processor packages"

    def __init__(self, zones: list[Path]) -> None:
        """Raises OSError or ValueError when a counter cannot be read (the kernel shows them to root alone)."""
        self._zones = [(zone / "energy_uj", int((zone / "max_energy_range_uj").read_text())) for zone in zones]
        self._last = [int(file.read_text()) for file, _ in self._zones]
        self._total = 0

    def joules(self) -> float:
        """See the port."""
        for position, (file, wrap) in enumerate(self._zones):
            now = int(file.read_text())
            self._total += now - self._last[position] + (wrap if now < self._last[position] else 0)
            self._last[position] = now
        return self._total / 1e6

    def close(self) -> None:
        """See the port."""


class RailMeter:
    """Power rails, read twenty times a second by a thread of its own."""

    def __init__(self, rails: list[Path]) -> None:
        """Raises OSError or ValueError when a rail cannot be read."""
        self.name = f"power rails ({len(rails)})"
        self._rails = rails
        self._joules = 0.0
        self._at, self._watts = time.monotonic(), self._read()
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._sample, name="power", daemon=True)
        self._thread.start()

    def joules(self) -> float:
        """See the port."""
        with self._lock:
            self._add()
            return self._joules

    def close(self) -> None:
        """See the port."""
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            with self._lock:
                self._add()

    def _add(self) -> None:
        now, watts = time.monotonic(), self._read()
        self._joules += (self._watts + watts) / 2 * (now - self._at)
        self._at, self._watts = now, watts

    def _read(self) -> float:
        return sum(int(rail.read_text()) for rail in self._rails) / 1e6


def open_meter(root: Path = Path("/sys/class")) -> EnergyMeter | None:
    """The device's meter, None where it has none that can be read."""
    zones = sorted(path.parent for path in root.glob("powercap/intel-rapl:*/energy_uj") if path.parent.name.count(":") == 1)
    rails = sorted(root.glob("hwmon/hwmon*/power*_input"))
    try:
        if zones:
            return RaplMeter(zones)
        if rails:
            return RailMeter(rails)
    except (OSError, ValueError):
        return None
    return None
