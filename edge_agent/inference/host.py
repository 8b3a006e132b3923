"""One model at work: its queue, its worker, and what happens when the worker dies. Answers leave in the order of the inputs."""

import logging
from collections import deque
from dataclasses import dataclass

from edge_agent.inference import protocol
from edge_agent.inference.answers import Answer, Done, Failure, ModelInput, Scored
from edge_agent.inference.bundle_store import Bundle
from edge_agent.inference.candidate import Candidate
from edge_agent.inference.process import WorkerProcess
from edge_agent.inference.run_plan import RunPlan, resolve
from edge_agent.loop import Loop, Timer
from edge_agent.settings import InferenceSettings
from fleet_contract.messages import ModelRef
from fleet_contract.reasons import Reason

log = logging.getLogger(__name__)

BACKOFF_MIN = 0.1
BACKOFF_MAX = 30.0
POISON_CRASHES = 2
"""So many crashes while an input was alone in the worker make it a dead letter."""


@dataclass(slots=True)
class Pending:
    """An input that waits, or is being scored."""

    item: ModelInput
    done: Done
    crashes: int = 0
    """Of workers that had this input alone. In a batch nobody knows whose fault it was."""


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
    last_failure: Failure | None


class ModelHost:
    """The queue and the worker of one model name. Without a bundle the inputs wait."""

    def __init__(self, loop: Loop, name: str, settings: InferenceSettings) -> None:
        self.name = name
        self.bundle: Bundle | None = None
        self.reference: ModelRef | None = None
        """Of what answers now, with the provider that runs it; None while nothing is loaded."""
        self._loop, self._settings = loop, settings
        self._plan: RunPlan | None = None
        """Of the bundle that is installed."""
        self._release = 0
        self._queue: deque[Pending] = deque()
        self._flight: list[Pending] = []
        self._alone = 0
        self._worker: WorkerProcess | None = None
        self._draining: WorkerProcess | None = None
        self._backoff = BACKOFF_MIN
        self._timer: Timer | None = None
        self._kick = False
        self._stopped = False
        self._inferences = self._errors = self._restarts = 0
        self.last_failure: Failure | None = None

    def submit(self, item: ModelInput, done: Done) -> None:
        """Queue an input; `done` is called on the loop later, never from within this call."""
        self._queue.append(Pending(item, done))
        if not self._kick and not self._flight:
            # Posted, so that inputs of one turn of the loop make one batch.
            self._kick = True
            self._loop.post(self._kicked)

    def resume(self, bundle: Bundle, release: int) -> None:
        """Load a bundle that passed its golden samples earlier, and keep trying: what an agent does at its start."""
        self._retire()
        self._install(bundle, release)
        self.reference = None
        self._backoff = BACKOFF_MIN
        self._start()

    def switch(self, bundle: Bundle, release: int, ready: protocol.Ready, candidate: Candidate) -> None:
        """Answer from a warm worker from now on; the old one finishes its batch and is ended."""
        self._cancel_restart()
        old = self._worker
        self._install(bundle, release)
        self._backoff = BACKOFF_MIN
        self._adopt(candidate.hand_over(self._ended), ready)
        # While an older one still drains, the one in between never got a batch.
        if old is not None and old.busy:
            self._draining = old
        elif old is not None:
            old.stop()
        self._pump()

    def remove(self) -> None:
        """Unload the model; inputs wait until another bundle comes."""
        self._retire()
        self.bundle = self.reference = None

    def restart(self) -> bool:
        """End the worker and start a fresh one; a batch under way is asked again. False when there is no bundle."""
        if self.bundle is None:
            return False
        self._restarts += 1
        self._retire()
        self._backoff = BACKOFF_MIN
        self._start()
        return True

    def stop(self) -> None:
        """End for good; `done` of what still waits is never called, the journal keeps it for the next start."""
        self._stopped = True
        self._queue.clear()
        self._retire()
        self._queue.clear()

    def stats(self) -> ModelStats:
        """Counters and state."""
        return ModelStats(
            model=self.name,
            release=self._release,
            inferences=self._inferences,
            errors=self._errors,
            restarts=self._restarts,
            queue=len(self._queue) + len(self._flight),
            pid=self._worker.pid if self._worker is not None else None,
            provider=self.reference.provider if self.reference is not None else None,
            last_failure=self.last_failure,
        )

    def _install(self, bundle: Bundle, release: int) -> None:
        self.bundle, self._release = bundle, release
        self._plan = resolve(self._settings, self.name, bundle.manifest.runtime.value)

    # ---- batches

    def _kicked(self) -> None:
        self._kick = False
        self._pump()

    def _pump(self) -> None:
        worker, plan = self._worker, self._plan
        if self._flight or not self._queue or worker is None or worker.ready is None or worker.busy or self._stopped:
            return
        if plan is None:
            raise RuntimeError("a worker without a bundle")
        size = 1 if self._alone else min(len(self._queue), plan.max_batch)
        self._flight = [self._queue.popleft() for _ in range(size)]
        reference, bundle = self.reference, self.bundle
        worker.run([entry.item for entry in self._flight], plan.deadline, lambda r: self._answered(r, reference, bundle))

    def _answered(self, results: list[Scored], reference: ModelRef | None, bundle: Bundle | None) -> None:
        """The batch is done. `reference` and `bundle` are those that it was sent to: a switch may have come in between."""
        flight, self._flight = self._flight, []
        self._alone = max(0, self._alone - len(flight))
        self._backoff = BACKOFF_MIN
        if self._draining is not None:
            self._draining.stop()
            self._draining = None
        answers: list[Answer | Failure] = []
        for result in results:
            if isinstance(result, Failure) or reference is None or bundle is None:
                self._errors += 1
                answers.append(result if isinstance(result, Failure) else Failure(Reason.LOAD_FAILED, "no model"))
            else:
                self._inferences += 1
                answers.append(Answer(result, reference, bundle.manifest))
        # The next batch is on its way before the answers of this one are worked on.
        self._pump()
        self._deliver(flight, answers)

    def _deliver(self, flight: list[Pending], answers: list[Answer | Failure]) -> None:
        for entry, answer in zip(flight, answers, strict=True):
            try:
                entry.done(answer)
            except Exception:  # one receiver's fault must not cost the others their answers
                self._loop.errors += 1
                log.exception("a receiver of an answer failed", extra={"model": self.name})

    # ---- the worker's life

    def _start(self) -> None:
        self._timer = None
        if self.bundle is None or self._plan is None or self._stopped:
            return
        try:
            self._worker = WorkerProcess(self._loop, self.bundle, self._plan, self._loaded, self._ended)
        except OSError as error:
            self._restart_later(Failure(Reason.LOAD_FAILED, f"the worker could not be started: {error}"))

    def _loaded(self, worker: WorkerProcess, ready: protocol.Ready) -> None:
        if worker is self._worker:
            self._adopt(worker, ready)
            self._pump()

    def _adopt(self, worker: WorkerProcess, ready: protocol.Ready) -> None:
        if self.bundle is None:
            raise RuntimeError("a worker without a bundle")
        self._worker = worker
        self.last_failure = None
        self.reference = ModelRef(
            name=self.name,
            version=self.bundle.manifest.version,
            release=self._release,
            digest=f"sha256:{ready.digest}",
            provider=ready.provider,
        )

    def _ended(self, worker: WorkerProcess, failure: Failure) -> None:
        if worker is self._draining:
            self._draining = None
            self._take_back(failure)
            self._pump()
        elif worker is self._worker:
            self._worker = None
            if self._draining is None:
                self._take_back(failure)
            self._restarts += 1
            self._restart_later(failure)

    def _take_back(self, failure: Failure) -> None:
        """The worker ended: its inputs go to the front again, one by one from now on, except the one that kills workers."""
        flight, self._flight = self._flight, []
        if len(flight) == 1:
            entry = flight[0]
            entry.crashes += 1
            if entry.crashes >= POISON_CRASHES:
                self._errors += 1
                self._alone = max(0, self._alone - 1)
                late = failure.reason is Reason.DEADLINE_EXCEEDED
                reason = failure.reason if late else Reason.POISON_INPUT
                self._deliver(flight, [Failure(reason, f"{entry.crashes} workers ended over this input; {failure.detail}")])
                return
        self._alone = max(self._alone, len(flight))
        self._queue.extendleft(reversed(flight))

    def _restart_later(self, failure: Failure) -> None:
        self.last_failure = failure
        fields = {"model": self.name, "reason": failure.reason.value, "detail": failure.detail, "retry_s": self._backoff}
        log.warning("a worker ended", extra=fields)
        self._cancel_restart()
        self._timer = self._loop.call_later(self._backoff, self._start)
        self._backoff = min(self._backoff * 2, BACKOFF_MAX)

    def _cancel_restart(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _retire(self) -> None:
        """End every worker; a batch under way goes back to the queue, and nobody is blamed."""
        self._cancel_restart()
        for worker in (self._worker, self._draining):
            if worker is not None:
                worker.stop()
        self._worker = self._draining = None
        self._queue.extendleft(reversed(self._flight))
        self._flight = []
