"""One bundle tried on a data set, by the worker's own code in a process of its own: scores, latency and memory.

`python -m edge_agent.inference.evaluate BUNDLE.tar [--data SAMPLES.jsonl] [--inputs FOLDER] [--seconds S] [--load-only]` prints
an `Evaluation` as JSON. It ends with status 0 also for a bundle that cannot be loaded: that is an answer. Status 1: the
bundle or the data set cannot be read.
"""

import argparse
import math
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge_agent.health.probes import memory_of
from edge_agent.inference import protocol
from edge_agent.inference.answers import Failure, ModelInput, Scored, to_input
from edge_agent.inference.bundle_store import Bundle, hex_of, open_bundle_file
from edge_agent.inference.candidate import compare
from edge_agent.inference.process import child_environment, input_names, load_request, read_scores, run_request
from edge_agent.inference.promises import find_broken_promise
from edge_agent.inference.run_plan import resolve
from edge_agent.inference.worker.__main__ import read_bundle_files
from edge_agent.settings import InferenceSettings
from fleet_contract.bundle import BundleError
from fleet_contract.evaluation import DataSample, DataSetError, Evaluation, parse_data_set
from fleet_contract.manifest import GoldenSample

if TYPE_CHECKING:
    from edge_agent.inference.backends.port import Backend, Feeds
    from edge_agent.inference.worker.scoring import Scorer

WARM_UP_RUNS: Final = 5
FEWEST_RUNS: Final = 20
LOAD_BYTES: Final = 4 * 1024**3
"""Address space for loading alone, beside four times the bundle."""
LOAD_CPU_SECONDS: Final = 60


class WatchedBackend:
    """A backend that keeps what it was given last: the model's own inputs, with features or tokens worked out."""

    def __init__(self, backend: "Backend") -> None:
        self._backend = backend
        self.provider, self.placement, self.degraded = backend.provider, backend.placement, backend.degraded
        self.version, self.max_batch = backend.version, backend.max_batch
        self.feeds: Feeds | None = None

    def run(self, feeds: "Feeds") -> Any:
        """See the port."""
        self.feeds = feeds
        return self._backend.run(feeds)

    def cancel(self) -> None:
        """See the port."""
        self._backend.cancel()


class Trial:
    """A loaded bundle that is asked one item at a time, as a device without batches does it."""

    def __init__(self, bundle: Bundle, scorer: "Scorer") -> None:
        self._names = input_names(bundle.manifest)
        self._scorer = scorer
        self.backend = WatchedBackend(scorer.backend)
        scorer.backend = self.backend
        self._asked = 0

    def ask(self, item: ModelInput) -> "tuple[Scored, Feeds | None]":
        """The scores, and what the model itself was given for them."""
        self._asked += 1
        self.backend.feeds = None
        request, body = run_request(self._asked, self._names, [item])
        answer, parts = self._scorer.answer(request, b"".join(body))
        return read_scores(answer, b"".join(parts), 1)[0], self.backend.feeds

    def time(self, feeds: "Sequence[Feeds]", seconds: float) -> list[float]:
        """Seconds of single runs over `feeds` in turn, sorted; for about `seconds`, and at least FEWEST_RUNS."""
        for turn in range(WARM_UP_RUNS):
            self.backend.run(feeds[turn % len(feeds)])
        taken: list[float] = []
        end = time.perf_counter() + seconds
        while len(taken) < FEWEST_RUNS or time.perf_counter() < end:
            one = feeds[len(taken) % len(feeds)]
            before = time.perf_counter()
            self.backend.run(one)
            taken.append(time.perf_counter() - before)
        return sorted(taken)


