"""What holds an update back, and what it holds back: fetching, trying, or the switch. Pure: values in, a `Held` or None out.

| | before fetching | before trying | before the switch |
|---|---|---|---|
| an operator's hold | yes | yes | yes |
| the maintenance windows | yes, unless `fetch_outside_window` | yes | |
| the battery | yes | yes | |
| the temperature | | yes | |
| a metered link | yes | | |
| the data budget | yes | | |

Going back to a release that was proven here waits for nothing. A model of which no release answers, or whose active release was
revoked, does not wait for a window. What the device takes back by itself never comes here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from typing import Final

from edge_agent.update_settings import UpdateSettings
from edge_agent.updates.ledger import DataUse, Ledger, UpdateRecord
from edge_agent.updates.windows import find_opening
from fleet_contract.reasons import Reason

EARLIEST: Final = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
"""This code is younger, so a clock before it is wrong."""
DEVICE: Final = "*"
"""Stands for all models in an operator's hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The device as an update finds it; None is what it does not tell, and that holds nothing back."""

    battery_percent: float | None = None
    charging: bool = False
    """Or on mains power."""
    celsius: float | None = None
    interface: str | None = None
    """The network interface of the default route."""


@dataclass(frozen=True, slots=True)
class Held:
    """Why an update waits."""

    reason: Reason
    detail: str
    until: float | None = None
    """Seconds since 1970, where that is known."""

    def put_into(self, record: UpdateRecord) -> None:
        """The record waits for this."""
        record.reason, record.detail = self.reason, self.detail
        record.until = None if self.until is None else time_text(self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May the update of `record` go on now?"""

    settings: UpdateSettings
    ledger: Ledger
    record: UpdateRecord
    now: float
    """Seconds since 1970."""
    last_time: float
    """The clock was at this time once."""
    urgent: bool
    """No release of the model answers, or the active one was revoked."""
    around: Surroundings


def holds_fetching(asked: Question) -> Held | None:
    """What holds back the download, or None."""
    window = None if asked.settings.fetch_outside_window else _window(asked)
    return find_hold(asked.ledger, asked.record.model) or window or _battery(asked) or _metered(asked) or _budget(asked)


def ends_fetching(asked: Question) -> Held | None:
    """What ends a download that is under way, or None. What has begun in a window is finished; the child minds the budget."""
    return find_hold(asked.ledger, asked.record.model) or _battery(asked) or _metered(asked)


def holds_trying(asked: Question) -> Held | None:
    """What holds back unpacking's successors: the golden samples, shadowing and the switch. What has begun is finished."""
    return find_hold(asked.ledger, asked.record.model) or _window(asked) or _battery(asked) or _temperature(asked)


def find_hold(ledger: Ledger, model: str) -> Held | None:
    """An operator's hold of the model or of the device; the only one that is asked for again before the switch."""
    for name, what in ((DEVICE, "all updates"), (model, f"updates of {model}")):
        hold = ledger.holds.get(name)
        if hold is not None:
            why = f": {hold.why}" if hold.why else ""
            return Held(Reason.HELD, f"an operator holds {what} since {hold.since}{why}")
    return None


def believed(now: float, last_time: float) -> bool:
    """Whether the clock may be right."""
    return now >= max(last_time, EARLIEST)


def month_of(now: float) -> str:
    """The calendar month in UTC, such as `2026-11`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m")


def data_left(budget: int | None, use: DataUse) -> int | None:
    """Bytes that may still be fetched this month; None without a budget."""
    return None if budget is None else max(budget - use.received, 0)


def _window(asked: Question) -> Held | None:
    if not asked.settings.windows or asked.urgent:
        return None
    if not believed(asked.now, asked.last_time):
        return Held(Reason.CLOCK_BEHIND, "the clock is not believed, so the maintenance windows cannot be told")
    opening = find_opening(asked.settings.windows, asked.now)
    if opening.is_open:
        return None
    if opening.changes is None:
        return Held(Reason.OUTSIDE_WINDOW, "no maintenance window opens any more")
    return Held(Reason.OUTSIDE_WINDOW, f"the next maintenance window opens at {time_text(opening.changes)}", opening.changes)


def _battery(asked: Question) -> Held | None:
    least, level = asked.settings.min_battery, asked.around.battery_percent
    if least is None or level is None or asked.around.charging or level >= least:
        return None
    return Held(Reason.BATTERY_LOW, f"the battery is at {level:.0f} % and not charging; {least:g} % is needed")


def _temperature(asked: Question) -> Held | None:
    most, celsius = asked.settings.max_temperature, asked.around.celsius
    if most is None or celsius is None or celsius <= most:
        return None
    return Held(Reason.TOO_WARM, f"the board is at {celsius:.0f} °C; at most {most:g} °C is allowed")


def _metered(asked: Question) -> Held | None:
    interface = asked.around.interface
    if interface is None or not any(fnmatch(interface, item) for item in asked.settings.metered_interfaces):
        return None
    return Held(Reason.METERED_LINK, f"the way to the network is {interface}, which is metered")


def _budget(asked: Question) -> Held | None:
    left = data_left(asked.settings.data_budget, asked.ledger.data)
    needed = max(asked.record.needed_bytes, 1)
    if left is None or left >= needed:
        return None
    end = _next_month(asked.ledger.data.month)
    whole = asked.settings.data_budget or 0
    told = f"{left} are left of this month's data budget" if needed <= whole else f"{whole} are a whole month's data budget"
    return Held(Reason.DATA_BUDGET, f"{needed} bytes are needed and {told}", end)


def _next_month(month: str) -> float | None:
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        return None
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1).timestamp()


def time_text(time: float) -> str:
    """RFC 3339, to the second."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
