"""What the demo comes to: `summary.json`, and the verdict that is its exit status. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final

import msgspec

from fleet_contract.reasons import Reason
from fleet_controller.demo.evidence import HealthRow, Row
from fleet_controller.demo.progress import Step
from fleet_controller.demo.reconcile import Reconciled
from fleet_controller.demo.told import Told

LAST_MINUTE: Final = 60.0
WANTED_WORSE: Final = Reason.CONFIDENCE
"""What the device finds of version 5."""
MOST_INFERENCES: Final = 100
"""Within which it must."""
WANTED_REASONS: Final = (Reason.GOLDEN_MISMATCH, Reason.HASH_MISMATCH)
SECOND: Final = "2.0.0"


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds; null where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None


class TableRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the operator's table: a model on a device, while the sensors ran."""

    device: str
    online: bool
    model: str
    version: str
    results_per_minute: float
    p50_ms: float | None
    p95_ms: float | None
    agent_memory_bytes: int
    worker_memory_bytes: int
    queue: int


class Summary(msgspec.Struct, kw_only=True):
    """`summary.json`."""

    passed: bool
    problems: list[str]
    missing: int
    """Result ids that follow from the sensors' logs and are not in the controller's database."""
    repeated: int
    """Results beyond the first for the same window of the same sensor."""
    unexpected: int
    """Results in the database that do not follow from the sensors' logs."""
    duration_s: float
    broker: str
    started: str
    devices: dict[str, dict[str, Any]]
    refusals: list[dict[str, Any]]
    answers_during_refusals: dict[str, dict[str, int]]
    """Device to version to results that came while the bad releases were tried, of the models that were updated."""
    taken_back: dict[str, Any]
    """Version 5: which device took it back, why, what it had seen, and how many answers of it were published."""
    link_cut: dict[str, Any]
    latency_ms: dict[str, Any]
    table: list[TableRow]
    steps: list[Step]


def percentiles(values: Sequence[float]) -> Percentiles:
    """Nearest rank."""
    ordered = sorted(values)

    def at(share: float) -> float | None:
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1) if ordered else None

    return Percentiles(at(0.5), at(0.95), at(0.99))


def end_to_end(rows: Iterable[Row], sent: Mapping[str, float], cuts: Sequence[tuple[float, float]]) -> list[float]:
    """Milliseconds from a sensor's sending of a window's newest event to its result in the controller's database.

    Events that were sent while a link was cut are left out: their results had to wait.
    """
    taken = []
    for row in rows:
        at = sent.get(row.last_event or "")
        if at is not None and not any(began - 1.0 <= at <= ended + 1.0 for began, ended in cuts):
            taken.append((row.received - at) * 1000)
    return taken


def on_device(health: Iterable[HealthRow]) -> dict[tuple[str, str], Percentiles]:
    """(device, model) to latency from an event's arrival to its result's commit: the medians of the health messages."""
    seen: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for row in health:
        for model in row.payload["models"]:
            if model["p50_ms"] is not None:
                seen[row.device, model["model"]].append((model["p50_ms"], model["p95_ms"], model["p99_ms"]))
    return {key: Percentiles(*(round(median(column), 2) for column in zip(*rows, strict=True))) for key, rows in seen.items()}


def operators_table(health: Sequence[HealthRow], told: Told) -> list[TableRow]:
    """The table, from each device's health messages of the last minute in which the sensors ran."""
    latencies = on_device(health)
    lines = []
    for device, models in told.attested.items():
        recent = [
            row
            for row in health
            if row.device == device and told.sensors_stopped - LAST_MINUTE <= row.received <= told.sensors_stopped
        ]
        for name, model in models.items():
            figures = [(row, each) for row in recent for each in row.payload["models"] if each["model"] == name]
            seconds = sum(row.payload["interval_s"] for row, _ in figures)
            latency = latencies.get((device, name), Percentiles(None, None, None))
            last_row, last = figures[-1] if figures else (None, {})
            lines.append(
                TableRow(
                    device=device,
                    online=told.online.get(device, False),
                    model=name,
                    version=model["version"],
                    results_per_minute=round(sum(each["inferences"] for _, each in figures) / seconds * 60, 1)
                    if seconds
                    else 0.0,
                    p50_ms=latency.p50,
                    p95_ms=latency.p95,
                    agent_memory_bytes=last_row.payload["daemon_memory_bytes"] if last_row else 0,
                    worker_memory_bytes=last.get("memory_bytes") or 0,
                    queue=last.get("queue", 0) + (last_row.payload["outbox_rows"] if last_row else 0),
                )
            )
    return lines