def evaluate(bundle: Bundle, data: Path | None, inputs: Path | None, seconds: float, *, load_only: bool = False) -> Evaluation:
    """Load the bundle, answer its golden samples, take times and memory, and then score the samples of `data`, JSON lines.

    Into the folder `inputs`, if it is given, go the model's own inputs for each sample, as `{position}.npz`. With
    `load_only` nothing is asked: names, types and shapes are held against the file while it is loaded. Raises DataSetError and
    OSError when the samples cannot be read.
    """
    plan = resolve(InferenceSettings(threads=1), bundle.manifest.name, bundle.manifest.runtime.value)
    load = load_request(bundle, plan)
    start_bytes = memory_of(os.getpid()) or 0
    # Imported only now, so that `start_bytes` is without numpy and runtime.
    from edge_agent.inference.backends.port import BackendError
    from edge_agent.inference.worker.scoring import Scorer

    try:
        digest, model, tokenizer = read_bundle_files(load)
        if digest != hex_of(bundle.digest):
            raise BackendError(protocol.HASH_MISMATCH, f"{bundle.path} changed while it was read")
        trial = Trial(bundle, Scorer(load, model, tokenizer))
        del model, tokenizer
    except BackendError as error:
        return Evaluation(failed=(error.reason, str(error)))
    except (MemoryError, ImportError) as error:
        reason = protocol.RUNTIME_MISSING if isinstance(error, ImportError) else protocol.LOAD_FAILED
        return Evaluation(failed=(reason, f"{type(error).__name__}: {error}"))
    if load_only:
        return Evaluation(provider=trial.backend.provider, runtime_version=trial.backend.version)
    answered = [trial.ask(to_input(sample)) for sample in bundle.golden]
    mismatch = compare(bundle.golden, [scored for scored, _ in answered])
    feeds = [given for _, given in answered if given is not None]
    taken = trial.time(feeds, seconds) if feeds else []
    memory_bytes, peak_bytes = memory_of(os.getpid()) or 0, most_resident_bytes()
    broken = find_broken_promise(bundle.manifest.requirements, peak_bytes, taken)
    # Read only now, so that a large data set is no part of the memory above.
    samples = parse_data_set(data.read_bytes(), bundle.manifest, str(data)) if data is not None else ()
    scored, faults = _score(trial, samples, inputs)
    return Evaluation(
        golden=None if mismatch is None else (mismatch.reason.value, mismatch.detail),
        golden_difference=_largest_difference(bundle.golden, [scores for scores, _ in answered]),
        scores=tuple(scored),
        faults=tuple(faults),
        latency_p50=taken[len(taken) // 2] if taken else 0.0,
        latency_p95=taken[len(taken) * 95 // 100] if taken else 0.0,
        runs=len(taken),
        start_bytes=start_bytes,
        memory_bytes=memory_bytes,
        peak_bytes=peak_bytes,
        broken=None if broken is None else (broken.reason.value, broken.detail),
        provider=trial.backend.provider,
        runtime_version=trial.backend.version,
    )


def _score(
    trial: Trial, samples: Sequence[DataSample], inputs: Path | None
) -> tuple[list[tuple[float, ...] | None], list[tuple[int, str, str]]]:
    import numpy as np

    scored: list[tuple[float, ...] | None] = []
    faults: list[tuple[int, str, str]] = []
    for position, sample in enumerate(samples):
        given, feeds = trial.ask(to_input(sample))
        if isinstance(given, Failure):
            faults.append((position, given.reason.value, given.detail))
        scored.append(None if isinstance(given, Failure) else tuple(given))
        if inputs is not None and feeds is not None:
            np.savez(inputs / f"{position}.npz", **feeds)
    return scored, faults


def _largest_difference(golden: Sequence[GoldenSample], given: Sequence[Scored]) -> float | None:
    largest = 0.0
    for sample, scores in zip(golden, given, strict=True):
        if isinstance(scores, Failure) or len(scores) != len(sample.scores):
            return None
        largest = max(largest, *(abs(one - other) for one, other in zip(scores, sample.scores, strict=True)))
    return largest if math.isfinite(largest) else None


def most_resident_bytes() -> int:
    """The most memory that this process ever had resident."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _limit(size: int) -> None:
    """Bounds for loading alone, where nobody watches: a file can make a runtime work and allocate without end."""
    memory = LOAD_BYTES + 4 * size
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (LOAD_CPU_SECONDS, LOAD_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.inference.evaluate")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, help="samples, JSON lines")
    parser.add_argument("--inputs", type=Path, help="folder for the model's own inputs of each sample")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long single runs are timed")
    parser.add_argument("--load-only", action="store_true", help="load it, and ask it nothing")
    options = parser.parse_args()
    os.environ.update(child_environment(1))
    try:
        if options.load_only:
            _limit(options.bundle.stat().st_size)
        bundle = open_bundle_file(options.bundle)
        evaluation = evaluate(bundle, options.data, options.inputs, options.seconds, load_only=options.load_only)
    except (BundleError, DataSetError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(evaluation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
