"""One model at work: its queue, its worker, and what happens when the worker dies. Answers leave in the order of the inputs."""

import logging
import time
from collections.abc import Callable, Sequence

from edge_agent.drift.counting import Counting
from edge_agent.health.probes import memory_of
from edge_agent.inference import protocol
from edge_agent.inference.answers import Answer, Done, Failure, ModelInput, Scored
from edge_agent.inference.batching import Batching
from edge_agent.inference.bundle_store import Bundle
from edge_agent.inference.candidate import Candidate
from edge_agent.inference.crash_policy import CrashPolicy, content_of
from edge_agent.inference.governor_policy import Mode
from edge_agent.inference.input_queue import InputQueue, Lane, Pending
from edge_agent.inference.model_stats import ModelStats
from edge_agent.inference.process import WorkerProcess
from edge_agent.inference.quality import Quality
from edge_agent.inference.run_plan import RunPlan, resolve
from edge_agent.inference.turns import HELD, Turns
from edge_agent.loop import Loop, Timer
from edge_agent.settings import InferenceSettings
from fleet_contract.messages import ModelRef
from fleet_contract.reasons import Reason
from fleet_contract.update_report import Figures

log = logging.getLogger(__name__)

BACKOFF_MIN = 0.1
BACKOFF_MAX = 30.0
LOOK_SECONDS = 0.01
"""Between two looks at whether a worker that makes room has ended."""
REST = 3.0
"""A slowed model rests after each batch for so many times what the batch took,"""
REST_MAX = 30.0
"""but not for more seconds than this."""
POISON_CRASHES = 2
"""So many crashes, or missed deadlines, while an input was alone in the worker make it a dead letter."""


Degraded = Callable[[ModelRef, str], object]
"""(what answers, why the CPU runs it); told once for each reason."""


