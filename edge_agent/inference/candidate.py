"""A bundle on trial: a fresh worker under production limits answers the bundle's golden samples before any event reaches it."""

from collections.abc import Callable, Sequence

from edge_agent.health.probes import peak_of
from edge_agent.inference import protocol
from edge_agent.inference.answers import Failure, ModelInput, Scored, to_input
from edge_agent.inference.bundle_store import Bundle
from edge_agent.inference.process import WorkerProcess
from edge_agent.inference.promises import enough, find_broken_promise
from edge_agent.inference.run_plan import RunPlan
from edge_agent.loop import Loop
from fleet_contract.manifest import GoldenSample
from fleet_contract.reasons import Reason


def compare(samples: Sequence[GoldenSample], results: Sequence[Scored], first: int = 0) -> Failure | None:
    """The first golden sample that is not met, or None. `first` is the number of the first of `samples`, from 0."""
    for number, (sample, got) in enumerate(zip(samples, results, strict=True), first):
        if isinstance(got, Failure):
            reason = got.reason if got.reason is Reason.DEADLINE_EXCEEDED else Reason.GOLDEN_MISMATCH
            return Failure(reason, f"golden sample {number}: {got.reason}: {got.detail}")
        if len(got) != len(sample.scores):
            return Failure(Reason.BAD_OUTPUT, f"golden sample {number}: {len(got)} scores, expected {len(sample.scores)}")
        for position, (score, expected) in enumerate(zip(got, sample.scores, strict=True)):
            # `not <=` so that NaN is a difference too.
            if not abs(score - expected) <= sample.tolerance:
                text = f"score {position} is {score:.6g}, expected {expected:.6g} within {sample.tolerance:g}"
                return Failure(Reason.GOLDEN_MISMATCH, f"golden sample {number}: {text}")
    return None


class Candidate:
    """Starts at once; `on_done` is called once, with the warm worker's `Ready` or with why the bundle is refused.

    After success the worker waits: `ask` has it score inputs, `hand_over` gives it away, `cancel` ends it. A cancelled
    candidate never calls back.
    """

    def __init__(
        self,
        loop: Loop,
        bundle: Bundle,
        plan: RunPlan,
        timeout: float,
        on_done: Callable[[protocol.Ready | Failure], object],
        *,
        promises: bool = False,
    ) -> None:
        """`timeout` (seconds) covers everything: start, hashing, loading and all golden samples.

        `promises`: the manifest's promises about memory and latency are measured too. A release that was taken on before is
        not refused because the device is busy while it boots.
        """
        self._promises = promises
        self._seconds: list[float] = []
        """Of single inferences."""
        self.bundle, self._plan, self._timeout = bundle, plan, timeout
        self.passed: protocol.Ready | None = None
        """Set while a worker that met every golden sample waits here."""
        self._done: Callable[[protocol.Ready | Failure], object] | None = on_done
        self._on_lost: Callable[[Failure], object] | None = None
        self._at = 0
        self._worker: WorkerProcess | None = None
        self._timer = loop.call_later(timeout, self._late)
        try:
            self._worker = WorkerProcess(
                loop, bundle, plan, lambda *_: self._next(), lambda _, failure: self._worker_ended(failure)
            )
        except OSError as error:
            failure = Failure(Reason.LOAD_FAILED, f"the worker could not be started: {error}")
            loop.post(lambda: self._finish(failure))

    @property
    def pid(self) -> int | None:
        """Of the worker, None if it could not be started."""
        return self._worker.pid if self._worker is not None else None

    def cancel(self) -> None:
        """End the worker and call nobody."""
        self._done = None
        self._timer.cancel()
        if self._worker is not None:
            self._worker.stop()

    def ask(self, items: Sequence[ModelInput], done: Callable[[list[Scored]], object]) -> None:
        """Have the warm worker score a batch, one at a time. Only while `passed` is set; `done` never comes if it ends."""
        if self._worker is None or self.passed is None:
            raise RuntimeError("the candidate has not passed its golden samples")
        self._worker.run(items, self._plan.deadline, done)

    def report_loss_to(self, on_lost: Callable[[Failure], object] | None) -> None:
        """Whom to tell when the warm worker ends unasked."""
        self._on_lost = on_lost

    def hand_over(self, on_ended: Callable[[WorkerProcess, Failure], object]) -> WorkerProcess:
        """The warm worker, whose end is reported to `on_ended` from now on. Only while `passed` is set."""
        if self._worker is None or self.passed is None:
            raise RuntimeError("the candidate has not passed its golden samples")
        self.passed = None
        self._worker.report_end_to(on_ended)
        return self._worker

    def _next(self) -> None:
        samples = self.bundle.golden[self._at : self._at + self._plan.max_batch]
        if self._worker is None or self._done is None:
            return
        if not samples:
            self._measure(self._worker)
            return
        inputs = [to_input(sample) for sample in samples]
        self._worker.run(inputs, self._plan.deadline, lambda results: self._compare(samples, results))

    def _compare(self, samples: Sequence[GoldenSample], results: list[Scored]) -> None:
        failure = compare(samples, results, self._at)
        if failure is not None:
            self._finish(failure)
            return
        self._at += len(samples)
        self._next()

    def _measure(self, worker: WorkerProcess) -> None:
        if worker.ready is None:
            return
        needs, golden = self.bundle.manifest.requirements, self.bundle.golden
        if self._promises and needs.latency_ms is not None and golden and not enough(self._seconds):
            sample = to_input(golden[len(self._seconds) % len(golden)])
            worker.run([sample], self._plan.deadline, lambda _: self._measured(worker))
            return
        failure = find_broken_promise(needs, peak_of(worker.pid), self._seconds) if self._promises else None
        self._finish(worker.ready if failure is None else failure)

    def _measured(self, worker: WorkerProcess) -> None:
        self._seconds.append(worker.seconds)
        if self._done is not None:
            self._measure(worker)

    def _late(self) -> None:
        self._finish(Failure(Reason.TEST_TIMEOUT, f"the golden samples were not done within {self._timeout:g} s"))

    def _worker_ended(self, failure: Failure) -> None:
        warm, self.passed = self.passed, None  # whoever wants it has to try the bundle again
        self._finish(failure)
        if warm is not None and self._on_lost is not None:
            self._on_lost(failure)

    def _finish(self, outcome: protocol.Ready | Failure) -> None:
        done, self._done = self._done, None
        self._timer.cancel()
        if not isinstance(outcome, Failure):
            self.passed = outcome
        elif self._worker is not None:
            self._worker.stop()
        if done is not None:
            done(outcome)
