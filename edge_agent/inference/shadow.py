"""A candidate that sees live inputs beside the incumbent. Nothing of what it says leaves this room but figures.

It is asked after the incumbent has answered, in a turn of the lowest priority, and not at all when it is behind: it costs the
incumbent nothing but what is free.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from edge_agent.drift.counting import Counting
from edge_agent.health.probes import memory_of
from edge_agent.inference.answers import Answer, Failure, ModelInput, Scored
from edge_agent.inference.bundle_store import Bundle
from edge_agent.inference.candidate import Candidate
from edge_agent.inference.quality import Quality, agrees
from edge_agent.inference.run_plan import RunPlan
from edge_agent.inference.turns import Turns
from edge_agent.loop import Loop
from fleet_contract.update_report import Evidence, Figures

LOWEST: Final = -(2**31)
WAITING_BATCHES: Final = 4
"""So many batches wait for the candidate at most; further inputs are skipped and counted."""


class Shadow:
    """One candidate that has passed its golden samples.

    Args:
        on_lost: its worker has ended.
        incumbent: whose answers to the same inputs are held against its own baseline.
    """

    def __init__(
        self,
        loop: Loop,
        turns: Turns,
        candidate: Candidate,
        plan: RunPlan,
        on_lost: Callable[[Failure], object],
        incumbent: Bundle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop, self._turns, self._candidate, self._plan, self._clock = loop, turns, candidate, plan, clock
        self._name = f"{candidate.bundle.manifest.name} (shadow)"
        self._manifest = candidate.bundle.manifest
        self._quality = Quality(self._manifest)
        self._drift = Counting(self._manifest, candidate.bundle.baseline)
        self._usual_drift = None if incumbent is None else Counting(incumbent.manifest, incumbent.baseline)
        self._waiting: deque[tuple[ModelInput, Answer]] = deque()
        self._kicked = self._busy = self._has_turn = False
        self._then: Callable[[], object] | None = None
        self._stopped = False
        self.compared = self.agreed = self.skipped = 0
        self._on_lost = on_lost
        candidate.report_loss_to(self._lost)

    def offer(self, item: ModelInput, answer: Answer | Failure) -> None:
        """An input, and what the incumbent made of it. Inputs that it had no scores for say nothing about the candidate."""
        if self._stopped or isinstance(answer, Failure):
            return
        if len(self._waiting) >= WAITING_BATCHES * self._plan.max_batch:
            self.skipped += 1
            return
        self._waiting.append((item, answer))
        if not self._kicked and not self._busy:
            # Posted, so that what the incumbent has answered in one batch is asked in one batch too.
            self._kicked = True
            self._loop.post(self._kick)

    def evidence(self, incumbent: Figures | None) -> Evidence:
        """What was seen so far."""
        memory = memory_of(self._candidate.pid) if self._candidate.pid is not None else None
        return Evidence(
            candidate=self._drift.add_to(self._quality.figures(memory)),
            incumbent=incumbent if incumbent is None or self._usual_drift is None else self._usual_drift.add_to(incumbent),
            compared=self.compared,
            agreed=self.agreed,
            skipped=self.skipped,
        )

    def stop(self, then: Callable[[], object] | None = None) -> None:
        """Ask it nothing more. With `then` the candidate stays warm: it is called on the loop when no batch is under way.

        Without, the candidate is dropped: no answer comes from it any more.
        """
        self._stopped = True
        self._waiting.clear()
        self._then = None
        if self._busy and then is not None:
            self._then = then
        else:
            self._end_turn()
            if then is not None:
                self._loop.post(then)

    def _kick(self) -> None:
        self._kicked = False
        self._pump()

    def _pump(self) -> None:
        if self._stopped or self._busy or not self._waiting:
            return
        if not self._has_turn:
            self._has_turn = self._turns.ask(self._name, LOWEST, self._plan.threads, self._on_turn)
            if not self._has_turn:
                return
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._plan.max_batch))]
        self._busy = True
        sent = self._clock()
        self._candidate.ask([item for item, _ in batch], lambda results: self._answered(batch, results, sent))

    def _on_turn(self) -> None:
        self._has_turn = True
        self._pump()
        if not self._busy:
            self._end_turn()

    def _answered(self, batch: list[tuple[ModelInput, Answer]], results: list[Scored], sent: float) -> None:
        self._over()
        if self._stopped:
            return
        self._quality.add(results, self._clock() - sent)
        items = [item for item, _ in batch]
        self._drift.add(items, results)
        if self._usual_drift is not None:
            self._usual_drift.add(items, [answer.scores for _, answer in batch])
        for (_, answer), result in zip(batch, results, strict=True):
            self.compared += 1
            self.agreed += not isinstance(result, Failure) and agrees(answer.scores, result, self._manifest)
        self._pump()

    def _lost(self, failure: Failure) -> None:
        self._quality.crashes += 1
        self._over()
        if not self._stopped:
            self._stopped = True
            self._waiting.clear()
            self._on_lost(failure)

    def _over(self) -> None:
        self._busy = False
        self._end_turn()
        then, self._then = self._then, None
        if then is not None:
            self._loop.post(then)

    def _end_turn(self) -> None:
        self._has_turn = False
        self._turns.end(self._name)
        self._turns.give()
