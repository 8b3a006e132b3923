"""What a model's host tells of itself."""

from dataclasses import dataclass

from edge_agent.inference.answers import Failure
from edge_agent.inference.batching import BatchState
from edge_agent.inference.governor_policy import Mode


@dataclass(frozen=True, slots=True)
class ModelStats:
    """Counters since the daemon's start, and the state now."""

    model: str
    release: int
    inferences: int
    errors: int
    restarts: int
    queue: int
    pid: int | None
    provider: str | None
    degraded: str | None
    sandbox: tuple[str, ...] | None
    """What of the worker's sandbox is in force; None while no worker has told."""
    last_failure: Failure | None
    quarantined: bool
    """The release ends its workers too often, and nothing has taken over from it."""
    batching: BatchState
    max_batch: int
    """The largest batch that is worth it, as far as was measured; 0 without a bundle."""
    busy_seconds: float
    """Time in which a batch was under way, times the threads that it may use."""
    priority: int
    mode: Mode
    mode_detail: str | None
    """Why it may not simply run."""
