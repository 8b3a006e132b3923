"""Looks at the board every few seconds and slows, pauses and resumes models as the policy says. Each change is a note."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from edge_agent.inference.budget import MemoryBudget
from edge_agent.inference.governor_policy import Change, GovernorPolicy, Limits, Look, Mode, Working
from edge_agent.inference.models import Models
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason

log = logging.getLogger(__name__)

INTERVAL: Final = 5.0
_REASONS: Final = {Mode.RUN: Reason.RESUMED, Mode.SLOW: Reason.SLOWED, Mode.PAUSE: Reason.PAUSED, Mode.UNLOAD: Reason.PAUSED}
_COUNTERS: Final = {Reason.RESUMED: "models_resumed", Reason.SLOWED: "models_slowed", Reason.PAUSED: "models_paused"}
_WORDS: Final = {Mode.RUN: "runs again", Mode.SLOW: "is slowed", Mode.PAUSE: "is paused", Mode.UNLOAD: "is paused and unloaded"}


class Measured(Protocol):
    """What is needed of a look at the board."""

    @property
    def celsius(self) -> float | None: ...
    @property
    def available(self) -> int | None: ...
    @property
    def memory(self) -> Mapping[str, int]:
        """Bytes that a model's worker takes, by model."""
        ...


class Governor:
    """Keeps the board within its bounds.

    Args:
        note: writes a note: `Notes.write`.
        probe: (process ids of the workers by model, the memory budget) to what the board tells. Called on a thread of its own,
            because some temperature sensors take their time to answer.
    """

    def __init__(
        self,
        loop: Loop,
        models: Models,
        settings: InferenceSettings,
        note: Callable[..., object],
        probe: Callable[[Mapping[str, int], int | None], Measured],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop, self._models, self._note, self._probe, self._clock = loop, models, note, probe, clock
        self._limit = settings.memory_budget
        memory = MemoryBudget(settings.memory_budget, settings.memory_floor)
        self._policy = GovernorPolicy(Limits(settings.slow_above, settings.pause_above, memory))
        self._looking = False
        self._blind = False
        self._busy: dict[str, float] = {}
        self.counters: Counter[str] = Counter(models_slowed=0, models_paused=0, models_resumed=0)

    def start(self) -> None:
        """Look from now on, unless there is no bound to look after."""
        if not self._policy.is_idle:
            self._loop.call_every(INTERVAL, self.look)

    def look(self) -> None:
        """Begin one look; what it finds is judged on the loop."""
        if self._looking:
            return  # a sensor is slow to answer
        pids = {item.model: item.pid for item in self._models.stats() if item.pid is not None}
        if not pids and not self._busy:
            return  # no model was ever there
        self._looking = True
        threading.Thread(target=self._measure, args=(pids,), name="governor-look", daemon=True).start()

    def _measure(self, pids: Mapping[str, int]) -> None:
        measured: Measured | None = None
        failure: Exception | None = None
        try:
            measured = self._probe(pids, self._limit)
        except Exception as error:  # noqa: BLE001  a thread's boundary: told once by `_judge`, and the next look tries again
            failure = error
        self._loop.post(self._judge, measured, failure)

    def _judge(self, measured: Measured | None, failure: Exception | None) -> None:
        self._looking = False
        if measured is None:
            if not self._blind:
                log.error("the board cannot be looked at", extra={"error": repr(failure)})
            self._blind = True
            return
        self._blind = False
        working = []
        for item in self._models.stats():
            if self._models.bundle(item.model) is None:
                continue  # its inputs wait for its first release
            before = self._busy.get(item.model, item.busy_seconds)
            self._busy[item.model] = item.busy_seconds
            memory = measured.memory.get(item.model)
            working.append(Working(item.model, item.priority, item.mode, memory, item.busy_seconds - before))
        look = Look(self._clock(), measured.celsius, measured.available, tuple(working))
        for change in self._policy.judge(look):
            self._apply(change, look)

    def _apply(self, change: Change, look: Look) -> None:
        self._models.restrict(change.name, change.mode, None if change.mode is Mode.RUN else change.detail)
        reason = _REASONS[change.mode]
        self.counters[_COUNTERS[reason]] += 1
        self._note(
            kind=NoteKind.WORKER,
            reason=reason,
            model=change.name,
            detail=f"{change.name} {_WORDS[change.mode]}: {change.detail}",
            fields={"cause": change.cause.value, "celsius": look.celsius, "available_bytes": look.available},
        )