class ModelHost:
    """The queue and the worker of one model name. Without a bundle the inputs wait."""

    def __init__(
        self,
        loop: Loop,
        name: str,
        settings: InferenceSettings,
        turns: Turns,
        clock: Callable[[], float] = time.monotonic,
        *,
        on_degraded: Degraded | None = None,
        on_quarantined: Callable[[str, int, str], object] = lambda _name, _release, _detail: None,
    ) -> None:
        """`on_quarantined` is told once of a release that has ended its workers too often: its name, its number, and why."""
        self.name = name
        self.bundle: Bundle | None = None
        self.reference: ModelRef | None = None
        """Of what answers now, with the provider that runs it; None while nothing is loaded."""
        self.degraded: str | None = None
        """Why the CPU runs what something else is required for; None where nothing is missing."""
        self._loop, self._settings, self._turns, self._clock = loop, settings, turns, clock
        self._on_degraded = on_degraded
        self._plan: RunPlan | None = None
        """Of the bundle that is installed."""
        self._release = 0
        self._quality: Quality | None = None
        self.drift: Counting | None = None
        """What the installed release is given and what it answers, beside its baseline."""
        self._on_quarantined = on_quarantined
        self._crashes = CrashPolicy(settings.max_crashes, settings.crash_window)
        self._crash_told = False
        self._batching = Batching(1, 0.0)
        self._queue = InputQueue(self._tell_dropped)
        self._flight: list[Pending] = []
        self._sent = 0.0
        """When the batch under way was."""
        self._busy_seconds = 0.0
        self._rest_until = 0.0
        self._mode = Mode.RUN
        self._mode_detail: str | None = None
        self._has_turn = False
        self._turn_timer: Timer | None = None
        self._wake: Timer | None = None
        """Set while inputs wait for others to make a batch with, or for the end of a rest."""
        self._alone = 0
        self._worker: WorkerProcess | None = None
        self._draining: WorkerProcess | None = None
        self._backoff = BACKOFF_MIN
        self._timer: Timer | None = None
        self._kick = False
        self._displaced_since: float | None = None
        self._stopped = False
        self._inferences = self._errors = self._restarts = 0
        self.last_failure: Failure | None = None

    def submit(self, item: ModelInput, done: Done, lane: Lane | None = None, sensor: str = "") -> None:
        """Queue an input; `done` is called on the loop later, never from within this call.

        With a `lane` that is full, a dropped input gets the lane's `outcome` instead of an answer; if it is an older one,
        perhaps from within this call.
        """
        self._queue.put(Pending(item, done, self._clock(), lane), sensor)
        if not self._kick and not self._flight and (self._wake is None or len(self._queue) >= self._batching.limit):
            # Posted, so that inputs of one turn of the loop make one batch.
            self._kick = True
            self._loop.post(self._kicked)

    def resume(self, bundle: Bundle, release: int) -> None:
        """Load a bundle that passed its golden samples earlier, and keep trying: what an agent does at its start."""
        self._retire()
        self._install(bundle, release)
        self.reference = None
        self._backoff = BACKOFF_MIN
        self._allow_worker()
        self._start()

    def switch(self, bundle: Bundle, release: int, ready: protocol.Ready, candidate: Candidate) -> float | None:
        """Answer from a warm worker from now on; the old one finishes its batch and is ended.

        Returns the seconds without an answer if the old one had been displaced.
        """
        self._cancel_restart()
        since, self._displaced_since = self._displaced_since, None
        old = self._worker
        self._install(bundle, release)
        self._backoff = BACKOFF_MIN
        self._allow_worker()
        self._adopt(candidate.hand_over(self._ended), ready)
        # While an older one still drains, the one in between never got a batch.
        if old is not None and old.busy:
            self._draining = old
        elif old is not None:
            old.stop()
        self._pump()
        return None if since is None else self._clock() - since

    def displace(self, then: Callable[[], object]) -> None:
        """End the worker to make room for a candidate; inputs wait. `then` is called when its memory is free.

        `give_place_back` or `switch` ends it.
        """
        self._displaced_since = self._clock()
        leaving = [worker for worker in (self._worker, self._draining) if worker is not None]
        self._retire()

        def look() -> None:
            if all(worker.gone for worker in leaving):
                then()
            else:
                self._loop.call_later(LOOK_SECONDS, look)

        look()

    @property
    def displaced(self) -> bool:
        """Whether its place is a candidate's."""
        return self._displaced_since is not None

    def give_place_back(self) -> float | None:
        """Load the bundle again if it was displaced. Returns the seconds without an answer so far; None if it was not."""
        since, self._displaced_since = self._displaced_since, None
        if since is None:
            return None
        self._backoff = BACKOFF_MIN
        self._start()
        return self._clock() - since

    def remove(self) -> None:
        """Unload the model; inputs wait until another bundle comes."""
        self._retire()
        self.bundle = self.reference = None
        self._mode, self._mode_detail = Mode.RUN, None

    def restart(self) -> bool:
        """End the worker and start a fresh one; a batch under way is asked again. False when there is no bundle."""
        if self.bundle is None:
            return False
        self._restarts += 1
        self._retire()
        self._backoff = BACKOFF_MIN
        self._start()
        return True

    def restrict(self, mode: Mode, detail: str | None) -> None:
        """What the model may do from now on, and why not more. Its inputs wait as long as they must."""
        before, self._mode, self._mode_detail = self._mode, mode, detail
        self._cancel_wake()
        if mode is Mode.UNLOAD:
            self._retire()
        elif before is Mode.UNLOAD:
            self._backoff = BACKOFF_MIN
            self._start()
        self._pump()

    def _allow_worker(self) -> None:
        """Another bundle takes other memory: whether there is room for it is to be seen."""
        if self._mode is Mode.UNLOAD:
            self._mode, self._mode_detail = Mode.RUN, None

    def stop(self) -> None:
        """End for good; `done` of what still waits is never called, the journal keeps it for the next start."""
        self._stopped = True
        self._queue.clear()
        self._flight = []
        self._retire()

    def figures(self) -> Figures | None:
        """How the release that answers does on live inputs; None without a bundle."""
        if self._quality is None or self.drift is None:
            return None
        return self.drift.add_to(self._quality.figures(memory_of(self._worker.pid) if self._worker is not None else None))

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
            degraded=self.degraded if self.reference is not None else None,
            sandbox=self._worker.ready.sandbox if self._worker is not None and self._worker.ready is not None else None,
            last_failure=self.last_failure,
            quarantined=self._crashes.is_too_many(self._clock()),
            batching=self._batching.state,
            max_batch=self._batching.limit if self._plan is not None else 0,
            busy_seconds=self._busy_seconds * (self._plan.threads if self._plan is not None else 1),
            priority=self._plan.priority if self._plan is not None else 0,
            mode=self._mode,
            mode_detail=self._mode_detail,
        )

    def _install(self, bundle: Bundle, release: int) -> None:
        self.bundle, self._release = bundle, release
        # What was asked of the release before is asked of this one as if for the first time.
        self._crashes = CrashPolicy(self._settings.max_crashes, self._settings.crash_window)
        self._crash_told = False
        self._alone = 0
        plan = self._plan = resolve(self._settings, self.name, bundle.manifest.runtime.value)
        fixed = [tensor.shape[0] for tensor in bundle.manifest.file_inputs if tensor.shape[0] > 0]
        self._quality = Quality(bundle.manifest)
        self.drift = Counting(bundle.manifest, bundle.baseline, self._settings.drift.remembered)
        self._batching = Batching(min([plan.max_batch, *fixed]), plan.max_delay)

    # ---- batches

    def _kicked(self) -> None:
        self._kick = False
        self._pump()

    def _pump(self) -> None:
        worker, plan = self._worker, self._plan
        if self._flight or not self._queue or worker is None or worker.ready is None or worker.busy or self._stopped:
            return
        if self._mode >= Mode.PAUSE:
            return
        if plan is None:
            raise RuntimeError("a worker without a bundle")
        now = self._clock()
        wait = self._batching.wait(len(self._queue), now - self._queue.oldest)
        if now < self._rest_until:
            wait = max(wait, self._rest_until - now)
        if wait > 0:
            if self._wake is None:
                self._wake = self._loop.call_later(wait, self._woken)
            return
        if not self._has_turn:
            self._has_turn = self._turns.ask(self.name, plan.priority, plan.threads, self._on_turn)
            if not self._has_turn:
                if self._turn_timer is None:
                    self._turn_timer = self._loop.call_later(HELD, self._ask_for_turn)
                return
        self._sent = now
        self._flight = self._queue.take(1 if self._alone else self._batching.size(len(self._queue)))
        items = [entry.item for entry in self._flight if entry.item is not None]
        reference, bundle = self.reference, self.bundle
        worker.run(items, plan.deadline, lambda r: self._answered(r, worker, reference, bundle))

    def _cancel_wake(self) -> None:
        self._rest_until = 0.0
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def _woken(self) -> None:
        self._wake = None
        self._pump()

    def _on_turn(self) -> None:
        self._has_turn = True
        self._pump()
        if not self._flight:
            self._end_turn()

    def _ask_for_turn(self) -> None:
        """Somebody may have held its threads for so long that they are shared."""
        self._turn_timer = None
        self._turns.give()
        self._pump()

    def _end_turn(self) -> None:
        """This model needs no CPU threads, and waits for none."""
        self._has_turn = False
        self._turns.end(self.name)

    def _give_turn_back(self) -> None:
        self._end_turn()
        self._turns.give()

    def _answered(
        self, results: list[Scored], worker: WorkerProcess, reference: ModelRef | None, bundle: Bundle | None
    ) -> None:
        """The batch is done. It was sent to `worker`, `reference` and `bundle`: a switch may have come in between."""
        # A worker may say anything. Behind what it can have needed, the loop was busy with the answers to the batch before.
        now = self._clock()
        seconds = worker.seconds if 0 < worker.seconds < now - self._sent else now - self._sent
        self._busy_seconds += seconds
        if self._draining is not None:
            self._draining.stop()
            self._draining = None
        if any(is_late(result) for result in results):
            failure = Failure(Reason.DEADLINE_EXCEEDED, "the runtime was told to stop")
            self._take_back(failure, blame=reference is self.reference)
            self._pump()
            return
        flight, self._flight = self._flight, []
        self._batching.note(len(results), seconds)
        if self._quality is not None and self.drift is not None and bundle is self.bundle and results:
            self._quality.add(results, seconds)
            self.drift.add([entry.item for entry in flight if entry.item is not None], results)
        if self._mode is Mode.SLOW:
            self._rest_until = now + min(REST * seconds, REST_MAX)
        self._end_turn()
        self._alone = max(0, self._alone - len(flight))
        if self._backoff != BACKOFF_MIN and not self._crashes.is_too_many(self._clock()):
            self._backoff = BACKOFF_MIN
        answers: list[Answer | Failure] = []
        scored = iter(results)
        for entry in flight:
            if entry.item is None and entry.lane is not None:
                answers.append(entry.lane.outcome)
                continue
            result = next(scored)
            if isinstance(result, Failure) or reference is None or bundle is None:
                self._errors += 1
                answers.append(result if isinstance(result, Failure) else Failure(Reason.LOAD_FAILED, "no model"))
            else:
                self._inferences += 1
                answers.append(Answer(result, reference, bundle.manifest))
        dropped = self._queue.owed(flight)
        # The next batch is on its way before the answers of this one are worked on.
        self._pump()
        self._turns.give()
        self._deliver(flight, answers)
        self._tell_dropped(dropped)
        self._queue.answered(flight)

    def _tell_dropped(self, entries: Sequence[Pending]) -> None:
        self._deliver(entries, [entry.lane.outcome for entry in entries if entry.lane is not None])

    def _deliver(self, flight: Sequence[Pending], answers: Sequence[Answer | Failure]) -> None:
        for entry, answer in zip(flight, answers, strict=True):
            try:
                entry.done(answer)
            except Exception:  # one receiver's fault must not cost the others their answers
                self._loop.errors += 1
                log.exception("a receiver of an answer failed", extra={"model": self.name})

    # ---- the worker's life

    def _start(self) -> None:
        self._timer = None
        if self.bundle is None or self._plan is None or self._stopped or self._mode is Mode.UNLOAD or self.displaced:
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
        told, self.degraded = self.degraded, ready.degraded
        if ready.degraded is not None and ready.degraded != told and self._on_degraded is not None:
            self._on_degraded(self.reference, ready.degraded)

    def _ended(self, worker: WorkerProcess, failure: Failure) -> None:
        if worker is self._draining:
            self._draining = None
            self._take_back(failure, blame=False)
            self._pump()
        elif worker is self._worker:
            self._worker = None
            if self._quality is not None:
                self._quality.crashes += 1
            if self._draining is None:
                self._take_back(failure)
            self._restarts += 1
            self._restart_later(failure)

    def _take_back(self, failure: Failure, *, blame: bool = True) -> None:
        """No answer: the inputs go to the front again, one by one from now on, except the one that has spoilt it twice."""
        flight, self._flight = self._flight, []
        self._give_turn_back()
        if blame:
            self._note_crash(flight, failure)
        if len(flight) == 1 and blame:
            entry = flight[0]
            entry.crashes += 1
            if entry.crashes >= POISON_CRASHES:
                self._errors += 1
                if self._quality is not None:
                    self._quality.add_unanswered()
                self._alone = max(0, self._alone - 1)
                late = failure.reason is Reason.DEADLINE_EXCEEDED
                reason = failure.reason if late else Reason.POISON_INPUT
                dropped = self._queue.owed(flight)
                what = "it was late" if late else "a worker ended over this input"
                self._deliver(flight, [Failure(reason, f"{what} {entry.crashes} times; {failure.detail}")])
                self._tell_dropped(dropped)
                self._queue.answered(flight)
                return
        self._alone = max(self._alone, len(flight))
        self._queue.put_back(flight)

    def _note_crash(self, flight: list[Pending], failure: Failure) -> None:
        """Blame the release, and tell once when it has had enough."""
        for entry in flight:
            if entry.blamed_by is not self._crashes:
                entry.blamed_by, entry.crashes = self._crashes, 0
        if failure.reason is Reason.DEADLINE_EXCEEDED and len(flight) > 1:
            return  # the batch may be too large for the deadline; each of its inputs alone will tell
        now = self._clock()
        self._crashes.note(now, [content_of(entry.item) for entry in flight if entry.item is not None])
        if self._crash_told or not self._crashes.is_too_many(now):
            return
        self._crash_told = True
        window = self._settings.crash_window
        text = f"workers ended for {self._crashes.count(now)} different causes within {window:g} s, the last: {failure.detail}"
        self._loop.post(self._on_quarantined, self.name, self._release, text)

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
        flight, self._flight = self._flight, []
        self._give_turn_back()
        self._queue.put_back(flight)


def is_late(result: Scored) -> bool:
    """Whether an item was not scored because its batch missed the deadline: nobody knows whose fault that is."""
    return isinstance(result, Failure) and result.reason is Reason.DEADLINE_EXCEEDED
