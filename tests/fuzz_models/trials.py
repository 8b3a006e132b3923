"""Tries mutated files in real workers, by the daemon's own code on its own loop, and judges how each ended."""

import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final

from edge_agent.inference.answers import Failure
from edge_agent.inference.bundle_store import BundleStore
from edge_agent.inference.candidate import Candidate
from edge_agent.inference.protocol import Ready
from edge_agent.inference.run_plan import resolve
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings
from fleet_contract.reasons import Reason
from tests.fuzz_models.mutations import KINDS, mutate
from tests.fuzz_models.seeds import seeds_of
from tests.hostile_models.releases import Release, write_bundle

MODEL: Final = "mutant"
LOAD_TIMEOUT: Final = 10.0
DEADLINE: Final = 2.0
TRIAL_TIMEOUT: Final = 30.0
"""Seconds for start, load and golden samples together, on a machine with much else to do."""
GRACE: Final = 15.0
"""Seconds behind these after which a trial that has not ended hangs, and a worker that lives is left over."""
MEMORY: Final = 1024**3
GROWTH: Final = 24 * 1024**2
"""Bytes that this process may grow by over all trials but the first ones."""
WARM_UP: Final = 100
"""Trials before its size is taken."""


class Ending(StrEnum):
    """How a trial may end."""

    REFUSED = "clean refusal"
    GOOD = "good answers"
    WRONG = "wrong answers"
    DEATH = "contained death"
    LATE = "ended at its deadline"


class Unforeseen(Exception):
    """A trial ended in a way in which none may."""


_REFUSALS: Final = frozenset(
    {
        Reason.MODEL_FILE_INVALID,
        Reason.EXTERNAL_DATA,
        Reason.FOREIGN_OPERATOR,
        Reason.MANIFEST_INVALID,
        Reason.TENSOR_MISMATCH,
        Reason.LOAD_FAILED,
        Reason.INCOMPATIBLE,
    }
)
_WRONG: Final = frozenset({Reason.GOLDEN_MISMATCH, Reason.BAD_OUTPUT})


def judge(outcome: Ready | Failure) -> Ending:
    """What kind of end this is; raises Unforeseen. Pure."""
    if isinstance(outcome, Ready):
        return Ending.GOOD
    detail = outcome.detail
    if "was ended" in detail:
        # a fault of ours in the worker closes the socket before it ends the process, and the daemon kills what is left
        if "by signal" not in detail or "SIGKILL" in detail:
            raise Unforeseen(f"the worker ended itself: {detail}")
        return Ending.DEATH
    if outcome.reason in (Reason.DEADLINE_EXCEEDED, Reason.TEST_TIMEOUT) or "was not loaded within" in detail:
        return Ending.LATE
    if outcome.reason in _REFUSALS:
        return Ending.REFUSED
    if outcome.reason in _WRONG:
        return Ending.WRONG
    raise Unforeseen(f"{outcome.reason}: {detail}")


@dataclass
class Tally:
    """What came of the trials."""

    endings: Counter[tuple[str, Ending]] = field(default_factory=Counter)
    """By kind of mutation."""
    reasons: Counter[str] = field(default_factory=Counter)
    finds: list[str] = field(default_factory=list)
    """What none of them may do, a line for each."""

    @property
    def trials(self) -> int:
        """How many have ended as they may."""
        return sum(self.endings.values())

    def lines(self) -> list[str]:
        """A table of endings by kind of mutation."""
        head = f"{'':10}" + "".join(f"{ending:>23}" for ending in Ending)
        rows = [f"{kind:10}" + "".join(f"{self.endings[kind, ending]:23}" for ending in Ending) for kind in KINDS]
        return [head, *rows, ", ".join(f"{reason} {count}" for reason, count in self.reasons.most_common())]


@dataclass(slots=True)
class Trial:
    """One file under trial."""

    number: int
    kind: str
    file: bytes
    candidate: Candidate
    path: Path
    """Of its bundle."""
    due: float
    """Monotonic seconds after which it hangs."""
    ended: bool = False


