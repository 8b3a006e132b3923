"""A device that lives several lives, and what has to be true of it after them."""

import json
import multiprocessing
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge_agent.updates.history import DESIRED, RESTART
from edge_agent.updates.ledger import Ledger, Move
from edge_agent.updates.machine import RESUME, Event, step
from tests.faults.network.lab import Liar
from tests.faults.updates.fleet import MODEL, Fleet, read_ledger
from tests.faults.updates.life import ANSWERS, NOBODY, OPERATIONS, Plan, live, publish
from tests.faults.updates.operations import Failing
from tests.faults.updates.scenario import SCENARIOS, Ending, Kill, Step

KILLED: Final = -9
ENDED: Final = 0
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.faults.updates.life"])


@dataclass(slots=True)
class Device:
    """Its folder, the server that it fetches from, and its lives so far."""

    fleet: Fleet
    folder: Path
    scenario: str
    exits: list[int] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _server: Liar | None = None

    def __post_init__(self) -> None:
        scenario = SCENARIOS[self.scenario]
        self.fleet.found(self.folder, scenario.installed, scenario.floor)
        publish(self.folder, 2, scenario.desired, shadow=scenario.shadow)
        self._server = Liar(self.fleet.repository)
        self._server.misbehave = None if scenario.server is None else scenario.server()

    def live(
        self,
        step: Step | None = None,
        kill: Kill = Kill.AFTER,
        failing: Failing | None = None,
        full_at: str | None = None,
    ) -> int:
        """One life, to its end; returns the exit status."""
        assert self._server is not None
        url = f"http://127.0.0.1:{self._server.server_port}/artifacts"
        plan = Plan(
            folder=self.folder,
            digests=self.fleet.digests,
            url=url.removesuffix("/artifacts"),
            scenario=self.scenario,
            step=step,
            kill=kill,
            failing=failing,
            full_at=full_at,
        )
        process = _FORKING.Process(target=live, args=(plan,))
        process.start()
        process.join(60.0)
        if process.exitcode is None:
            process.kill()
            process.join()
        assert process.exitcode is not None
        self.exits.append(process.exitcode)
        return process.exitcode

    def end(self) -> None:
        """The server goes away."""
        if self._server is not None:
            self._server.end()

    def log(self) -> str:
        """The end of what it has said."""
        return (self.folder / "log").read_text()[-4000:]

    def operations(self) -> list[str]:
        """On its disk, in the last life."""
        seen: list[str] = json.loads((self.folder / OPERATIONS).read_bytes())
        return seen

    def check(self) -> "Outcome":
        """It has ended as the scenario says, by a way that the table has, and the incumbent has answered all the time."""
        scenario = SCENARIOS[self.scenario]
        ledger = read_ledger(self.folder / "state" / "agent.db")
        ending = ended_in(ledger)
        assert ending == scenario.ending, f"{ending}, {ledger.history[MODEL]}, {self.log()}"
        check_path(ledger.history[MODEL])
        answers = (self.folder / ANSWERS).read_text()
        check_answers(answers, releases=self._may_answer(), gaps=scenario.crashes is not None)
        assert answers.endswith(str(ending.release))
        self._check_disk(ledger)
        return Outcome(ending, len(self.exits), len(answers), len(ledger.history[MODEL]), time.monotonic() - self.began)

    def _may_answer(self) -> set[int]:
        scenario = SCENARIOS[self.scenario]
        return {*scenario.installed, scenario.desired, scenario.ending.release}

    def _check_disk(self, ledger: Ledger) -> None:
        """What the ledger names is there whole, and nothing else is left."""
        state = self.folder / "state"
        wanted = {
            installed.digest for place in (ledger.active, ledger.previous, ledger.factory) for installed in place.values()
        }
        names = {release: digest for release, digest in self.fleet.digests.items() if digest in wanted}
        for release in names:
            assert self.fleet.stored(state, release).read_bytes() == self.fleet.bundles[release].read_bytes()
        kept = {path.name for path in (state / "models" / MODEL).iterdir()}
        assert kept == {self.fleet.stored(state, release).name for release in names}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one row."""

    ending: Ending
    lives: int
    answers: int
    moves: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.ending.state:<12} {self.ending.release} {self.ending.reason or '-':<20} {self.lives} {self.answers:>5} "
            f"{self.moves:>3} {self.seconds:5.1f}"
        )


def ended_in(ledger: Ledger) -> Ending:
    """As the ledger says it."""
    record = ledger.records[MODEL]
    return Ending(record.state, ledger.active[MODEL].release, record.reason)  # type: ignore[arg-type]


def check_path(moves: Iterable[Move]) -> None:
    """Each move is one of the table, and begins where the one before it ended."""
    state = None
    for move in moves:
        if move.event == DESIRED:
            assert move.before is None
        else:
            assert move.before == state, f"{move} does not follow {state}"
            allowed = RESUME[move.before] if move.event == RESTART else step(move.before, Event(move.event))
            assert move.after == allowed, move
        state = move.after


def check_answers(answers: str, releases: set[int], *, gaps: bool) -> None:
    """Nobody but these has answered; without `gaps` only the time from a start until the model is loaded is without answers."""
    assert set(answers) <= {NOBODY, *map(str, releases)}, set(answers)
    if not gaps:
        assert max(map(len, answers.translate(str.maketrans("123", "   ")).split()), default=0) < 50
