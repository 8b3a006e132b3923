"""What `edge-agent status` prints for people. Pure."""

from typing import Any

from edge_agent.commands.text_table import text_table
from fleet_contract.configuration_text import describe_configuration
from fleet_contract.drift_text import describe_drift
from fleet_contract.evidence_text import describe_evidence
from fleet_contract.progress_text import describe_progress
from fleet_contract.reasons import MEANING, Reason
from fleet_contract.trust_report import describe_trust
from fleet_contract.variant_text import describe_choice


def render(status: dict[str, Any]) -> str:
    """The agent's status as a few short tables."""
    links = ", ".join(f"{name} {'up' if up else 'down'}" for name, up in status["links"].items())
    lines = [
        f"device    {status['device']} (edge-agent {status['version']}, up {_duration(status['uptime_s'])})",
        f"links     {links}",
        f"outbox    {status['outbox_rows']} rows, {status['outbox_bytes']} bytes"
        + (", no room for the ballast file" if status["ballast_missing"] else ""),
        f"journal   {status['journal_rows']} events in open windows",
        f"letters   {status['dead_letters']} dead letters kept (edge-agent deadletter list)",
        f"pipelines {', '.join(status['pipelines']) or 'none'}",
    ]
    if (fault := status.get("store_fault")) is not None:
        lines.append(f"disk      {fault}: {MEANING[Reason(fault)]}")
    lines += [f"trust     {phrase}" for phrase in describe_trust(status["trust"])]
    if (behind := status["clock_behind_s"]) is not None:
        lines.append(f"clock     {_duration(behind)} before the last time that was seen: not believed")
    if configuration := describe_configuration(status.get("configuration")):
        lines.append(f"config    {configuration}")
    lines += [
        f"queue     {queue['pipeline']}: {queue['waiting']} windows wait, {queue['policy']} beyond {queue['max_windows']}"
        for queue in status["queues"]
    ]
    lines += _sandboxes(status["workers"])
    health = status.get("health")
    if health:
        temperature = health.get("temperature_celsius")
        lines.append(
            f"health    CPU {health['cpu_percent']:.0f} %, memory {health['memory_percent']:.0f} %, "
            f"daemon {health['daemon_memory_bytes'] / 1e6:.0f} MB, {health['results_per_minute']:.0f} results/min"
            + (f", {temperature:.0f} °C" if temperature is not None else "")
        )
        written, each = health.get("written_bytes"), health.get("written_bytes_per_event")
        if written is not None:
            of_each = f", {each:.0f} bytes per event" if each is not None else ""
            lines.append(f"flash     {written / 1e6:.1f} MB written{of_each}")
    head = ("MODEL", "VERSION", "RELEASE", "PROVIDER", "DIGEST")
    lines += ["", text_table(head, [_model(item) for item in status["models"]])]
    lines += [f"{item['model']} is degraded: {item['degraded']}" for item in status["models"] if item.get("degraded")]
    drift = {item["model"]: describe_drift(item.get("drift")) for item in (health or {}).get("models", ())}
    lines += [f"drift     {model}: {text}" for model, text in drift.items() if text]
    if status["workers"]:
        workers = [_worker(item) for item in status["workers"]]
        lines += ["", text_table(("WORKER OF", "QUEUE", "BATCHES", "MODE"), workers)]
    if status["quality"]:
        known = [_quality(item) for item in status["quality"]]
        lines += ["", text_table(("FEEDBACK ON", "RELEASE", "RESULTS", "RIGHT"), known)]
    if status["updates"]:
        rows: list[tuple[str, ...]] = [
            (
                item["model"],
                str(item["release"]),
                item["state"],
                item["reason"] or "",
                "; ".join(filter(None, _told(item))),
            )
            for item in status["updates"]
        ]
        lines += ["", text_table(("UPDATE OF", "RELEASE", "STATE", "REASON", "DETAIL"), rows)]
    lines += _holds(status)
    return "\n".join(lines)


def _told(item: dict[str, Any]) -> tuple[str | None, ...]:
    return item["detail"], describe_progress(item), describe_choice(item), describe_evidence(item.get("evidence"))


def _holds(status: dict[str, Any]) -> list[str]:
    lines = []
    if status.get("update_holds"):
        names = ", ".join("all models" if item == "*" else item for item in status["update_holds"])
        lines.append(f"updates are held: {names} (edge-agent updates release)")
    if status.get("update_budget_bytes") is not None:
        fetched, budget = status["update_bytes"], status["update_budget_bytes"]
        lines.append(f"updates have fetched {fetched / 1e6:.1f} of {budget / 1e6:.1f} MB this month")
    return lines


def _model(item: dict[str, Any]) -> tuple[str, ...]:
    version = f"{item['version']} {item['variant']}" if item.get("variant") else item["version"]
    return item["model"], version, str(item["release"]), item["provider"], item["digest"][:19]


_BATCHES = {"at_once": "at once", "delayed": "wait for more", "no_gain": "at once, as waiting is of no use"}


def _worker(item: dict[str, Any]) -> tuple[str, ...]:
    batches = f"up to {item['max_batch']}, {_BATCHES[item['batching']]}" if item["max_batch"] else "no model yet"
    mode = "quarantined" if item["quarantined"] else item["mode"]
    mode += f": {item['mode_detail']}" if item["mode_detail"] else ""
    return item["model"], str(item["queue"]), batches, mode


def _quality(item: dict[str, Any]) -> tuple[str, ...]:
    accuracy, error = item["accuracy"], item["mean_error"]
    how = [f"{item['right']} ({accuracy:.1%})"] if accuracy is not None else []
    how += [f"mean error {error:.4g}"] if error is not None else []
    return item["model"], str(item["release"]), str(item["labelled"]), ", ".join(how)


def _sandboxes(workers: list[dict[str, Any]]) -> list[str]:
    """One line for those that are held by the same means; they rarely differ."""
    held: dict[tuple[str, ...], list[str]] = {}
    for item in workers:
        if item["sandbox"] is not None:
            held.setdefault(tuple(item["sandbox"]), []).append(item["model"])
    return [f"sandbox   {', '.join(models)}: {' '.join(words) or 'none'}" for words, models in held.items()]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value)[:20] or "0 s"
