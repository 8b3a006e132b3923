"""The same with nothing left out: `edge-agent` with workers and ONNX Runtime, Mosquitto, HTTP and TUF, and events all the time.

Each row is killed at its step, started again, and every event that was published has exactly one result, by the incumbent or by
the new release. The rows are those of the matrix whose scenarios need no stand-in. Printed with `-s`: what it ends in, who
answers, events, how many of them each release answered.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from edge_agent.updates.machine import FINAL
from fleet_contract.update_report import UpdateState as State
from fleet_controller.demo.brokers import Broker
from tests.faults.network.lab import Liar
from tests.faults.programs import until
from tests.faults.updates.device import check_path, ended_in
from tests.faults.updates.farm import Farm, WholeAgent, users
from tests.faults.updates.fleet import MODEL, Fleet, corrupt, read_ledger
from tests.faults.updates.scenario import Ending, Kill, Row, rows

PATIENCE: Final = 25.0
AT_A_TIME: Final = 3
ANSWERED: Final = 25
"""Events that the incumbent has answered before the update begins, and the last release after its end."""


@dataclass(frozen=True, slots=True)
class Whole:
    """How a scenario of the matrix is played by a whole agent."""

    ending: Ending
    installed: tuple[int, ...] = (1,)
    desired: int = 2
    shadow: bool = True
    corrupt: bool = False
    limits: str = ""


WHOLE: Final = {
    "good": Whole(Ending(State.COMMITTED, 2)),
    "no shadow": Whole(Ending(State.COMMITTED, 2), shadow=False),
    "back to the release before": Whole(Ending(State.COMMITTED, 1), installed=(2, 1), desired=1),
    "corrupt download": Whole(Ending(State.REJECTED, 1), corrupt=True),
}
STEPS: Final = (
    "waiting > begin > fetching",
    "fetching > fetched > verifying",
    "fetching > on disk > testing",
    "verifying > verified > staging",
    "verifying > failed > rejected",
    "staging > staged > testing",
    "testing > passed > shadowing",
    "testing > nothing to shadow > activating",
    "shadowing > shadowed > activating",
    "activating > activated > probation",
    "probation > proven > committed",
)
"""Each just after its write, and the switch and the end just before theirs too."""
BEFORE: Final = frozenset({"activating > activated > probation", "probation > proven > committed"})
ROWS: Final = [
    row
    for row in rows()
    if row.scenario in WHOLE and str(row.step) in STEPS and (row.kill is Kill.AFTER or str(row.step) in BEFORE)
]
DEVICES: Final = {f"device-{number}": row for number, row in enumerate(ROWS)}


@pytest.fixture
def farm(mosquitto: Callable[..., Broker]) -> Iterator[tuple[Farm, int]]:
    port = mosquitto(users(list(DEVICES))).port
    made = Farm(port, list(DEVICES))
    yield made, port
    made.close()


def test_a_whole_agent_is_killed_at_its_step_and_every_event_is_answered_once(
    tmp_path: Path, fleet: Fleet, farm: tuple[Farm, int]
) -> None:
    assert {str(row.step) for row in ROWS} == set(STEPS)
    events, port = farm
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        played = [pool.submit(_play, tmp_path / name, fleet, events, port, name, row) for name, row in DEVICES.items()]
        for each in played:
            print(f"\n{each.result()}", end=" ")


def _play(folder: Path, fleet: Fleet, farm: Farm, port: int, name: str, row: Row) -> str:
    whole = WHOLE[row.scenario]
    fleet.found(folder, whole.installed)
    server = Liar(fleet.repository)
    server.misbehave = corrupt if whole.corrupt else None
    with TemporaryDirectory(prefix="sh") as sockets:
        agent = WholeAgent(folder, Path(sockets) / "c.sock", name, port, f"http://127.0.0.1:{server.server_port}", whole.limits)
        try:
            agent.start_with_fault(row.step, row.kill)
            until(lambda: agent.release() == whole.installed[0], agent.program.log_tail, PATIENCE)
            farm.start(name)
            until(lambda: len(farm.results[name]) >= ANSWERED, agent.program.log_tail, PATIENCE)
            farm.desire(name, 2, whole.desired, shadow=whole.shadow)
            until(lambda: not agent.program.running, lambda: f"{row}: {agent.update()}", PATIENCE)
            agent.start()
            until(lambda: _has_ended(agent, whole), lambda: f"{row}: {agent.update()}", PATIENCE)
            answered = len(farm.results[name])
            until(lambda: len(farm.results[name]) >= answered + ANSWERED, agent.program.log_tail, PATIENCE)
            farm.finish(name)
            until(lambda: not farm.unanswered(name), lambda: f"{row}: {farm.unanswered(name)} events left", PATIENCE)
        finally:
            farm.finish(name)
            agent.program.stop()
            server.end()
    ledger = read_ledger(folder / "state" / "agent.db")
    ending = ended_in(ledger)
    assert (ending.state, ending.release) == (whole.ending.state, whole.ending.release), row
    check_path(ledger.history[MODEL])
    releases = farm.releases(name)
    assert set(releases) <= {*whole.installed, whole.desired}
    assert releases[-1] == ending.release
    told = ", ".join(f"{release}: {count}" for release, count in sorted(Counter(releases).items()))
    return f"{row!s:<75} {ending.state:<12} {ending.release} {len(releases):>5} ({told})"


def _has_ended(agent: WholeAgent, whole: Whole) -> bool:
    update = agent.update()
    return update["state"] in FINAL and update["release"] == whole.desired and agent.release() == whole.ending.release
