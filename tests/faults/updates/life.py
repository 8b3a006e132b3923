"""One life of a device's update room, as a process of its own that may be killed at an exact step.

Real are the updater, agent.db, the bundles on disk, the trust child with its HTTP and TUF, and SIGKILL. Workers and brokers are
not there: `Answering` stands in for the models, and a file for the broker's retained desired state. `test_agent_killed.py`
plays the same with nothing left out.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_agent.inference.bundle_store import PREFIX, BundleStore, hex_of
from edge_agent.journal.store import Store
from edge_agent.loop import Loop
from edge_agent.model_switch import BundleStage
from edge_agent.settings import StoreSettings
from edge_agent.update_settings import ProbationSettings, QualityLimits, ShadowSettings, UpdateSettings
from edge_agent.updates.ledger import Move
from edge_agent.updates.machine import FINAL
from edge_agent.updates.ports import Candidate, Failure
from edge_agent.updates.process import TrustProcess, TrustProcesses
from edge_agent.updates.trust.job import Fetched, Job, Message
from edge_agent.updates.updater import Updater
from fleet_contract.messages import Desired, DesiredModel
from fleet_contract.reasons import Reason
from fleet_contract.update_report import Evidence, Figures
from fleet_contract.update_report import UpdateState as State
from tests.faults.updates.fleet import MODEL
from tests.faults.updates.operations import Failing, Operations
from tests.faults.updates.scenario import SCENARIOS, Kill, Scenario, Step
from tests.faults.updates.watched import WatchedValues, die

EVENT: Final = 0.001
"""Seconds between two events."""
INPUTS: Final = 25
"""Of shadowing and of probation."""
FULL_FOR: Final = 200
"""Events."""
FILLER: Final = "somebody else's file"
SETTLED: Final = 40
"""Events after which nothing more is expected to happen."""
NOBODY: Final = "-"
RETAINED: Final = "retained.json"
ANSWERS: Final = "answers"
OPERATIONS: Final = "operations.json"
NOTES: Final = "notes.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a life is to be like."""

    folder: Path
    """The device's; what outlives the process."""
    digests: dict[int, str]
    url: str
    scenario: str
    step: Step | None = None
    """Where it is killed; None: nowhere."""
    kill: Kill = Kill.AFTER
    failing: Failing | None = None
    """Which of its operations fail."""
    full_at: str | None = None
    """As soon as this event is durable another file takes all that is left of the disk, for a while."""
    longest: float = 20.0


class Answering:
    """Who answers, as a number. A bundle is hashed before it is loaded, as a worker does it."""

    def __init__(self, life: "Life") -> None:
        self._life = life
        self._passed: dict[str, int] = {}
        self.release: int | None = None
        self._answered = 0
        self._shadowed = 0

    def test(self, candidate: Candidate, done: Callable[[Failure | None], None]) -> None:
        failure = _check(candidate)
        if failure is None and self._life.is_tried(candidate.release) and self._life.scenario.wrong:
            failure = Failure(Reason.GOLDEN_MISMATCH, "sample 0")
        if failure is None:
            self._passed[candidate.model] = candidate.release
        if not self._life.stalls(candidate.release):
            self._life.loop.post(done, failure)

    def cancel_test(self, model: str) -> None:
        self._passed.pop(model, None)

    def shadow(self, model: str, _on_lost: Callable[[Failure], None]) -> bool:
        self._shadowed = 0
        return model in self._passed

    def shadow_evidence(self, model: str) -> Evidence | None:
        figures = self._figures(self._shadowed, self._passed.get(model), State.SHADOWING)
        compared = figures.inferences
        return Evidence(candidate=figures, incumbent=self.figures(model), compared=compared, agreed=compared)

    def figures(self, _model: str) -> Figures | None:
        return self._figures(self._answered, self.release, State.PROBATION)

    def activate(self, candidate: Candidate, done: Callable[[Failure | None], None]) -> None:
        failure = _check(candidate)
        if failure is None and self._life.is_tried(candidate.release) and self._life.scenario.broken:
            failure = Failure(Reason.LOAD_FAILED, "it cannot be loaded")
        if failure is None:
            self.release, self._answered = candidate.release, 0
        self._life.loop.post(done, failure)

    def suspend(self, _model: str) -> None:
        self.release = None

    def deactivate(self, _model: str) -> None:
        self.release = None

    def event(self) -> str:
        """One event has come; who answers it."""
        if self._passed:
            self._shadowed += 1
        if self.release is None:
            return NOBODY
        self._answered += 1
        return str(self.release)

    def _figures(self, inferences: int, release: int | None, state: State) -> Figures:
        if release is None or self._life.stalls(release):
            return Figures()
        slow = state in self._life.scenario.slow and self._life.is_tried(release)
        return Figures(inferences=inferences, p95_ms=1000.0 if slow else 100.0)


