"""Maintenance windows: whether one is open at a given time, until when, and when the next one opens. Pure.

A window opens at each time that its cron expression names in its zone and stays open for its duration. When the clocks are put
forward, an opening in the hour that is left out comes at the end of that hour, as with Debian's cron.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from edge_agent.update_settings import MaintenanceWindow


@dataclass(frozen=True, slots=True)
class Opening:
    """`is_open` until `changes` (seconds since 1970), or closed until then; None: it never opens again."""

    is_open: bool
    changes: float | None


def find_opening(windows: Sequence[MaintenanceWindow], now: float) -> Opening:
    """What the windows together say at `now` (seconds since 1970). Raises ValueError for an expression that is none."""
    ends = [start + item.duration for item in windows if (start := _last_start(item, now)) is not None]
    if any(end > now for end in ends):
        return Opening(is_open=True, changes=max(ends))
    starts = [start for item in windows if (start := next_start(item, now)) is not None]
    return Opening(is_open=False, changes=min(starts, default=None))


def next_start(window: MaintenanceWindow, now: float) -> float | None:
    """When it opens next after `now`; None if never. Raises ValueError for an expression or a zone that is none."""
    return _first(window, now, reverse=False)


def _last_start(window: MaintenanceWindow, now: float) -> float | None:
    """When it opened last, `now` included; None if never."""
    return _first(window, int(now) + 1, reverse=True)


def _first(window: MaintenanceWindow, now: float, *, reverse: bool) -> float | None:
    # Only devices with windows pay for the import.
    from cronsim import CronSim, CronSimError

    at = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(window.zone))
    try:
        return next(CronSim(window.cron, at, reverse=reverse)).timestamp()
    except StopIteration:
        return None
    except CronSimError as error:
        raise ValueError(str(error)) from error
