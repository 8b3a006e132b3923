"""Gathers what the daemon knows about itself into health reports, and into what `edge-agent status` shows."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol

import msgspec

from edge_agent.health.probes import memory_of, probe_device, read_boot_id, written_bytes
from edge_agent.health.sketch import Sketch
from fleet_contract.drift import ModelDrift
from fleet_contract.feedback import Tally
from fleet_contract.messages import Health, ModelHealth


class Stored(Protocol):
    """How much agent.db holds."""

    @property
    def journal_rows(self) -> int: ...
    @property
    def outbox_rows(self) -> int: ...
    @property
    def outbox_bytes(self) -> int: ...


class Running(Protocol):
    """One model's counters since the start."""

    @property
    def model(self) -> str: ...
    @property
    def release(self) -> int: ...
    @property
    def inferences(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def restarts(self) -> int: ...
    @property
    def queue(self) -> int: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def mode(self) -> Enum: ...
    @property
    def mode_detail(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the figures come from; each is asked when a report is made."""

    state_dir: str
    stored: Callable[[], Stored]
    models: Callable[[], Sequence[Running]]
    links: Callable[[], dict[str, bool]]
    counters: Callable[[], Mapping[str, int]]
    drift: Callable[[str], ModelDrift | None] = lambda _model: None
    quality: Callable[[str, int], Tally | None]
    """How right a model and release was; None where feedback is off."""
    clock_behind: Callable[[], float | None]
    store_fault: Callable[[], str | None]
    """Seconds; None while the clock is believed."""
    update_bytes: Callable[[], int]
    """What updates have fetched in this month."""
    update_budget: int | None


class Reporter:
    """Makes one report for each interval; latencies and inferences are those of the interval."""

    def __init__(self, sources: Sources, interval: float) -> None:
        self._sources = sources
        self._interval = interval
        self._boot_id = read_boot_id()
        self._latencies: dict[str, Sketch] = {}
        self._results = 0
        self._before: dict[str, tuple[int, int, int]] = {}
        self._since = time.monotonic()
        self._written = written_bytes()
        self._events = 0
        self.last: Health | None = None

    def scored(self, model: str, _release: int, seconds: float) -> None:
        """A result of a model was committed so long after its event arrived."""
        sketch = self._latencies.get(model)
        if sketch is None:
            sketch = self._latencies[model] = Sketch()
        sketch.add(seconds)
        self._results += 1

    def report(self) -> Health:
        """The report since the last one."""
        device = probe_device(self._sources.state_dir)
        stored = self._sources.stored()
        now = time.monotonic()
        elapsed = max(now - self._since, 1e-3)
        counters = dict(self._sources.counters())
        written = written_bytes()
        health = Health(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            boot_id=self._boot_id,
            interval_s=round(elapsed, 3),
            uptime_s=device.uptime_s,
            cpu_percent=device.cpu_percent,
            memory_percent=device.memory_percent,
            daemon_memory_bytes=memory_of(os.getpid()) or 0,
            temperature_celsius=device.temperature_celsius,
            disk_free_bytes=device.disk_free_bytes,
            outbox_rows=stored.outbox_rows,
            outbox_bytes=stored.outbox_bytes,
            journal_rows=stored.journal_rows,
            results_per_minute=round(self._results / elapsed * 60, 1),
            links=self._sources.links(),
            counters=counters,
            models=tuple(self._model(item) for item in self._sources.models()),
            clock_behind_s=self._sources.clock_behind(),
            store_fault=self._sources.store_fault(),
            update_bytes=self._sources.update_bytes(),
            update_budget_bytes=self._sources.update_budget,
            written_bytes=written,
            written_bytes_per_event=per_event(self._written, written, counters.get("events", 0) - self._events),
        )
        self._since, self._results = now, 0
        self._written, self._events = written, counters.get("events", 0)
        for sketch in self._latencies.values():
            sketch.clear()
        self.last = health
        return health

    def _model(self, item: Running) -> ModelHealth:
        before = self._before.get(item.model, (0, 0, 0))
        self._before[item.model] = (item.inferences, item.errors, item.restarts)
        sketch = self._latencies.get(item.model)

        quality = self._sources.quality(item.model, item.release)

        def milliseconds(q: float) -> float | None:
            value = sketch.quantile(q) if sketch is not None else None
            return None if value is None else round(value * 1000, 3)

        return ModelHealth(
            model=item.model,
            release=item.release,
            inferences=item.inferences - before[0],
            errors=item.errors - before[1],
            restarts=item.restarts - before[2],
            queue=item.queue,
            p50_ms=milliseconds(0.5),
            p95_ms=milliseconds(0.95),
            p99_ms=milliseconds(0.99),
            memory_bytes=memory_of(item.pid) if item.pid is not None else None,
            mode=item.mode.name.lower(),
            mode_detail=item.mode_detail,
            drift=self._sources.drift(item.model),
            labelled=quality.labelled if quality is not None else None,
            right=quality.right if quality is not None else None,
            mean_error=quality.mean_error if quality is not None else None,
        )


def per_event(before: int | None, now: int | None, events: int) -> float | None:
    """Bytes written for each event of an interval; None when no event came or the kernel does not tell."""
    if before is None or now is None or events <= 0:
        return None
    return round((now - before) / events, 1)


def to_plain(message: Any) -> Any:
    """A message as plain JSON values."""
    return msgspec.to_builtins(message)
