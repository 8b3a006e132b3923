"""`edge-agent updates`: the log of each model's updates, and an operator's hold. A client of the control socket."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from edge_agent.commands.control import ControlError, describe_silence, request
from edge_agent.commands.text_table import text_table

EXIT_OK, EXIT_FAILED, EXIT_NO_AGENT = 0, 1, 4


def run_updates(options: Namespace, socket: Path) -> int:
    """Run one of the three actions; returns the exit status: 0, 1 (refused), 4 (no agent is running)."""
    try:
        answer, text = _ask(options, socket)
    except ControlError as error:
        sys.stderr.write(f"edge-agent updates: {error}\n")
        return EXIT_FAILED
    except OSError as error:
        sys.stderr.write(f"edge-agent updates: {describe_silence(socket, error)}\n")
        return EXIT_NO_AGENT
    print(json.dumps(answer, indent=2) if options.output == "json" else text)
    return EXIT_OK


def _ask(options: Namespace, socket: Path) -> tuple[Any, str]:
    if options.action == "log":
        moves = request(socket, "status")["update_log"]
        return moves, log_table(moves)
    chosen = {"model": options.model} if options.model else {}
    if options.action == "hold":
        answer = request(socket, "update-hold", chosen | ({"why": options.why} if options.why else {}))
        return answer, f"held: {_names(answer['holds'])}"
    answer = request(socket, "update-release", chosen)
    return answer, f"released: {_names(answer['released'])}"


def log_table(moves: dict[str, list[dict[str, Any]]]) -> str:
    """Every move of every model, oldest first."""
    rows = [
        (
            model,
            item["time"],
            str(item["release"]),
            item["from"] or "",
            item["event"],
            item["to"],
            item["reason"] or "",
        )
        for model, items in moves.items()
        for item in items
    ]
    return text_table(("MODEL", "TIME", "RELEASE", "FROM", "EVENT", "TO", "REASON"), rows)


def _names(models: list[str]) -> str:
    return ", ".join("all models" if item == "*" else item for item in models) or "nothing was held"
