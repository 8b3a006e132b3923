"""Features of which values a window has, and how often: they read what is there, so they know no missing-value policy.

Formulas and units: docs/features.md.
"""

from collections.abc import Callable, Mapping

from edge_agent.inference.worker.series import FeatureError, Series


def count(series: Series) -> float:
    """How many events have a value."""
    return float(series.values.size)


def count_missing(series: Series) -> float:
    """How many events have none."""
    return float(series.events - series.values.size)


def rate_per_hour(series: Series) -> float:
    """Values per hour of event time, counted as steps from one to the next; 0 for one value or none."""
    if series.values.size < 2:
        return 0.0
    at = series.value_times()
    hours = float(at[-1] - at[0]) / 3600.0
    if hours <= 0.0:
        raise FeatureError("has no time between its first and last value")
    return (series.values.size - 1) / hours


def minutes_since_last(series: Series) -> float:
    """Minutes from the last value that is there to the window's last event; 0 if that event has it."""
    if not series.values.size:
        raise FeatureError("has no values")
    at = series.value_times()
    return float(series.times[-1] - at[-1]) / 60.0


PRESENCE: Mapping[str, Callable[..., float]] = {
    "count": count,
    "count_missing": count_missing,
    "rate_per_hour": rate_per_hour,
    "minutes_since_last": minutes_since_last,
}
