"""`edge-agent`, whole, killed at one step: `python -m tests.faults.updates.agent_with_fault STEP KILL run --config FILE`.

STEP is `state > event > state` as a row says it.
"""

import sys
from functools import partial

import edge_agent.agent
from edge_agent.cli import main
from edge_agent.updates.ledger import Move
from tests.faults.updates.scenario import Kill, Step
from tests.faults.updates.watched import WatchedValues, die


def run(step: str, kill: Kill, arguments: list[str]) -> int:
    """Run it; it does not come back once it is at the step."""

    def watch(moves: tuple[Move, ...]) -> None:
        if any(str(Step(move.before, str(move.event), move.after)) == step for move in moves):
            die()

    moment = {"before": watch} if kill is Kill.BEFORE else {"after": watch}
    edge_agent.agent.StoredValues = partial(WatchedValues, **moment)  # type: ignore[misc,assignment]
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Kill(sys.argv[2]), sys.argv[3:]))
