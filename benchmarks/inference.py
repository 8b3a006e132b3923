"""What the way to a worker costs: the same inferences through the daemon's own room, and in a bare loop of the runtime.

Ours is `Models.submit` on the daemon's loop to `done` on it, with a real worker process in its sandbox. The bare loop is
`InferenceSession.run` on the same arrays, again and again, in a process of its own (`bare_loop.py`). Both have one thread, and
they run in turn, so that a busy machine is busy for both. Tokenising is left out on both sides.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import inference_models
from benchmarks.figures import Figure, quick, write
from benchmarks.inference_models import Subject
from benchmarks.latency import Latencies
from edge_agent.inference.answers import Answer, Failure
from edge_agent.inference.bundle_store import open_bundle_file
from edge_agent.inference.models import Models
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings
from fleet_contract.messages import ModelRef

ROUNDS: Final = 2 if quick() else 5
SECONDS: Final = 1.0 if quick() else 6.0
WARM_UP: Final = 20
WAITING_BATCHES: Final = 4
"""So many batches wait for the model at any time, where batches are measured."""


class Ours:
    """The inference room with one model."""

    def __init__(self, subject: Subject, max_batch: int) -> None:
        self._loop = Loop()
        self._models = Models(self._loop, InferenceSettings(max_batch=max_batch))
        self._subject, self._waiting = subject, WAITING_BATCHES * max_batch
        told: list[ModelRef | Failure] = []
        self._models.activate(open_bundle_file(subject.bundle), 1, 120.0, told.append)
        self._loop.run_until(lambda: bool(told), 120.0)
        if not told or isinstance(told[0], Failure):
            raise SystemExit(f"{subject.name} does not load: {told}")

    def close(self) -> None:
        """End the worker."""
        self._models.stop()
        self._loop.run_until(lambda: False, 0.2)
        self._loop.close()

    def one_by_one(self, seconds: float) -> dict[str, float]:
        """Each asked when the one before has been answered, as the bare loop does it."""
        taken = Latencies()
        answers: list[Answer | Failure] = []
        turn, submit, name, question = self._loop.turn, self._models.submit, self._subject.name, self._subject.question

        def ask() -> None:
            submit(name, question, answers.append)
            while not answers:
                turn()
            if isinstance(answers.pop(), Failure):
                raise SystemExit(f"{name} gives no scores")

        for _ in range(WARM_UP):
            ask()
        began = now = time.perf_counter()
        while now - began < seconds:
            ask()
            before, now = now, time.perf_counter()
            taken.add(now - before)
        return {"per_second": len(taken) / (now - began), "p50": taken.quantile(0.5), "p99": taken.quantile(0.99)}

    def in_batches(self, seconds: float) -> dict[str, float]:
        """With inputs always waiting, so that the room makes batches of them."""
        done, asked, going_on = 0, self._waiting, True

        def answered(answer: Answer | Failure) -> None:
            nonlocal done, asked
            done += isinstance(answer, Answer)
            if going_on:
                submit(name, question, answered)
            else:
                asked -= 1

        submit, name, question = self._models.submit, self._subject.name, self._subject.question
        for _ in range(self._waiting):
            submit(name, question, answered)
        self._loop.run_until(lambda: False, 0.5)
        first, began = done, time.perf_counter()
        self._loop.run_until(lambda: False, seconds)
        rate = (done - first) / (time.perf_counter() - began)
        going_on = False  # or this round's questions would go on in the next one, uncounted
        self._loop.run_until(lambda: not asked, 60.0)
        return {"per_second": rate}


def bare(subject: Subject, folder: Path, batch: int) -> dict[str, float]:
    """The bare loop; per second are inferences, not batches."""
    feeds = folder / f"{subject.name}-{batch}.npz"
    if not feeds.exists():
        np.savez(feeds, **{name: np.repeat(values, batch, axis=0) for name, values in subject.feeds.items()})
    command = [sys.executable, "-m", "benchmarks.bare_loop", str(subject.model), str(feeds), subject.output, str(SECONDS)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=300)
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"per_second": found["per_second"] * batch}


def compare(subject: Subject, folder: Path) -> list[Figure]:
    """One by one, in turn with the bare loop."""
    ours: list[dict[str, float]] = []
    loops: list[dict[str, float]] = []
    room = Ours(subject, 1)
    for number in range(ROUNDS):
        print(f"inference: {subject.name}, round {number + 1} of {ROUNDS}", flush=True)
        ours.append(room.one_by_one(SECONDS))
        loops.append(bare(subject, folder, 1))
    room.close()

    def figure(metric: str, unit: str, key: str, scale: Callable[[float], float]) -> Figure:
        name = f"{subject.name}_{metric}"
        return Figure(name, unit, [scale(run[key]) for run in ours], [scale(run[key]) for run in loops], "bare_loop")

    return [
        figure("per_second", "inferences/s", "per_second", float),
        figure("p50_us", "us", "p50", lambda seconds: seconds * 1e6),
        figure("p99_us", "us", "p99", lambda seconds: seconds * 1e6),
    ]


def compare_batches(subject: Subject, folder: Path, batch: int) -> Figure:
    """With batches, beside the bare loop with batches of the same size."""
    ours, loops = [], []
    room = Ours(subject, batch)
    for number in range(ROUNDS):
        print(f"inference: {subject.name} in batches of {batch}, round {number + 1} of {ROUNDS}", flush=True)
        ours.append(room.in_batches(SECONDS)["per_second"])
        loops.append(bare(subject, folder, batch)["per_second"])
    room.close()
    return Figure(f"{subject.name}_by_{batch}_per_second", "inferences/s", ours, loops, "bare_loop_batched")


def main() -> None:
    """Measure all three and write the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: list[Figure] = []
        for make, batch in ((inference_models.mlp, 64), (inference_models.text_encoder, 16), (inference_models.detector, 4)):
            subject = make(folder)
            figures += [*compare(subject, folder), compare_batches(subject, folder, batch)]
    write("inference", figures)


if __name__ == "__main__":
    main()