def _check(candidate: Candidate) -> Failure | None:
    try:
        found = hashlib.sha256(candidate.folder.read_bytes()).hexdigest()
    except OSError as error:
        return Failure(Reason.LOAD_FAILED, str(error))
    return None if PREFIX + found == candidate.digest else Failure(Reason.LOAD_FAILED, "the bytes are others")


class Stepwise:
    """The trust child's lines, such that each state is durable before the next one comes: what is fast is not left out."""

    def __init__(self, loop: Loop, values: WatchedValues) -> None:
        self._loop, self._values = loop, values
        self._real = TrustProcesses(loop)

    def start(self, job: Job, on_line: Callable[[Message], None], on_end: Callable[[str], None]) -> "Held":
        return Held(self._loop, self._values, self._real, job, on_line, on_end)


class Held:
    """One child."""

    def __init__(
        self,
        loop: Loop,
        values: WatchedValues,
        real: TrustProcesses,
        job: Job,
        on_line: Callable[[Message], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._loop, self._values = loop, values
        self._on_line = on_line
        self._waiting: list[Callable[[], object]] = []
        self._holding = self._cancelled = False
        self._child: TrustProcess = real.start(job, self._line, lambda text: self._give(lambda: on_end(text)))

    def cancel(self) -> None:
        self._cancelled = True
        self._child.cancel()

    def _line(self, line: Message) -> None:
        def give() -> None:
            self._on_line(line)
            if isinstance(line, Fetched):
                self._holding = True
                self._loop.call_later(EVENT, self._release)

        self._give(give)

    def _give(self, call: Callable[[], object]) -> None:
        if self._holding:
            self._waiting.append(call)
        elif not self._cancelled:
            call()

    def _release(self) -> None:
        if not self._values.durable:
            self._loop.call_later(EVENT, self._release)
            return
        # behind what the write is followed by
        self._loop.post(self._go_on)

    def _go_on(self) -> None:
        if not self._values.durable:
            self._release()
            return
        self._holding = False
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._give(call)


class HeldStage(BundleStage):
    """Staging that ends after its update was superseded."""

    def __init__(self, life: "Life") -> None:
        super().__init__(BundleStore(life.folder / "state" / "models"))
        self._life = life

    def stage(self, model: str, release: int, path: Path, digest: str) -> Path:
        if self._life.stalls(release):
            self._life.superseded.wait(10.0)
        return super().stage(model, release, path, digest)


class Life:
    """From the start of the process to its end."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.folder = plan.folder
        self.scenario: Scenario = SCENARIOS[plan.scenario]
        self.loop = Loop()
        state = plan.folder / "state"
        self._store = Store(state / "agent.db", StoreSettings(ballast_bytes=0, min_free_bytes=0), self.loop.post)
        self.values = WatchedValues(self._store, before=self._before, after=self._after)
        self._done: set[tuple[int, str]] = set()
        self._quiet = 0
        self._full_for = 0
        self._filled = False
        self._published = False
        self.superseded = threading.Event()
        self._notes = (plan.folder / NOTES).open("a", buffering=1)
        self._answers = (plan.folder / ANSWERS).open("ab", buffering=0)
        self.answering = Answering(self)
        self.operations = Operations(plan.failing, state, self._store)
        settings = UpdateSettings(
            url=plan.url,
            token_file=str(plan.folder / "token"),
            root_file=str(plan.folder / "root.json"),
            retry_min=0.02,
            retry_max=30.0,
            max_attempts=8,
            keep_free=0,
            shadow=ShadowSettings(inputs=INPUTS, time=60.0),
            probation=ProbationSettings(inputs=INPUTS, time=0.0),
            limits=QualityLimits(),
        )
        self.updater = Updater(
            settings,
            state,
            loop=self.loop,
            values=self.values,
            trust=Stepwise(self.loop, self.values),
            stage=HeldStage(self),
            models=self.answering,
            note=self._note,
            on_change=lambda: None,
            look=EVENT,
        )

    def run(self) -> int:
        """Until nothing is left to be done: 0; or 1 if that takes too long. It may not come back."""
        self.operations.begin()
        self.updater.start()
        self._deliver()
        self.loop.call_every(EVENT, self._event)
        ended = self.loop.run_until(lambda: self._quiet > SETTLED, self._plan.longest)
        self.operations.end()
        self.updater.stop()
        self._store.close()
        (self.folder / OPERATIONS).write_text(json.dumps(self.operations.seen))
        return 0 if ended and not self.loop.errors else 1

    # ---- what the actions of a scenario ask for

    def is_tried(self, release: int) -> bool:
        """Whether this is the release that the scenario is about."""
        return release == self.scenario.desired

    def hex_of(self, release: int) -> str:
        """The hash of a release's bundle."""
        return hex_of(self._plan.digests[release])

    def stored(self, release: int) -> Path:
        """Where a bundle is kept."""
        return self.folder / "state" / "models" / MODEL / f"{self.hex_of(release)}.tar"

    def publish(self, release: int) -> None:
        """The controller desires a release from now on; the broker keeps it for the next life."""
        publish(self.folder, self.updater.revision + 1, release, shadow=self.scenario.shadow)
        self._published = True
        self.loop.post(self._deliver)

    def stalls(self, release: int) -> bool:
        """Whether nothing more comes of this release, because another one is desired since a moment ago."""
        return self._published and self.is_tried(release)

    def _deliver(self) -> None:
        retained = self.folder / RETAINED
        if retained.exists():
            said = json.loads(retained.read_bytes())
            wanted = DesiredModel(model=MODEL, release=said["release"], shadow=said["shadow"])
            self.updater.on_desired(Desired(revision=said["revision"], models=(wanted,)))

    # ---- what happens

    def _before(self, moves: tuple[Move, ...]) -> None:
        if self._plan.kill is Kill.BEFORE and self._is_there(moves):
            die()

    def _after(self, moves: tuple[Move, ...]) -> None:
        if self._plan.kill is Kill.AFTER and self._is_there(moves):
            die()
        for move in moves:
            if move.event == self._plan.full_at and self.is_tried(move.release) and not self._filled:
                self._fill()
            key = (move.release, move.event)
            if key in self.scenario.at and key not in self._done:
                self._done.add(key)
                self.scenario.at[key](self)

    def _is_there(self, moves: tuple[Move, ...]) -> bool:
        return any(Step(move.before, str(move.event), move.after) == self._plan.step for move in moves)

    def _fill(self) -> None:
        self._full_for, self._filled = FULL_FOR, True
        with contextlib.suppress(OSError), (self.folder / "state" / FILLER).open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))

    def _event(self) -> None:
        if self._full_for:
            self._full_for -= 1
            if not self._full_for:
                (self.folder / "state" / FILLER).unlink()
        self._answers.write(self.answering.event().encode())
        reports = self.updater.reports()
        tried = next((item.state for item in reports if self.is_tried(item.release)), None)
        if tried is None:
            self.superseded.set()
        if self.scenario.crashes == (self.answering.release, tried) and self.answering.release is not None:
            self.updater.quarantine(MODEL, self.answering.release, "it ended five workers")
        if self.updater.holds() and tried is State.WAITING:
            self.updater.release(None)
        final = all(item.state in FINAL for item in reports) and bool(reports)
        recorded = [item.release for item in self.updater.installed()]
        durable = self.values.durable and not self._store.busy
        quiet = final and recorded == [self.answering.release] and durable and not self._full_for
        self._quiet = self._quiet + 1 if quiet else 0

    def _note(self, **fields: Any) -> None:
        self._notes.write(json.dumps(fields) + "\n")


def publish(folder: Path, revision: int, release: int, *, shadow: bool) -> None:
    """Leave a desired state with the broker."""
    (folder / RETAINED).write_text(json.dumps({"revision": revision, "release": release, "shadow": shadow}))


def live(plan: Plan) -> None:
    """The process: what it says goes to `log`, and its exit status is `Life.run`'s."""
    with (plan.folder / "log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os._exit(Life(plan).run())
