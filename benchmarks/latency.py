"""Latencies of a run, kept small: a float each."""

from array import array


class Latencies:
    """Seconds, in the order in which they came."""

    def __init__(self) -> None:
        self._seconds = array("d")

    def add(self, seconds: float) -> None:
        """One more."""
        self._seconds.append(seconds)

    def __len__(self) -> int:
        return len(self._seconds)

    def quantile(self, share: float) -> float:
        """The least of them that at least this share of all does not exceed. Raises IndexError when there is none."""
        ordered = sorted(self._seconds)
        return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
