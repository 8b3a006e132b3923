"""One input's values in a window, oldest first, with what stands in for the missing ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]

LARGEST = float(np.finfo(np.float32).max)
"""Models read float32, so a larger value has no place in a feature. It also keeps fourth powers inside float64."""


class FeatureError(ValueError):
    """This input has not what a feature needs (a missing value, too few events, no times): the fault of the input alone."""


@dataclass(frozen=True)
class Series:
    """The values that a feature reads.

    `values` has at least one; `positions` says which of the window's `events` events each value is of, ascending; `times` has
    the event time of every event in seconds since 1970, or is empty.
    """

    values: Column
    positions: NDArray[np.intp]
    events: int
    times: Column

    def value_times(self) -> Column:
        """The event time of each value, in seconds since 1970; raises FeatureError where the window has none."""
        if self.times.size != self.events:
            raise FeatureError(f"has {self.events} events and {self.times.size} event times")
        return self.times[self.positions]


def to_column(values: Sequence[float | None]) -> Column:
    """Float64, None as NaN. Raises FeatureError for a value that float32 cannot hold."""
    column = np.asarray(values, dtype=np.float64)
    # Not `max`, which a NaN would hide behind.
    if column.size and np.fmax.reduce(np.abs(column)) > LARGEST:
        raise FeatureError("has a value that is too large for float32")
    return column


def present(column: Column, times: Column) -> Series:
    """The values that are there, whatever is missing; here alone `values` may be empty."""
    positions = np.flatnonzero(~np.isnan(column))
    return Series(column[positions], positions, column.size, times)


def fill(column: Column, times: Column, missing: Any = "error") -> Series:
    """The series under a missing-value policy; raises FeatureError where the policy cannot be kept, or nothing is left."""
    absent = np.isnan(column)
    lacking = int(np.count_nonzero(absent))
    if not lacking:
        values, positions = column, np.arange(column.size)
    elif missing == "error":
        raise FeatureError(f"lacks {lacking} of {column.size} values")
    else:
        there = present(column, times)
        if missing == "drop":
            values, positions = there.values, there.positions
        else:
            values, positions = _stand_in(there, column, missing), np.arange(column.size)
    if not values.size:
        raise FeatureError("has no values")
    return Series(values, positions, column.size, times)


def _stand_in(there: Series, column: Column, missing: Any) -> Column:
    absent = np.isnan(column)
    if missing not in ("mean", "previous", "linear"):
        return np.where(absent, 0.0 if missing == "zero" else float(missing), column)
    if not there.values.size:
        raise FeatureError("has no values")
    if missing == "mean":
        return np.where(absent, there.values.mean(), column)
    if missing == "previous":
        before = np.searchsorted(there.positions, np.arange(column.size), side="right") - 1
        if before[0] < 0:
            raise FeatureError("lacks its first value, and no value is before it")
        return np.take(there.values, before)
    known = there.value_times()
    if np.any(np.diff(there.times) < 0):
        raise FeatureError("has event times that are out of order")
    return np.where(absent, np.interp(there.times, known, there.values), column)
