"""`fleet health`: the table that an operator looks at first."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fleet_contract.drift_text import describe_drift
from fleet_controller.cli.arguments import Output, OutputOption, WatchOption
from fleet_controller.cli.connection import Service
from fleet_controller.cli.output import age, show, size, table

_EXPIRY_WARNING: Final = timedelta(days=30)
_RESIGNED: Final = ("snapshot", "timestamp", "config")
"""Short-lived by design; a warning is due when the schedule has missed several days."""


def show_health(watch: WatchOption = False, output: OutputOption = Output.TABLE) -> None:
    """Every device with its models: results, latency, memory, queue; and the controller itself.

    Example: fleet health --watch
    """
    service = Service()
    show(lambda: service.get("/health"), _render, output, watch=watch)


def _render(health: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    rows = []
    for device in health["devices"]:
        measured = device["health"] or {}
        work = {each["model"]: each for each in measured.get("models", ())}
        models: list[dict[str, Any]] = (device["reported"] or {}).get("models") or [{}]
        for position, model in enumerate(models):
            first = position == 0
            numbers = work.get(model.get("model"), {})
            rows.append(
                (
                    device["device"] if first else "",
                    ("online" if device["online"] else "offline") if first else "",
                    model.get("model"),
                    f"{model['version']} (r{model['release']})" if model else None,
                    f"{measured['results_per_minute']:.1f}" if measured and first else None,
                    _milliseconds(numbers.get("p50_ms")),
                    _milliseconds(numbers.get("p95_ms")),
                    size(numbers.get("memory_bytes")),
                    measured.get("outbox_rows") if first else None,
                    age(device["health_received"]) if first else None,
                )
            )
    columns = ("device", "state", "model", "version", "results/min", "p50 ms", "p95 ms", "memory", "queue", "seen ago")
    parts: list[Any] = [table(columns, rows)]
    parts += [Text(f"! {warning}", style="yellow") for warning in find_warnings(health, datetime.now(UTC))]
    return Group(*parts)


_HELD = {"slow": "slowed", "pause": "paused", "unload": "paused and unloaded"}


def find_warnings(health: dict[str, Any], now: datetime) -> list[str]:
    """What the operator has to do something about."""
    warnings = []
    if not health["broker_connected"]:
        warnings.append("the controller has no connection to the fleet broker")
    for role, expires in health["metadata_expires"].items():
        left = datetime.fromisoformat(expires) - now
        if left < (timedelta(days=3) if role in _RESIGNED else _EXPIRY_WARNING):
            warnings.append(f"the signed {role} metadata ends in {left.days} days: devices then take no updates")
    for device in health["devices"]:
        for model in (device["health"] or {}).get("models", ()):
            held = _HELD.get(model.get("mode"))
            if held is not None:
                warnings.append(f"{device['device']}: {model['model']} is {held}: {model.get('mode_detail')}")
            drift = model.get("drift") or {}
            if any(item.get("drifted") for item in drift.get("worst", ())):
                warnings.append(f"{device['device']}: {model['model']} {describe_drift(drift)}")
    return warnings


def _milliseconds(value: float | None) -> str | None:
    return f"{value:.1f}" if value is not None else None
