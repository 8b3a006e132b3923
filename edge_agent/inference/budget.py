"""How much memory the workers may take. Pure: figures in, whether they fit out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """Bounds in bytes."""

    limit: int | None
    """Of all workers together, as proportional set sizes; None is no limit."""
    floor: int
    """What the device must have available beside them; 0 asks for none."""

    def find_shortage(self, used: int, available: int | None) -> str | None:
        """What is wrong with workers that use so much while the device has so much available (None: not known); or None."""
        if self.limit is not None and used > self.limit:
            return f"workers take {_mib(used)}, memory_budget is {_mib(self.limit)}"
        if available is not None and available < self.floor:
            return f"{_mib(available)} of memory are available, memory_floor is {_mib(self.floor)}"
        return None

    def has_room(self, used: int, available: int | None, more: int) -> bool:
        """Whether another worker of `more` bytes fits, with a quarter of the floor to spare so that it may stay."""
        if self.limit is not None and used + more > self.limit:
            return False
        return available is None or not self.floor or available - more >= self.floor * 5 // 4


def _mib(size: int) -> str:
    return f"{size / 1024**2:.0f} MiB"
