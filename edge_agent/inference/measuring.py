"""One bundle's worker under full load for a while: what `edge-agent bench` and `edge-agent tune` measure.

It is the daemon's own worker, asked as the daemon asks it, one batch after the other.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import psutil

from edge_agent.health.power import EnergyMeter
from edge_agent.health.probes import memory_of
from edge_agent.inference.answers import Failure, ModelInput, Scored
from edge_agent.inference.bundle_store import Bundle
from edge_agent.inference.process import WorkerProcess
from edge_agent.inference.run_plan import RunPlan
from edge_agent.loop import Loop
from fleet_contract.reasons import Reason

WARM_UP_BATCHES = 5
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of one plan. Times in seconds, memory in bytes."""

    threads: int
    spin: bool
    batch: int
    inferences: int
    errors: int
    seconds: float
    latency_p50: float
    """Of one batch, from asking the worker to its answer."""
    latency_p95: float
    latency_p99: float
    cpu_seconds: float
    """Of the worker, all threads."""
    memory_bytes: int | None
    """Proportional set size of the worker, after the run."""
    joules: float | None
    """Of the whole device while it ran; None where no sensor tells."""
    provider: str
    load_seconds: float

    @property
    def per_second(self) -> float:
        """Inferences each second."""
        return self.inferences / self.seconds

    @property
    def cpu_percent(self) -> float:
        """Of one core."""
        return 100 * self.cpu_seconds / self.seconds

    @property
    def joules_each(self) -> float | None:
        """Energy of the device for each inference."""
        return None if self.joules is None or not self.inferences else self.joules / self.inferences


def measure(
    loop: Loop,
    bundle: Bundle,
    plan: RunPlan,
    questions: Sequence[ModelInput],
    seconds: float,
    meter: EnergyMeter | None,
    progress: Callable[[float], object] = lambda _seconds: None,
) -> Measured | Failure:
    """Run batches of `plan.max_batch` items for about `seconds`; a failure if the worker does not load or ends.

    `progress` gets the seconds measured so far, after each batch.
    """
    ended: list[Failure] = []
    began = time.monotonic()
    try:
        worker = WorkerProcess(loop, bundle, plan, lambda *_: None, lambda _, failure: ended.append(failure))
    except OSError as error:
        return Failure(Reason.LOAD_FAILED, f"the worker could not be started: {error}")
    try:
        loop.run_until(lambda: worker.ready is not None or bool(ended), plan.load_timeout + 1)
        if ended or worker.ready is None:
            return ended[0] if ended else Failure(Reason.LOAD_FAILED, "the worker did not answer in time")
        loaded = time.monotonic() - began
        items = cycle(questions)
        errors = 0

        def ask() -> float:
            nonlocal errors
            batch = list(islice(items, plan.max_batch))
            answers: list[Scored] = []
            start = time.perf_counter()
            worker.run(batch, plan.deadline, answers.extend)
            while not answers and not ended:
                loop.turn(1.0)
            taken = time.perf_counter() - start
            errors += sum(isinstance(answer, Failure) for answer in answers)
            return taken

        for _ in range(WARM_UP_BATCHES):
            ask()
        if ended:
            return ended[0]
        errors = 0
        process = psutil.Process(worker.pid)
        before, joules = process.cpu_times(), meter.joules() if meter is not None else 0.0
        latencies: list[float] = []
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            latencies.append(ask())
            if ended:
                return ended[0]
            progress(time.monotonic() - start)
        elapsed = time.monotonic() - start
        after = process.cpu_times()
        used = meter.joules() - joules if meter is not None else None
        memory = memory_of(worker.pid)
        provider = worker.ready.provider
    finally:
        worker.stop()
        loop.run_until(lambda: worker.gone, STOP_SECONDS)
    latencies.sort()
    return Measured(
        threads=plan.threads,
        spin=plan.spin,
        batch=plan.max_batch,
        inferences=len(latencies) * plan.max_batch,
        errors=errors,
        seconds=elapsed,
        latency_p50=_quantile(latencies, 0.5),
        latency_p95=_quantile(latencies, 0.95),
        latency_p99=_quantile(latencies, 0.99),
        cpu_seconds=after.user + after.system - before.user - before.system,
        memory_bytes=memory,
        joules=used,
        provider=provider,
        load_seconds=loaded,
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
