"""The crash matrix as data: the rows come from the machine's table, the scenarios say how a device gets to each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from edge_agent.updates.history import DESIRED, RESTART
from edge_agent.updates.machine import FINAL, RESUME, TRANSITIONS, Event
from fleet_contract.reasons import Reason
from fleet_contract.update_report import UpdateState as State
from tests.faults.network.lab import Misbehave
from tests.faults.updates.fleet import MODEL, Busy, corrupt

if TYPE_CHECKING:
    from tests.faults.updates.life import Life

Action = Callable[["Life"], None]


class Kill(StrEnum):
    """The moment of SIGKILL."""

    BEFORE = "before"
    """The write that holds the move is about to be given to the store."""
    AFTER = "after"
    """It is durable, and nothing has followed yet."""


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of move in the log of states."""

    before: State | None
    event: str
    after: State

    def __str__(self) -> str:
        return f"{self.before or '-'} > {self.event} > {self.after}"


@dataclass(frozen=True, slots=True)
class Ending:
    """What a device ends in."""

    state: State
    release: int
    """That answers."""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """How an update goes. What is done at a move is done once in each life of the process."""

    ending: Ending
    installed: tuple[int, ...] = (1,)
    """The active release, and the one before it."""
    floor: int = 0
    desired: int = 2
    shadow: bool = True
    at: Mapping[tuple[int, str], Action] = field(default_factory=dict)
    """Release and event, of a move that has just become durable, to what is done before anything follows."""
    server: Callable[[], Misbehave] | None = None
    crashes: tuple[int, State] | None = None
    """This release ends its workers whenever it answers while the update is in that state."""
    slow: frozenset[State] = frozenset()
    """On live inputs the desired release is ten times as slow in these states."""
    wrong: bool = False
    """The desired release fails its golden samples."""
    broken: bool = False
    """It cannot be switched to."""


def desire(release: int) -> Action:
    """The controller names another release."""
    return lambda life: life.publish(release)


def superseded(event: str, *, server: Callable[[], Misbehave] | None = None) -> Scenario:
    """Another release is desired as soon as `event` is durable, and what that has begun takes until then."""
    return Scenario(Ending(State.COMMITTED, 3), at={(2, event): desire(3)}, server=server)


def ask_to_wait(life: "Life") -> None:
    """An operator holds the model's updates, and lets go when this one waits."""
    life.loop.post(life.updater.hold, MODEL, "look at it first")


def held(event: str, *, shadow: bool = True) -> Scenario:
    """An operator steps in as soon as `event` is durable."""
    return Scenario(Ending(State.COMMITTED, 2), at={(2, event): ask_to_wait}, shadow=shadow)


def leave_half_a_lie(life: "Life") -> None:
    """A part file of an earlier attempt that was damaged."""
    folder = life.folder / "state" / "updates" / "download"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{life.hex_of(2)}.part").write_bytes(bytes(1000))


def block(life: "Life") -> None:
    """Something stands where the bundle is to go."""
    life.stored(2).mkdir(parents=True, exist_ok=True)


def unblock(life: "Life") -> None:
    """It is gone."""
    if life.stored(2).is_dir():
        life.stored(2).rmdir()


def truncate(life: "Life") -> None:
    """The checked download loses its end."""
    for path in (life.folder / "state" / "updates" / "download").glob("*.tar"):
        path.write_bytes(path.read_bytes()[:700])


def take_away(life: "Life") -> None:
    """The stored bundle is gone."""
    life.stored(2).unlink(missing_ok=True)


GOOD: Final = "good"
THIRD: Final = "third release"
"""Good too; a bundle has to go for it."""
_COMMITTED: Final = Ending(State.COMMITTED, 2)
SCENARIOS: Final[dict[str, Scenario]] = {
    GOOD: Scenario(_COMMITTED),
    THIRD: Scenario(Ending(State.COMMITTED, 3), installed=(2, 1), desired=3),
    "no shadow": Scenario(_COMMITTED, shadow=False),
    "back to the release before": Scenario(Ending(State.COMMITTED, 1), installed=(2, 1), desired=1),
    "called off": Scenario(Ending(State.COMMITTED, 1), wrong=True, at={(2, Event.FAILED): desire(1)}),
    "revoked": Scenario(Ending(State.REJECTED, 2, Reason.RELEASE_BELOW_FLOOR), installed=(2,), floor=2, desired=1),
    "server busy": Scenario(_COMMITTED, server=Busy),
    "unknown release": Scenario(Ending(State.REJECTED, 1, Reason.RELEASE_UNKNOWN), desired=9),
    "part file damaged": Scenario(_COMMITTED, at={(2, DESIRED): leave_half_a_lie}),
    "corrupt download": Scenario(Ending(State.REJECTED, 1, Reason.HASH_MISMATCH), server=lambda: corrupt),
    "no place on disk": Scenario(_COMMITTED, at={(2, DESIRED): block, (2, Event.RETRY): unblock}),
    "download damaged": Scenario(Ending(State.REJECTED, 1, Reason.BUNDLE_INVALID), at={(2, Event.VERIFIED): truncate}),
    "bundle gone": Scenario(_COMMITTED, at={(2, Event.STAGED): take_away}),
    "wrong answers": Scenario(Ending(State.REJECTED, 1, Reason.GOLDEN_MISMATCH), wrong=True),
    "incumbent breaks": Scenario(Ending(State.COMMITTED, 3), installed=(2, 1), desired=3, crashes=(2, State.SHADOWING)),
    "slow in shadow": Scenario(Ending(State.REJECTED, 1, Reason.LATENCY), slow=frozenset({State.SHADOWING})),
    "cannot be loaded": Scenario(Ending(State.REJECTED, 1, Reason.LOAD_FAILED), broken=True),
    "slow on probation": Scenario(Ending(State.ROLLED_BACK, 1, Reason.LATENCY), slow=frozenset({State.PROBATION})),
    "breaks on probation": Scenario(Ending(State.ROLLED_BACK, 1, Reason.QUARANTINED), crashes=(2, State.PROBATION)),
    "breaks when proven": Scenario(Ending(State.ROLLED_BACK, 1, Reason.QUARANTINED), crashes=(2, State.COMMITTED)),
    "held while it is fetched": held(Event.BEGIN),
    "held while it is staged": held(Event.VERIFIED),
    "held while it is tested": held(Event.STAGED, shadow=False),
    "held in shadow": held(Event.PASSED),
    "superseded while it waits": superseded(Event.RETRY, server=lambda: Busy(for_seconds=600)),
    "superseded while it is fetched": superseded(Event.BEGIN),
    "superseded while it is verified": superseded(Event.FETCHED),
    "superseded while it is staged": superseded(Event.VERIFIED),
    "superseded while it is tested": superseded(Event.STAGED),
    "superseded in shadow": superseded(Event.PASSED),
    "superseded on probation": superseded(Event.ACTIVATED),
}

