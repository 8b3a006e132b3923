"""Pure rules of remote commands: whether one may be executed, and how its arguments are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from fleet_contract.messages import Command
from fleet_contract.reasons import Reason

REMEMBERED: Final = 1000
"""How many executed correlation ids a device keeps; a broker's session holds far fewer commands."""


class CommandError(Exception):
    """The command is refused or has failed; `reason` is the code that travels."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class CommandKind:
    """One command: what it does, and which arguments it takes (name to a function that reads the value or raises)."""

    name: str
    text: str
    required: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    optional: dict[str, Callable[[Any], Any]] = field(default_factory=dict)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


def _why(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError("must be a text of at most 200 characters")
    return value


def _lines(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1000:
        raise ValueError("must be a whole number from 1 to 1000")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("must be a whole number from 1 on")
    return value


def _numbers(value: Any) -> list[int]:
    if not isinstance(value, list) or not 1 <= len(value) <= 10_000:
        raise ValueError("must be a list of 1 to 10000 numbers")
    return [_number(item) for item in value]


def _level(value: Any) -> str:
    if value not in ("debug", "info", "warning", "error"):
        raise ValueError("must be debug, info, warning or error")
    return str(value)


COMMANDS: Final = {
    kind.name: kind
    for kind in (
        CommandKind("ping", "Answers at once."),
        CommandKind("status", "What `edge-agent status` shows."),
        CommandKind("restart-model", "Starts the model's worker anew, without missing an event.", {"model": _text}),
        CommandKind("set-log-level", "Until the agent restarts.", {"level": _level}),
        CommandKind(
            "update-hold",
            "No update of the model, or of any, goes on until it is let go.",
            optional={"model": _text, "why": _why},
        ),
        CommandKind("update-release", "Ends the model's hold, or every one.", optional={"model": _text}),
        CommandKind("collect-logs", "Sends the newest log lines.", optional={"lines": _lines}),
        CommandKind(
            "deadletter-list",
            "The newest dead letters, newest first, without their payloads.",
            optional={"limit": _lines, "topic": _text, "reason": _text},
        ),
        CommandKind("deadletter-show", "One dead letter with its payload.", {"number": _number}),
        CommandKind(
            "deadletter-replay",
            "Takes dead letters in again: the named ones, or all up to a number.",
            optional={"numbers": _numbers, "through": _number},
        ),
        CommandKind(
            "deadletter-drop",
            "Deletes dead letters: the named ones, or all up to a number.",
            optional={"numbers": _numbers, "through": _number},
        ),
    )
}


def check_command(command: Command, executed: Sequence[str], now: datetime) -> dict[str, Any]:
    """The arguments to execute `command` with; raises CommandError when it must not be executed.

    `executed` holds the correlation ids of commands that were executed before; `now` has a zone.
    """
    if command.correlation in executed:
        raise CommandError(Reason.REPEATED, "this command was executed before")
    try:
        expires = datetime.fromisoformat(command.expires)
        expired = expires <= now
    except (ValueError, TypeError) as error:
        raise CommandError(Reason.BAD_ARGUMENT, f"expires: {command.expires!r} is not a time with a zone") from error
    if expired:
        raise CommandError(Reason.EXPIRED, f"the command expired at {command.expires}")
    return read_arguments(command.name, command.arguments)


def read_arguments(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Check a command's arguments against its kind; raises CommandError naming the argument."""
    kind = COMMANDS.get(name)
    if kind is None:
        raise CommandError(Reason.UNKNOWN_COMMAND, f"{name!r} is not one of {', '.join(COMMANDS)}")
    readers = kind.required | kind.optional
    values = {}
    for key, value in arguments.items():
        if key not in readers:
            raise CommandError(Reason.BAD_ARGUMENT, f"{name} has no argument {key!r}")
        try:
            values[key] = readers[key](value)
        except ValueError as error:
            raise CommandError(Reason.BAD_ARGUMENT, f"{key}: {error}") from error
    for key in kind.required:
        if key not in values:
            raise CommandError(Reason.BAD_ARGUMENT, f"{name} needs the argument {key!r}")
    return values
