"""How one model's worker is run: the device's settings with the model's own over them."""

import math
from dataclasses import dataclass

from edge_agent.settings import InferenceSettings, ModelSettings, OnMissing

_KILL_SECONDS = 5.0
"""More than a late worker has left after its deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a worker is started with, and how it is asked. Times in seconds, sizes in bytes."""

    python: str | None
    """The interpreter; None is the daemon's own."""
    threads: int
    spin: bool
    max_batch: int
    max_delay: float
    deadline: float
    load_timeout: float
    memory_bytes: int
    """Of address space; 0 is no limit."""
    priority: int
    require: tuple[str, ...]
    on_missing: OnMissing
    delegates: tuple[str, ...]
    engine_cache: str | None
    """A folder; None is none."""


def resolve(settings: InferenceSettings, model: str, runtime: str) -> RunPlan:
    """The plan for a model of this name and runtime."""
    own = settings.models.get(model, ModelSettings())
    return RunPlan(
        python=settings.python.get(runtime),
        threads=settings.threads if own.threads is None else own.threads,
        spin=settings.spin if own.spin is None else own.spin,
        max_batch=settings.max_batch if own.max_batch is None else own.max_batch,
        max_delay=settings.max_delay if own.max_delay is None else own.max_delay,
        deadline=settings.deadline if own.deadline is None else own.deadline,
        load_timeout=settings.load_timeout,
        memory_bytes=settings.memory_bytes if own.memory_bytes is None else own.memory_bytes,
        priority=own.priority,
        require=own.require,
        on_missing=own.on_missing,
        delegates=own.delegates,
        engine_cache=settings.engine_cache,
    )


def cpu_seconds(plan: RunPlan, cores: int) -> int:
    """The CPU time that a worker is allowed, renewed where less than half is left: so half is more than one batch can use."""
    return math.ceil(2 * cores * (max(plan.deadline, plan.load_timeout) + _KILL_SECONDS))