class Trials:
    """Tries mutations of one runtime's seeds, some at a time.

    Args:
        format_: as a manifest names the runtime.
        python: `inference.python`.
        out: where finds are written, as `{prefix}{number}.bin`.
        tell: called with a line now and then.
    """

    def __init__(
        self,
        format_: str,
        python: Mapping[str, str],
        seed: int,
        folder: Path,
        out: Path,
        prefix: str,
        tell: Callable[[str], object],
    ) -> None:
        self.tally = Tally()
        self._format, self._seed, self._out, self._prefix, self._tell = format_, seed, out, prefix, tell
        self._store = BundleStore(folder)
        settings = InferenceSettings(python=dict(python), deadline=DEADLINE, load_timeout=LOAD_TIMEOUT, memory_bytes=MEMORY)
        self._plan = resolve(settings, MODEL, format_)
        self._seeds = list(seeds_of(format_).values())
        self._corpus = [release.file for release in self._seeds]
        self._loop = Loop()
        self._running: list[Trial] = []
        self._started = self._done = 0

    def release(self, number: int) -> tuple[str, Release]:
        """The kind of the mutation of this number, and the mutated release: always the same for a seed."""
        random = Random(f"{self._seed} {self._format} {number}")
        kind = KINDS[number % len(KINDS)]
        release = random.choice(self._seeds)
        return kind, replace(release, file=mutate(random, self._format, kind, release.file, self._corpus))

    def run(self, first: int, count: int, jobs: int, seconds: float) -> Tally:
        """Try `count` mutations from number `first` on, `jobs` at a time; begins none after `seconds`."""
        gc.collect()  # what earlier work of this process left to the collector would close in between
        descriptors, size, start = len(os.listdir("/proc/self/fd")), 0, time.monotonic()
        last = first + count
        number = first
        while number < last or self._running:
            while number < last and len(self._running) < jobs and time.monotonic() - start < seconds:
                self._begin(number, *self.release(number))
                number += 1
            if not self._running:
                self._tell(f"out of time after {number - first} of {count}")
                break
            self._loop.turn(0.05)
            self._reap()
            if self._done == WARM_UP and not size:
                size = resident()
        grown = resident() - size if size else 0
        left = len(os.listdir("/proc/self/fd")) - descriptors
        if grown > GROWTH:
            self.tally.finds.append(f"this process grew by {grown / 1024**2:.0f} MiB")
        if left:
            self.tally.finds.append(f"{left} descriptors are left open")
        self._tell(f"this process grew by {grown / 1024**2:.1f} MiB after the first {WARM_UP} trials")
        return self.tally

    def close(self) -> None:
        """End the loop."""
        self._loop.close()

    def _begin(self, number: int, kind: str, release: Release) -> None:
        bundle = write_bundle(self._store, MODEL, release, f"1.0.{number}")  # a file of its own, which goes with its trial
        trial: Trial

        def ended(outcome: Ready | Failure) -> None:
            trial.ended = True
            self._judge(trial, outcome)
            trial.candidate.cancel()

        due = time.monotonic() + TRIAL_TIMEOUT + GRACE
        candidate = Candidate(self._loop, bundle, self._plan, TRIAL_TIMEOUT, ended)
        trial = Trial(number, kind, release.file, candidate, bundle.path, due)
        self._running.append(trial)

    def _judge(self, trial: Trial, outcome: Ready | Failure) -> None:
        try:
            ending = judge(outcome)
        except Unforeseen as error:
            self._find(trial, str(error))
            return
        self.tally.endings[trial.kind, ending] += 1
        self.tally.reasons["passed" if isinstance(outcome, Ready) else outcome.reason.value] += 1

    def _reap(self) -> None:
        """Forget trials that have ended and left nothing; those that should have are finds."""
        if self._loop.errors:
            for trial in self._running:
                self._find(trial, "an exception on the daemon's loop, in this trial or one beside it")
            self._loop.errors = 0
        now = time.monotonic()
        for trial in list(self._running):
            gone = trial.ended and not is_process(trial.candidate.pid)
            if not gone and now < trial.due:
                continue
            if not gone:
                self._find(trial, "a worker is left over" if trial.ended else "the trial hangs")
                trial.candidate.cancel()
            self._running.remove(trial)
            trial.path.unlink(missing_ok=True)
            self._done += 1
            if self._done % 100 == 0:
                endings = Counter(ending for _, ending in self.tally.endings.elements())
                shown = ", ".join(f"{ending} {endings[ending]}" for ending in Ending)
                self._tell(f"{self._done}: {shown}; finds: {len(self.tally.finds)}")

    def _find(self, trial: Trial, what: str) -> None:
        path = self._out / f"{self._prefix}{trial.number}.bin"
        path.write_bytes(trial.file)
        line = f"mutation {trial.number} ({trial.kind}): {what}; written to {path}"
        self.tally.finds.append(line)
        self._tell(line)


def is_process(pid: int | None) -> bool:
    """Whether there is a process of this id, be it one that ended and was not waited for."""
    return pid is not None and Path(f"/proc/{pid}").exists()


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
