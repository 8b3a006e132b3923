"""Runs of plans one after the other, with a progress bar and an energy meter, and how they are shown."""

import dataclasses
import sys
from typing import Any, Final

from tqdm import tqdm

from edge_agent.health.power import EnergyMeter, open_meter
from edge_agent.inference.answers import Failure
from edge_agent.inference.bundle_store import Bundle
from edge_agent.inference.measuring import Measured, measure
from edge_agent.inference.run_plan import RunPlan
from edge_agent.loop import Loop
from edge_agent.model_argument import ModelArgument, golden_questions
from edge_agent.replay_models import BundleMissing

HEAD: Final = ("VERSION", "THREADS", "SPIN", "BATCH", "P50 ms", "P95 ms", "P99 ms", "PER SECOND", "CPU %", "MB", "mJ EACH")


class Runs:
    """A loop, a meter and a progress bar around several runs."""

    def __init__(self, found: ModelArgument, seconds: float, *, quiet: bool) -> None:
        """`seconds`: of all runs together; `quiet`: nothing on standard error."""
        self._loop = Loop()
        self.meter: EnergyMeter | None = open_meter()
        hidden = quiet or not sys.stderr.isatty()
        form = "{desc}: {percentage:3.0f}% |{bar}| {elapsed} of {remaining} left"
        self._bar = tqdm(total=seconds, desc=found.bundle.manifest.name, disable=hidden, bar_format=form, leave=False)
        if found.control_socket is not None and found.control_socket.exists() and not quiet:
            sys.stderr.write("the agent is running: what it does meanwhile is in the figures\n")

    def __enter__(self) -> "Runs":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self.meter is not None:
            self.meter.close()
        self._loop.close()

    def try_plan(self, bundle: Bundle, plan: RunPlan, seconds: float) -> Measured:
        """Measure one plan; raises BundleMissing when the bundle cannot be run."""
        start = self._bar.n

        def progress(done: float) -> None:
            self._bar.update(min(start + min(done, seconds), self._bar.total) - self._bar.n)

        outcome = measure(self._loop, bundle, plan, golden_questions(bundle), seconds, self.meter, progress)
        if isinstance(outcome, Failure):
            raise BundleMissing(f"{bundle.path}: {outcome.reason}: {outcome.detail}")
        progress(seconds)
        return outcome


def to_row(bundle: Bundle, measured: Measured) -> tuple[str, ...]:
    """A line of the table under `HEAD`."""
    energy, memory = measured.joules_each, measured.memory_bytes
    return (
        bundle.manifest.version,
        str(measured.threads),
        "yes" if measured.spin else "no",
        str(measured.batch),
        f"{measured.latency_p50 * 1000:.3f}",
        f"{measured.latency_p95 * 1000:.3f}",
        f"{measured.latency_p99 * 1000:.3f}",
        f"{measured.per_second:.0f}",
        f"{measured.cpu_percent:.0f}",
        "unknown" if memory is None else f"{memory / 1e6:.0f}",
        "unknown" if energy is None else f"{energy * 1000:.3f}",
    )


def about_energy(meter: EnergyMeter | None) -> str:
    """Where the figures of energy come from."""
    if meter is None:
        return "energy: unknown, this device has no power sensor that can be read here"
    return f"energy: of the whole device, what it takes when idle included, by {meter.name}"


def to_json(bundle: Bundle, measured: Measured) -> dict[str, Any]:
    """As `-o json` shows it. Times in seconds, memory in bytes, energy in joules."""
    return {
        "model": bundle.manifest.name,
        "version": bundle.manifest.version,
        "digest": bundle.digest,
        **dataclasses.asdict(measured),
        "per_second": measured.per_second,
        "cpu_percent": measured.cpu_percent,
        "joules_each": measured.joules_each,
    }