def answers_during(rows: Iterable[Row], window: tuple[float, float], models: Iterable[str]) -> dict[str, dict[str, int]]:
    """Device to version to results of `models` that came inside the window of time."""
    wanted = set(models)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if window[0] <= row.received <= window[1] and row.model in wanted:
            counts[row.device][row.version or "?"] += 1
    return {device: dict(found) for device, found in sorted(counts.items())}


def find_problems(
    reconciled: Sequence[Reconciled],
    told: Told,
    during: Mapping[str, Mapping[str, int]],
    noted: set[tuple[str, str, int, str]],
    updated: Mapping[str, Sequence[str]],
) -> list[str]:
    """Everything that must be so and is not. `updated`: device to its models that were brought to version 2."""
    problems = []
    for each in reconciled:
        for word in ("missing", "repeated", "unexpected"):
            count = getattr(each, word)
            if count:
                problems.append(f"{each.device}, {each.pipeline}: {count} {word} results")
        if not each.expected:
            problems.append(f"{each.device}, {each.pipeline}: no result was expected, so nothing was shown")
    problems += [f"{device}: no result waited while the link was cut" for device, rows in told.outbox_peak.items() if not rows]
    reasons = {refusal["reason"] for refusal in told.refusals}
    problems += [f"no release was refused with {reason}" for reason in WANTED_REASONS if reason not in reasons]
    for refusal in told.refusals:
        if (refusal["device"], refusal["model"], refusal["release"], refusal["reason"]) not in noted:
            problems.append(f"no note of {refusal['device']} tells of the refusal of {refusal['model']} {refusal['version']}")
    for device, models in updated.items():
        for model in models:
            version = told.attested.get(device, {}).get(model, {}).get("version")
            if version != SECOND:
                problems.append(f"{device} attests {model} {version}, not {SECOND}")
        versions = during.get(device, {})
        if set(versions) != {SECOND}:
            problems.append(
                f"{device} answered with versions {sorted(versions)} while bad releases were tried, not {SECOND} alone"
            )
    return problems


def find_problems_with_worse(told: Told, answers: Mapping[str, int], noted: set[tuple[str, str, int, str]]) -> list[str]:
    """What must be so of version 5 and is not. `answers`: device to answers of it in the database."""
    worse = told.taken_back
    if not worse:
        return ["version 5 was not tried"]
    what = f"{worse['model']} {worse['version']}"
    problems = []
    if worse["reason"] != WANTED_WORSE:
        problems.append(f"{what} was taken back for {worse['reason']}, not for {WANTED_WORSE}")
    inferences = worse["evidence"]["candidate"]["inferences"]
    if inferences > MOST_INFERENCES:
        problems.append(f"{what} was taken back after {inferences} inferences only; {MOST_INFERENCES} are stated")
    if worse["rollout_state"] != "paused" or not worse["untouched"]:
        problems.append(f"the rollout of {what} is {worse['rollout_state']}, untouched are {worse['untouched']}")
    if (worse["device"], worse["model"], worse["release"], worse["reason"]) not in noted:
        problems.append(f"no note of {worse['device']} tells that it took {what} back")
    others = sorted(set(answers) - {worse["device"]})
    if others:
        problems.append(f"{', '.join(others)} answered with {what}")
    return problems


def answers_of(rows: Iterable[Row], model: str, version: str) -> dict[str, int]:
    """Device to results of this version."""
    return dict(Counter(row.device for row in rows if row.model == model and row.version == version))


def device_counts(reconciled: Iterable[Reconciled], told: Told) -> dict[str, dict[str, Any]]:
    """Counts in and out per device, and what it attests."""
    devices: dict[str, dict[str, Any]] = {}
    for each in reconciled:
        device = devices.setdefault(
            each.device, {"events_sent": 0, "results_received": 0, "attested": _attested(told, each.device), "pipelines": {}}
        )
        device["events_sent"] += each.sent
        device["results_received"] += each.found
        device["pipelines"][each.pipeline] = {
            "events_sent": each.sent,
            "results_expected": each.expected,
            "results_received": each.found,
            "missing": each.missing,
            "repeated": each.repeated,
            "unexpected": each.unexpected,
        }
    return devices


def _attested(told: Told, device: str) -> dict[str, dict[str, Any]]:
    return {
        model: {"version": state["version"], "release": state["release"], "digest": state["digest"]}
        for model, state in told.attested.get(device, {}).items()
    }
