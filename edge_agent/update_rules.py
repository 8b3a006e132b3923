"""What the types of the update room's settings cannot say. Pure; runs in the child that reads the configuration."""

import dataclasses
import math
import zoneinfo
from collections.abc import Iterable

from edge_agent.update_settings import MaintenanceWindow, UpdateSettings
from edge_agent.updates.windows import next_start

LONGEST_WINDOW = 7 * 86400.0


def find_update_problems(settings: UpdateSettings) -> Iterable[tuple[str, str]]:
    """Each (key below `updates`, what is wrong)."""
    if settings.url is not None:
        if not settings.url.startswith(("http://", "https://")):
            yield "url", f"{settings.url!r} does not start with http:// or https://"
        for name in ("token_file", "root_file"):
            if getattr(settings, name) is None:
                yield name, "is needed when updates.url is given"
    for key, watched in (
        ("shadow", settings.shadow),
        ("probation", settings.probation),
        ("configuration", settings.configuration),
        ("limits", settings.limits),
    ):
        for item in dataclasses.fields(watched):
            if not 0 <= getattr(watched, item.name) < math.inf:
                yield f"{key}.{item.name}", "must be 0 or more"
    yield from _find_attempt_problems(settings)
    for number, window in enumerate(settings.windows):
        for name, text in _find_window_problems(window):
            yield f"windows[{number}].{name}", text
    if settings.fetch_outside_window and not settings.windows:
        yield "fetch_outside_window", "there is no maintenance window; give [[updates.windows]] too"
    if settings.min_battery is not None and not 0 <= settings.min_battery <= 100:
        yield "min_battery", f"{settings.min_battery:g} is not from 0 to 100 percent"
    if settings.max_temperature is not None and not math.isfinite(settings.max_temperature):
        yield "max_temperature", "must be a number of degrees"
    for name in ("data_budget", "keep_free"):
        if (getattr(settings, name) or 0) < 0:
            yield name, "must be 0 or more"


def _find_attempt_problems(settings: UpdateSettings) -> Iterable[tuple[str, str]]:
    for name in ("max_attempts", "max_bundle_bytes"):
        if getattr(settings, name) < 1:
            yield name, "must be 1 or more"
    for name in ("retry_min", "test_timeout", "fetch_timeout"):
        if not 0 < getattr(settings, name) < math.inf:
            yield name, "must be above 0"
    if not settings.retry_min <= settings.retry_max < math.inf:
        yield "retry_max", "must not be below retry_min"
    if not 0 <= settings.refresh_interval < math.inf:
        yield "refresh_interval", "must be 0 or more"


def _find_window_problems(window: MaintenanceWindow) -> Iterable[tuple[str, str]]:
    if not 0 < window.duration <= LONGEST_WINDOW:
        yield "duration", "must be above 0 and at most 7 days"
    try:
        zoneinfo.ZoneInfo(window.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        yield "zone", f"{window.zone!r} is not a time zone of this system, such as Europe/Rome"
        return
    try:
        next_start(window, 0.0)
    except ImportError:
        yield "cron", "maintenance windows need the package cronsim: install smallhold[agent]"
    except ValueError as error:
        yield "cron", f"{window.cron!r} is no cron expression: {error}"