_WAYS: Final[dict[tuple[State, Event], str]] = {
    (State.WAITING, Event.BEGIN): GOOD,
    (State.WAITING, Event.ALREADY_ACTIVE): "called off",
    (State.WAITING, Event.FAILED): "revoked",
    (State.WAITING, Event.SUPERSEDED): "superseded while it waits",
    (State.FETCHING, Event.FETCHED): GOOD,
    (State.FETCHING, Event.ON_DISK): "back to the release before",
    (State.FETCHING, Event.HELD): "held while it is fetched",
    (State.FETCHING, Event.RETRY): "server busy",
    (State.FETCHING, Event.FAILED): "unknown release",
    (State.FETCHING, Event.SUPERSEDED): "superseded while it is fetched",
    (State.VERIFYING, Event.VERIFIED): GOOD,
    (State.VERIFYING, Event.RETRY): "part file damaged",
    (State.VERIFYING, Event.FAILED): "corrupt download",
    (State.VERIFYING, Event.SUPERSEDED): "superseded while it is verified",
    (State.STAGING, Event.STAGED): GOOD,
    (State.STAGING, Event.HELD): "held while it is staged",
    (State.STAGING, Event.RETRY): "no place on disk",
    (State.STAGING, Event.FAILED): "download damaged",
    (State.STAGING, Event.SUPERSEDED): "superseded while it is staged",
    (State.TESTING, Event.PASSED): GOOD,
    (State.TESTING, Event.UNSHADOWED): "no shadow",
    (State.TESTING, Event.HELD): "held while it is tested",
    (State.TESTING, Event.RETRY): "bundle gone",
    (State.TESTING, Event.FAILED): "wrong answers",
    (State.TESTING, Event.SUPERSEDED): "superseded while it is tested",
    (State.SHADOWING, Event.SHADOWED): GOOD,
    (State.SHADOWING, Event.HELD): "held in shadow",
    (State.SHADOWING, Event.RETRY): "incumbent breaks",
    (State.SHADOWING, Event.FAILED): "slow in shadow",
    (State.SHADOWING, Event.SUPERSEDED): "superseded in shadow",
    (State.ACTIVATING, Event.ACTIVATED): GOOD,
    (State.ACTIVATING, Event.FAILED): "cannot be loaded",
    (State.PROBATION, Event.PROVEN): GOOD,
    (State.PROBATION, Event.BREACHED): "slow on probation",
    (State.PROBATION, Event.BROKEN): "breaks on probation",
    (State.PROBATION, Event.SUPERSEDED): "superseded on probation",
    (State.COMMITTED, Event.BROKEN): "breaks when proven",
}
"""Each transition of the table to the scenario that takes it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell: in this scenario the process is killed at this step. For the steps of a restart it was killed before, too."""

    scenario: str
    step: Step
    kill: Kill
    first: Step | None = None
    """Where the life before was killed, right after this step."""

    def __str__(self) -> str:
        return f"{self.scenario}: {self.kill} {self.step}"


def rows() -> list[Row]:
    """Every move that is ever persisted, just before and just after. Raises KeyError for a transition without a scenario."""
    steps = [(GOOD, Step(None, DESIRED, State.WAITING), None)]
    steps += [(_WAYS[item.state, item.event], Step(*item), None) for item in TRANSITIONS]
    entered = {item.target: Step(*item) for item in TRANSITIONS if _WAYS[item.state, item.event] == GOOD}
    steps += [
        (GOOD, Step(state, RESTART, RESUME[state]), entered[state])
        for state in RESUME
        if state not in FINAL and state is not State.WAITING
    ]
    return [Row(scenario, step, kill, first) for scenario, step, first in steps for kill in Kill]


def unused() -> set[str]:
    """Scenarios that no row plays, and ways that the table does not have."""
    table = {(item.state, item.event) for item in TRANSITIONS}
    return (SCENARIOS.keys() - {*_WAYS.values(), THIRD}) | {str(way) for way in _WAYS.keys() - table}
