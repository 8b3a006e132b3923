"""Executes commands: those of the controller at most once, those of the control socket as they come."""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from edge_agent.commands.policy import REMEMBERED, CommandError, check_command, read_arguments
from edge_agent.logs import RecentLines
from fleet_contract.messages import Command, Log, Reply, ReplyStatus
from fleet_contract.reasons import Reason
from fleet_contract.topics import Up

log = logging.getLogger(__name__)

EXECUTED_KEY: Final = "commands.executed"
LINES_IN_PART: Final = 100

Publish = Callable[[Up, Reply | Log], None]


class Values(Protocol):
    """The durable key-value part of agent.db."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, values: dict[str, bytes], done: Callable[[Exception | None], None]) -> None: ...


class DeadLetterActions(Protocol):
    """What operators do with dead letters; raises KeyError for a number that there is not, sqlite3.Error."""

    def newest(self, limit: int, topic: str | None, reason: str | None) -> dict[str, Any]: ...

    def show(self, number: int) -> dict[str, Any]: ...

    def replay(self, numbers: Sequence[int] | None, through: int | None) -> dict[str, Any]: ...

    def drop(self, numbers: Sequence[int] | None, through: int | None) -> dict[str, Any]: ...


class UpdateActions(Protocol):
    """An operator's word on updates."""

    def hold(self, model: str | None, why: str = "") -> tuple[str, ...]: ...

    def release(self, model: str | None) -> tuple[str, ...]: ...


class Executor:
    """Knows what each command does.

    `status` returns what `edge-agent status` shows; `restart_model(name)` raises KeyError for an unknown model.
    """

    def __init__(
        self,
        values: Values,
        publish: Publish,
        *,
        status: Callable[[], dict[str, Any]],
        restart_model: Callable[[str], None],
        recent: RecentLines,
        dead_letters: DeadLetterActions,
        updates: UpdateActions,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._values = values
        self._publish = publish
        self._status = status
        self._restart_model = restart_model
        self._recent = recent
        self._dead_letters = dead_letters
        self._updates = updates
        self._now = now
        stored = values.get(EXECUTED_KEY)
        self._executed: list[str] = msgspec.json.decode(stored, type=list[str]) if stored else []

    def on_command(self, command: Command) -> None:
        """A command from the controller: its id is durable before it is executed, so it is executed at most once."""
        try:
            arguments = check_command(command, self._executed, self._now())
        except CommandError as error:
            self._reply(command, error)
            return
        self._executed = [*self._executed, command.correlation][-REMEMBERED:]

        def stored(error: Exception | None) -> None:
            if error is not None:
                log.error("a command was not executed, its id could not be stored", extra={"error": str(error)})
                self._executed.remove(command.correlation)
                self._reply(command, CommandError(Reason.DISK_FULL, str(error)))
                return
            try:
                self._reply(command, self._execute(command.name, arguments, command.correlation))
            except CommandError as failure:
                self._reply(command, failure)

        self._values.put({EXECUTED_KEY: msgspec.json.encode(self._executed)}, stored)

    def run_local(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """A command from the control socket; raises CommandError."""
        return self._execute(name, read_arguments(name, arguments), None)

    def _execute(self, name: str, arguments: dict[str, Any], correlation: str | None) -> dict[str, Any]:
        log.info("command", extra={"command": name, "correlation": correlation})
        if name == "ping":
            return {"time": self._now().isoformat()}
        if name == "status":
            return self._status()
        if name == "restart-model":
            try:
                self._restart_model(arguments["model"])
            except KeyError as error:
                raise CommandError(Reason.BAD_ARGUMENT, f"model: no model {arguments['model']!r} runs here") from error
            return {"model": arguments["model"]}
        if name == "update-hold":
            return {"holds": list(self._updates.hold(arguments.get("model"), arguments.get("why", "")))}
        if name == "update-release":
            return {"released": list(self._updates.release(arguments.get("model")))}
        if name == "set-log-level":
            logging.getLogger().setLevel(arguments["level"].upper())
            return {"level": arguments["level"]}
        if name == "collect-logs":
            lines = self._recent.newest(arguments.get("lines", 200))
            if correlation is None:
                return {"lines": list(lines)}
            self._send_lines(correlation, lines)
            return {"count": len(lines)}
        if name.startswith("deadletter-"):
            return self._deal_with_dead_letters(name, arguments)
        raise CommandError(Reason.UNKNOWN_COMMAND, f"{name!r} has no executor")

    def _deal_with_dead_letters(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        letters = self._dead_letters
        try:
            if name == "deadletter-list":
                return letters.newest(arguments.get("limit", 50), arguments.get("topic"), arguments.get("reason"))
            if name == "deadletter-show":
                return letters.show(arguments["number"])
            numbers, through = arguments.get("numbers"), arguments.get("through")
            if (numbers is None) == (through is None):
                raise CommandError(Reason.BAD_ARGUMENT, f"{name} needs either the argument 'numbers' or 'through'")
            return (letters.replay if name == "deadletter-replay" else letters.drop)(numbers, through)
        except KeyError as error:
            raise CommandError(Reason.BAD_ARGUMENT, f"there is no dead letter {error.args[0]}") from error
        except sqlite3.Error as error:
            raise CommandError(Reason.DISK_FULL, f"agent.db cannot be read: {error}") from error

    def _send_lines(self, correlation: str, lines: tuple[str, ...]) -> None:
        parts = [lines[start : start + LINES_IN_PART] for start in range(0, len(lines), LINES_IN_PART)] or [()]
        for number, part in enumerate(parts):
            self._publish(Up.LOG, Log(correlation=correlation, part=number, last=number == len(parts) - 1, lines=part))

    def _reply(self, command: Command, outcome: dict[str, Any] | CommandError) -> None:
        failed = isinstance(outcome, CommandError)
        self._publish(
            Up.REPLY,
            Reply(
                correlation=command.correlation,
                command=command.name,
                status=ReplyStatus.ERROR if failed else ReplyStatus.OK,
                reason=outcome.reason if isinstance(outcome, CommandError) else None,
                detail=str(outcome) if failed else None,
                result=outcome if isinstance(outcome, dict) else {},
                time=self._now().isoformat(),
            ),
        )
