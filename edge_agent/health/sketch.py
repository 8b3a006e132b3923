"""A quantile sketch of latencies in constant memory.

DDSketch (Masson, Rim, Lee: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", VLDB 2019):
a value goes into the bucket `ceil(log_gamma(value))`, gamma = (1 + a) / (1 - a), so a quantile is right within a factor of
1 ± a. With a = 1 % the range from a microsecond to an hour takes at most 1,100 buckets.
"""

import math
from typing import Final

ACCURACY: Final = 0.01
_GAMMA: Final = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA: Final = math.log(_GAMMA)
_LEAST: Final = 1e-6


class Sketch:
    """Counts of values (seconds, or any positive unit) by logarithmic bucket."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0

    def add(self, value: float, times: int = 1) -> None:
        """Count `value` (not below 1e-6, smaller ones are counted as that)."""
        bucket = math.ceil(math.log(value if value > _LEAST else _LEAST) / _LOG_GAMMA)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self.count += times

    def merge(self, other: "Sketch") -> None:
        """Add another sketch's counts to this one."""
        for bucket, times in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self.count += other.count

    def quantile(self, q: float) -> float | None:
        """The value below which the share `q` (0 to 1) of the values lies; None when there are none."""
        if not self.count:
            return None
        rank = q * (self.count - 1)
        seen = 0
        bucket = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen > rank:
                break
        return 2 * math.exp(bucket * _LOG_GAMMA) / (1 + _GAMMA)

    def clear(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        self.count = 0
