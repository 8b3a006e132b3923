"""What `footprint_watch.sh` wrote down about a process and its children: memory, CPU, and who else shares its pages."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a process tree."""

    at: float
    """Seconds since boot."""
    others: int
    """Processes outside the tree that map files of the same environment: their share is missing in its proportional sizes."""
    memory_mb: tuple[float, ...]
    """Proportional set size of each process, the watched one first."""
    cpu_ticks: int
    """User and system time of the whole tree."""


def parse(text: str) -> list[Look]:
    """The looks of a file, in order. Raises ValueError where the watched process was gone."""
    found = []
    for line in text.splitlines():
        at, others, *processes = line.split()
        if not processes:
            raise ValueError(f"the process had ended before the look at {at} s")
        sizes = [process.split(":") for process in processes]
        memory = tuple(int(kilobytes) * 1024 / 1e6 for kilobytes, _ in sizes)
        found.append(Look(float(at), int(others), memory, sum(int(ticks) for _, ticks in sizes)))
    return found


def cpu_percent(looks: Sequence[Look], ticks_per_second: int) -> float:
    """Of one core, from the first look to the last."""
    first, last = looks[0], looks[-1]
    return (last.cpu_ticks - first.cpu_ticks) / ticks_per_second / (last.at - first.at) * 100
