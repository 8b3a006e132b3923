"""What the choice among variants depends on, as far as the daemon knows it: configuration, memory, and costs measured here."""

from pathlib import Path

import psutil

from edge_agent.inference.tuned import Tuned, TunedError, read_tuned
from edge_agent.settings import InferenceSettings, ModelSettings
from edge_agent.updates.ledger import Ledger, UpdateRecord
from edge_agent.updates.picking import Configured


def configured_for(settings: InferenceSettings, state_dir: Path, model: str, ledger: Ledger) -> Configured:
    """For one model. A damaged file of tuned choices costs its figures alone."""
    own = settings.models.get(model, ModelSettings())
    try:
        tuned = read_tuned(state_dir).get(model)
    except (TunedError, OSError):
        tuned = None
    return Configured(
        python=settings.python,
        accelerators=(*own.require, *(name for name in own.delegates if not name.startswith("/"))),
        memory_bytes=worker_memory(settings, own, psutil.virtual_memory().total),
        variant=own.variant,
        costs=costs_of(ledger, model, tuned),
    )


def worker_memory(settings: InferenceSettings, own: ModelSettings, total: int) -> int:
    """The most that one worker of a model may take, in bytes. `total`: what the board has."""
    limit = settings.memory_bytes if own.memory_bytes is None else own.memory_bytes
    bounds = [total - settings.memory_floor, limit or None, settings.memory_budget]
    return max(1, min(bound for bound in bounds if bound is not None))


def costs_of(ledger: Ledger, model: str, tuned: Tuned | None) -> dict[str, float]:
    """Variant to milliseconds for one inference (p95): as `edge-agent tune` measured it, else as an earlier release took."""
    costs = dict(ledger.costs.get(model, {}))
    places = (ledger.active.get(model), ledger.previous.get(model), ledger.factory.get(model))
    for item in places:
        if tuned is not None and item is not None and item.digest == tuned.digest and item.variant is not None:
            costs[item.variant] = tuned.latency_p95_ms
    return costs


def note_cost(ledger: Ledger, record: UpdateRecord) -> None:
    """Remember what a release that was just proven took, for the choice among variants of the next ones."""
    evidence = record.evidence
    if record.variant is not None and evidence is not None and evidence.candidate.p95_ms is not None:
        ledger.costs.setdefault(record.model, {})[record.variant] = evidence.candidate.p95_ms
