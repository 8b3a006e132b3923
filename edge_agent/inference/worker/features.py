"""Features: a window of readings, or one text, becomes the vector that a model reads. Training and devices run this code.

A feature is `{"op": ..., "input": ..., "args": {...}}` as the manifest has it. Results are joined in order, float32.
`n` is the number of events in the window; values are in the input's unit, oldest first; `x` is the input's last value.

| op | args (default) | gives | what, and its unit |
|---|---|---|---|
| `last`, `first` | | 1 | that value; input's unit |
| `mean`, `min`, `max`, `range` | | 1 | over the window; `range` is max - min; input's unit |
| `std` | | 1 | population standard deviation; input's unit |
| `delta` | | 1 | last - first; input's unit |
| `slope` | `per` (`"hour"`) | 1 | least squares; `"hour"`: input's unit per hour of event time, `"step"`: per event |
| `lag` | `k` (1) | 1 | the value `k` events before the last; `lag` 0 is `last`; input's unit |
| `values` | `n` | n | the last `n` raw values, oldest first; input's unit |
| `count_missing` | | 1 | how many values are missing; events |
| `hour` | `offset_hours` (0) | 2 | sine and cosine of the last event's time of day (UTC plus offset), period 24 h |
| `day_of_week` | `offset_hours` (0) | 2 | sine and cosine, period 7 days, 0 is Monday 00:00 |
| `day_of_year` | `offset_hours` (0) | 2 | sine and cosine, period 365.25 days, from 1 January 00:00 |
| `char_ngrams` | `n_min` (2), `n_max` (4), `buckets` (1024) | buckets | hashed n-grams of the text: `text_features.py` |

**Missing values** (None or NaN). Every operation on an input takes `missing`, which says what stands in for them:
`"error"` (the default: FeatureError, so that nothing is ever invented unasked), `"drop"` (left out, the order stays; not for
`values` and `lag`, whose positions count), `"mean"` (mean of the present values of the window; FeatureError if there are
none), `"zero"`, or a number. `count_missing` takes no `missing`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.inference.worker.text_features import char_ngrams

Vector = NDArray[np.float32]
Column = NDArray[np.float64]
Window = Mapping[str, Sequence[float | None]]


class FeatureError(ValueError):
    """This input has not what a feature needs (a missing value, too few events, no times): the fault of the input alone."""


class FeatureSpecError(ValueError):
    """The features themselves are wrong (an unknown operation or argument): the fault of the manifest."""


def compute(
    features: Sequence[Mapping[str, Any]], window: Window, times: Sequence[float] = (), text: str | None = None
) -> Vector:
    """The vector of one window or text, shape (width,).

    `window` has the values of each input, oldest first; `times` the event times in seconds since 1970, one for each event.
    Raises FeatureError when this input lacks something, FeatureSpecError when the features are wrong.
    """
    parts = [_one(feature, window, times, text) for feature in features]
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def width(features: Sequence[Mapping[str, Any]]) -> int:
    """How long the vector is; raises FeatureSpecError when an operation or an argument is unknown or out of range."""
    return sum(_width(feature) for feature in features)


def _one(feature: Mapping[str, Any], window: Window, times: Sequence[float], text: str | None) -> Any:
    op, name, args = feature["op"], feature.get("input"), feature.get("args") or {}
    if op == "char_ngrams":
        if text is None:
            raise FeatureError("no text")
        return char_ngrams(text, args.get("n_min", 2), args.get("n_max", 4), args.get("buckets", 1024))
    if op in _TIME_OPS:
        if not len(times):
            raise FeatureError(f"{op}: the window has no event times")
        return _TIME_OPS[op](times[-1], float(args.get("offset_hours", 0)))
    if not isinstance(name, str) or name not in window:
        raise FeatureError(f"{op}: input {name!r} is missing from the window")
    column = np.array([math.nan if value is None else value for value in window[name]], dtype=np.float64)
    if op == "count_missing":
        return np.array([float(np.count_nonzero(np.isnan(column)))])
    column, kept = _fill(op, name, column, args.get("missing", "error"))
    if not column.size:
        raise FeatureError(f"{op}: input {name!r} has no values")
    if op == "values":
        count = args["n"]
        if column.size < count:
            raise FeatureError(f"values: input {name!r} has {column.size} values, {count} are needed")
        return column[-count:]
    if op == "lag":
        back = args.get("k", 1)
        if column.size <= back:
            raise FeatureError(f"lag: input {name!r} has {column.size} values, {back + 1} are needed")
        return column[-1 - back : column.size - back]
    if op == "slope":
        return np.array([_slope(name, column, kept, times, args.get("per", "hour"))])
    if op not in _STATISTICS:
        raise FeatureSpecError(f"feature {op!r}: no such operation")
    return np.array([_STATISTICS[op](column)])


def _fill(op: str, name: str, column: Column, missing: Any) -> Any:
    """The column without missing values, and which of the events are still in it."""
    kept = np.ones(column.size, dtype=bool)
    absent = np.isnan(column)
    if not absent.any():
        return column, kept
    if missing == "error":
        raise FeatureError(f"{op}: input {name!r} lacks {int(absent.sum())} of {column.size} values")
    if missing == "drop":
        return column[~absent], ~absent
    if missing == "mean":
        if absent.all():
            raise FeatureError(f"{op}: input {name!r} has no values")
        return np.where(absent, column[~absent].mean(), column), kept
    return np.where(absent, 0.0 if missing == "zero" else float(missing), column), kept


def _slope(name: str, column: Column, kept: NDArray[np.bool_], times: Sequence[float], per: str) -> float:
    if per == "hour":
        if len(times) != kept.size:
            raise FeatureError(f"slope: input {name!r} has {kept.size} events and {len(times)} event times")
        at = (np.asarray(times, dtype=np.float64) - times[0])[kept] / 3600.0
    else:
        at = np.arange(kept.size, dtype=np.float64)[kept]
    at = at - at.mean()
    spread = float(at @ at)
    if spread == 0.0:
        return 0.0  # one event, or all at one time: nothing has risen or fallen
    return float(at @ (column - column.mean())) / spread


_STATISTICS: dict[str, Callable[[Column], float]] = {
    "last": lambda column: float(column[-1]),
    "first": lambda column: float(column[0]),
    "mean": lambda column: float(column.mean()),
    "min": lambda column: float(column.min()),
    "max": lambda column: float(column.max()),
    "range": lambda column: float(column.max() - column.min()),
    "std": lambda column: float(column.std()),
    "delta": lambda column: float(column[-1] - column[0]),
}


def _circle(turn: float) -> Column:
    return np.array([math.sin(2 * math.pi * turn), math.cos(2 * math.pi * turn)])


def _hour(time: float, offset_hours: float) -> Column:
    return _circle((time / 3600.0 + offset_hours) / 24.0)


def _day_of_week(time: float, offset_hours: float) -> Column:
    # 1970-01-01 was a Thursday, three days after a Monday.
    return _circle(((time / 3600.0 + offset_hours) / 24.0 + 3.0) / 7.0)


def _day_of_year(time: float, offset_hours: float) -> Column:
    try:
        moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=time, hours=offset_hours)
    except OverflowError as error:
        raise FeatureError(f"day_of_year: {time} is not a time") from error
    start = moment.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    return _circle((moment - start).total_seconds() / 86400.0 / 365.25)


_TIME_OPS: dict[str, Callable[[float, float], Column]] = {
    "hour": _hour,
    "day_of_week": _day_of_week,
    "day_of_year": _day_of_year,
}


def _is_count(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _width(feature: Mapping[str, Any]) -> int:
    op, args = feature["op"], dict(feature.get("args") or {})
    if op == "char_ngrams":
        low, high, buckets = args.pop("n_min", 2), args.pop("n_max", 4), args.pop("buckets", 1024)
        _require(_is_count(low, 1, 16) and _is_count(high, 1, 16) and low <= high, op, "n_min and n_max: 1 to 16, in order")
        _require(_is_count(buckets, 1, 2**20), op, "buckets: 1 to 1048576")
        size = int(buckets)
    elif op in _TIME_OPS:
        _require(isinstance(args.pop("offset_hours", 0), (int, float)), op, "offset_hours: a number")
        size = 2
    else:
        size = _column_width(op, feature.get("input"), args)
    _require(not args, op, f"unknown arguments {sorted(args)}")
    return size


def _column_width(op: str, name: Any, args: dict[str, Any]) -> int:
    _require(isinstance(name, str), op, "input: the name of one of the window's inputs")
    if op == "count_missing":
        return 1
    missing = args.pop("missing", "error")
    number = isinstance(missing, (int, float)) and not isinstance(missing, bool) and math.isfinite(missing)
    _require(number or missing in ("error", "drop", "mean", "zero"), op, "missing: error, drop, mean, zero or a number")
    if op in ("values", "lag"):
        _require(missing != "drop", op, "missing: drop would move the positions; choose another")
    if op == "values":
        count = args.pop("n", None)
        _require(_is_count(count, 1, 100_000), op, "n: 1 to 100000")
        return int(count)
    if op == "lag":
        _require(_is_count(args.pop("k", 1), 0, 100_000), op, "k: 0 to 100000")
    elif op == "slope":
        _require(args.pop("per", "hour") in ("hour", "step"), op, "per: hour or step")
    else:
        _require(op in _STATISTICS, op, "no such operation")
    return 1


def _require(good: bool, op: str, text: str) -> None:
    if not good:
        raise FeatureSpecError(f"feature {op!r}: {text}")
