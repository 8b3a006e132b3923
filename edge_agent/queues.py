"""Pipelines whose queues are bounded: their lanes, and what is told of the windows that were dropped."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from edge_agent.inference.answers import Failure
from edge_agent.inference.input_queue import DROPPED, Lane
from edge_agent.settings import PipelineSettings, QueuePolicy
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason

INTERVAL: Final = 600.0
"""Seconds between two notes of one pipeline; the first comes at once, the next with all that were dropped meanwhile."""


class Timers(Protocol):
    """What is needed of the loop."""

    def call_later(self, delay: float, call: Callable[[], object]) -> object: ...


class Queues:
    """Counts dropped windows and tells of them.

    Args:
        note: writes a note: `Notes.write`.
    """

    def __init__(
        self,
        pipelines: Sequence[PipelineSettings],
        counters: Counter[str],
        note: Callable[..., object],
        loop: Timers,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        bounded = [item for item in pipelines if item.queue.policy is not QueuePolicy.HOLD]
        self.lanes = {item.name: Lane(item.queue) for item in bounded}
        """By pipeline; one that holds its windows has none."""
        self._models = {item.name: item.model for item in bounded}
        self._counters, self._note, self._loop, self._now = counters, note, loop, now
        self._untold: Counter[str] = Counter()
        self._told: dict[str, float] = {}
        self._waiting: set[str] = set()

    def dropped(self, pipeline: str, outcome: Failure) -> bool:
        """Count a window that a queue had no room for; False when that is not what `outcome` says."""
        if outcome.reason not in DROPPED:
            return False
        self._counters["windows_dropped" if outcome.reason is Reason.WINDOWS_DROPPED else "windows_sampled"] += 1
        self._untold[pipeline] += 1
        if pipeline not in self._waiting:
            wait = self._told.get(pipeline, self._now() - INTERVAL) + INTERVAL - self._now()
            if wait <= 0:
                self._tell(pipeline)
            else:
                self._waiting.add(pipeline)
                self._loop.call_later(wait, lambda: self._tell(pipeline))
        return True

    def states(self) -> list[dict[str, Any]]:
        """What `edge-agent status` shows."""
        return [
            {
                "pipeline": name,
                "policy": lane.settings.policy,
                "max_windows": lane.settings.max_windows,
                "waiting": lane.waiting,
            }
            for name, lane in self.lanes.items()
        ]

    def _tell(self, pipeline: str) -> None:
        self._waiting.discard(pipeline)
        self._told[pipeline] = self._now()
        count = self._untold.pop(pipeline)
        lane = self.lanes[pipeline]
        reason, settings = lane.outcome.reason, lane.settings
        how = "the oldest were dropped" if settings.policy is QueuePolicy.DROP_OLDEST else "only a sample is scored"
        self._note(
            kind=NoteKind.WORKER,
            reason=reason,
            model=self._models[pipeline],
            detail=f"pipeline {pipeline}: more than {settings.max_windows} windows waited for the model, {how}",
            fields={"pipeline": pipeline, "windows": count, "policy": settings.policy.value},
        )
