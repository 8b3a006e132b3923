"""`edge-agent deadletter`: look at what could not be read, take it in again, or drop it. A client of the control socket."""

import base64
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_agent.commands.control import ControlError, describe_silence, request
from edge_agent.commands.text_table import text_table

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_NO_AGENT = 0, 1, 2, 4


def run_deadletter(options: Namespace, socket: Path) -> int:
    """Run one of the four actions; returns the exit status: 0, 1 (refused), 2 (wrong usage), 4 (no agent is running)."""

    def ask(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return request(socket, f"deadletter-{command}", arguments, timeout=60.0)

    try:
        return _ACTIONS[options.action](options, ask)
    except ValueError as error:
        return _fail(EXIT_USAGE, str(error))
    except ControlError as error:
        return _fail(EXIT_FAILED, str(error))
    except OSError as error:
        return _fail(EXIT_NO_AGENT, describe_silence(socket, error))


Ask = Callable[[str, dict[str, Any]], dict[str, Any]]


def _list(options: Namespace, ask: Ask) -> int:
    filters = {"limit": options.limit, "topic": options.topic, "reason": options.reason}
    found = ask("list", {key: value for key, value in filters.items() if value is not None})
    if options.output == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return EXIT_OK
    rows = [
        (str(item["number"]), item["received"][:19], item["topic"], item["reason"], str(item["size"]), item["detail"][:60])
        for item in found["letters"]
    ]
    print(text_table(("NUMBER", "RECEIVED", "TOPIC", "REASON", "BYTES", "DETAIL"), rows))
    if found["total"] > len(rows):
        print(f"{len(rows)} of {found['total']} ({found['bytes']} bytes); more with --limit")
    return EXIT_OK


def _show(options: Namespace, ask: Ask) -> int:
    letter = ask("show", {"number": options.number})
    if options.raw:
        encoded = letter.get("payload_base64")
        sys.stdout.buffer.write(base64.b64decode(encoded) if encoded is not None else letter["payload"].encode())
    elif options.output == "json":
        print(json.dumps(letter, indent=2, ensure_ascii=False))
    else:
        print("\n".join(f"{key:14} {value}" for key, value in letter.items()))
    return EXIT_OK


def _replay(options: Namespace, ask: Ask) -> int:
    total = {"replayed": 0, "skipped": 0}
    arguments = _which(options, ask)
    left = 1
    while left and arguments:
        answer = ask("replay", arguments)
        total["replayed"] += answer["replayed"]
        total["skipped"] = answer["skipped"]  # the same ones each time
        left = answer["left"] if answer["replayed"] else 0
        if "numbers" in arguments:
            arguments = {"numbers": arguments["numbers"][answer["replayed"] + answer["skipped"] :]} if left else {}
        if left and sys.stderr.isatty():
            sys.stderr.write(f"\r{total['replayed']} taken in again, {left} left ")
    skipped = f", {total['skipped']} skipped: no messages, or no pipeline reads them" if total["skipped"] else ""
    _print(options, total, f"{total['replayed']} taken in again{skipped}")
    return EXIT_OK


def _drop(options: Namespace, ask: Ask) -> int:
    arguments = _which(options, ask)
    answer = ask("drop", arguments) if arguments else {"dropped": 0}
    _print(options, answer, f"{answer['dropped']} dropped")
    return EXIT_OK


_ACTIONS: dict[str, Callable[[Namespace, Ask], int]] = {"list": _list, "show": _show, "replay": _replay, "drop": _drop}


def _which(options: Namespace, ask: Ask) -> dict[str, Any]:
    """The letters that a command line names: numbers, or all that there are now; empty for none."""
    if options.all == bool(options.numbers):
        raise ValueError("either numbers or --all are needed")
    if options.numbers:
        return {"numbers": read_numbers(options.numbers)}
    newest = ask("list", {"limit": 1})["newest"]
    return {"through": newest} if newest else {}


def read_numbers(texts: Sequence[str]) -> list[int]:
    """`3 5-9` as numbers, each once; raises ValueError."""
    numbers: dict[int, None] = {}
    for text in texts:
        low, dash, high = text.partition("-")
        if not low.isdecimal() or not (high.isdecimal() if dash else True):
            raise ValueError(f"{text!r} is neither a number nor a range such as 5-9")
        first, last = int(low), int(high or low)
        if last - first >= 10_000:
            raise ValueError(f"{text!r} names more than 10000 letters; use --all")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    return list(numbers)


def _print(options: Namespace, answer: dict[str, Any], text: str) -> None:
    print(json.dumps(answer) if options.output == "json" else text)


def _fail(status: int, text: str) -> int:
    sys.stderr.write(f"edge-agent deadletter: {text}\n")
    return status
