"""What `edge-agent status` shows, and what answers now: gathered from the rooms when it is asked for."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent import __version__
from edge_agent.clock_watch import ClockWatch
from edge_agent.configuring.configurator import Configurator
from edge_agent.engine import Engine
from edge_agent.health.reporter import Reporter, to_plain
from edge_agent.inference.models import Models
from edge_agent.journal.store import Store
from edge_agent.link.session import Link
from edge_agent.settings import AgentSettings
from edge_agent.updates.updater import Updater
from fleet_contract.messages import ModelState


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Whom is asked."""

    settings: AgentSettings
    started: float
    """On the monotonic clock."""
    site: Link
    fleet: Link
    store: Store
    engine: Engine
    models: Models
    updater: Updater
    configurator: Configurator
    clock_watch: ClockWatch
    reporter: Reporter


def make_status(rooms: Rooms, counters: Mapping[str, int]) -> dict[str, Any]:
    """The answer to the command `status`, as plain values."""
    settings, store, engine, models, updater = rooms.settings, rooms.store, rooms.engine, rooms.models, rooms.updater
    counts = store.counts
    return {
        "device": settings.device,
        "version": __version__,
        "uptime_s": round(time.monotonic() - rooms.started, 1),
        "links": {"site": rooms.site.connected, "fleet": rooms.fleet.connected},
        "revision": updater.revision,
        "models": [to_plain(item) for item in model_states(models, updater)],
        "updates": [to_plain(item) for item in updater.reports()],
        "trust": to_plain(updater.trust()),
        "update_holds": list(updater.holds()),
        "update_bytes": updater.received,
        "update_budget_bytes": settings.updates.data_budget,
        "clock_behind_s": rooms.clock_watch.behind,
        "update_log": {model: [to_plain(item) for item in moves] for model, moves in updater.moves().items()},
        "configuration": to_plain(said) if (said := rooms.configurator.report()) is not None else None,
        "workers": [
            {
                "model": item.model,
                "pid": item.pid,
                "queue": item.queue,
                "inferences": item.inferences,
                "batching": item.batching.value,
                "max_batch": item.max_batch,
                "quarantined": item.quarantined,
                "mode": item.mode.name.lower(),
                "mode_detail": item.mode_detail,
                "sandbox": item.sandbox,
            }
            for item in models.stats()
        ],
        "pipelines": [item.name for item in settings.pipelines],
        "queues": engine.queues.states(),
        "journal_rows": counts.journal_rows,
        "outbox_rows": counts.outbox_rows,
        "outbox_bytes": counts.outbox_bytes,
        "ballast_missing": store.ballast_missing,
        "store_fault": store.fault,
        "open_events": engine.open_events,
        "dead_letters": store.dead_letters.rows,
        "health": to_plain(rooms.reporter.last) if rooms.reporter.last is not None else None,
        "counters": dict(counters),
        "quality": [
            {
                "model": model,
                "release": release,
                "labelled": tally.labelled,
                "right": tally.right,
                "accuracy": tally.accuracy,
                "mean_error": tally.mean_error,
            }
            for (model, release), tally in sorted(store.quality.tallies.items())
        ],
    }


def model_states(models: Models, updater: Updater) -> tuple[ModelState, ...]:
    """What answers now, attested by the workers themselves."""
    states = []
    installed = {(item.model, item.release): item for item in updater.installed()}
    for item in models.stats():
        reference = models.reference(item.model)
        if reference is not None:
            recorded = installed.get((reference.name, reference.release))
            states.append(
                ModelState(
                    model=reference.name,
                    release=reference.release,
                    version=reference.version,
                    digest=reference.digest,
                    provider=reference.provider,
                    degraded=item.degraded,
                    since=recorded.since if recorded is not None else "",
                    variant=recorded.variant if recorded is not None else None,
                )
            )
    return tuple(states)
