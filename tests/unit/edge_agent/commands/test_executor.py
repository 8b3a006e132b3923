import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge_agent.commands.executor import Executor
from edge_agent.commands.policy import CommandError
from edge_agent.logs import RecentLines
from fleet_contract.messages import Command, Log, Reply, ReplyStatus
from fleet_contract.reasons import Reason
from fleet_contract.topics import Up

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Values:
    """A key-value store that commits when told, or fails."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.error: Exception | None = None
        self.pending: list[Callable[[], None]] = []

    def get(self, key: str) -> bytes | None:
        return self.stored.get(key)

    def put(self, values: dict[str, bytes], done: Callable[[Exception | None], None]) -> None:
        def commit() -> None:
            if self.error is None:
                self.stored.update(values)
            done(self.error)

        self.pending.append(commit)

    def commit(self) -> None:
        for call in self.pending:
            call()
        self.pending.clear()


class Letters:
    """Remembers what was asked; there is one letter, number 7."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def newest(self, limit: int, topic: str | None, reason: str | None) -> dict[str, Any]:
        self.asked.append((limit, topic, reason))
        return {"total": 1}

    def show(self, number: int) -> dict[str, Any]:
        if number != 7:
            raise KeyError(number)
        return {"number": 7}

    def replay(self, numbers: Sequence[int] | None, through: int | None) -> dict[str, Any]:
        self.asked.append(("replay", numbers, through))
        return {"replayed": 1}

    def drop(self, numbers: Sequence[int] | None, through: int | None) -> dict[str, Any]:
        raise sqlite3.OperationalError("disk I/O error")


class Updates:
    """Remembers holds."""

    def __init__(self) -> None:
        self.held: dict[str | None, str] = {}

    def hold(self, model: str | None, why: str = "") -> tuple[str, ...]:
        self.held[model] = why
        return (model or "*",)

    def release(self, model: str | None) -> tuple[str, ...]:
        del self.held[model]
        return (model or "*",)


class World:
    def __init__(self, values: Values | None = None) -> None:
        self.values = values or Values()
        self.sent: list[tuple[Up, Reply | Log]] = []
        self.restarted: list[str] = []
        self.recent = RecentLines()
        self.letters = Letters()
        self.updates = Updates()
        self.executor = Executor(
            self.values,
            lambda channel, message: self.sent.append((channel, message)),
            status=lambda: {"device": "d"},
            restart_model=self._restart,
            recent=self.recent,
            dead_letters=self.letters,
            updates=self.updates,
            now=lambda: NOW,
        )

    def _restart(self, name: str) -> None:
        if name != "frost":
            raise KeyError(name)
        self.restarted.append(name)

    def run(self, name: str, correlation: str = "c", **arguments: Any) -> Reply:
        expires = (NOW + timedelta(minutes=1)).isoformat()
        command = Command(correlation=correlation, name=name, arguments=arguments, expires=expires)
        self.executor.on_command(command)
        self.values.commit()
        reply = self.sent[-1][1]
        assert isinstance(reply, Reply)
        return reply


@pytest.fixture(autouse=True)
def _root_level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


def test_nothing_is_executed_before_its_id_is_durable() -> None:
    world = World()
    expires = (NOW + timedelta(minutes=1)).isoformat()
    world.executor.on_command(Command(correlation="c", name="restart-model", arguments={"model": "frost"}, expires=expires))
    assert (world.restarted, world.sent) == ([], [])
    world.values.commit()
    assert world.restarted == ["frost"]


def test_a_command_that_comes_again_after_a_restart_is_not_executed_again() -> None:
    first = World()
    first.run("restart-model", model="frost")
    second = World(first.values)
    reply = second.run("restart-model", model="frost")
    assert (second.restarted, reply.status, reply.reason) == ([], ReplyStatus.ERROR, Reason.REPEATED)


def test_a_command_whose_id_cannot_be_stored_is_not_executed_and_may_come_again() -> None:
    world = World()
    world.values.error = OSError("disk full")
    assert world.run("restart-model", model="frost").reason == Reason.DISK_FULL
    world.values.error = None
    assert world.run("restart-model", model="frost").status is ReplyStatus.OK
    assert world.restarted == ["frost"]


def test_the_answers_say_what_was_done() -> None:
    world = World()
    assert world.run("ping", "1").result == {"time": NOW.isoformat()}
    assert world.run("status", "2").result == {"device": "d"}
    assert world.run("set-log-level", "3", level="debug").result == {"level": "debug"}
    assert logging.getLogger().level == logging.DEBUG
    assert world.run("restart-model", "4", model="nope").reason == Reason.BAD_ARGUMENT
    assert world.run("reboot", "5").reason == Reason.UNKNOWN_COMMAND


def test_log_lines_come_in_parts_that_are_numbered_and_end() -> None:
    world = World()
    for number in range(250):
        world.recent.emit(logging.makeLogRecord({"msg": f"line {number}"}))
    reply = world.run("collect-logs", lines=220)
    parts = [message for channel, message in world.sent if channel is Up.LOG]
    assert [(part.part, part.last, len(part.lines)) for part in parts if isinstance(part, Log)] == [
        (0, False, 100),
        (1, False, 100),
        (2, True, 20),
    ]
    assert reply.result == {"count": 220}


def test_no_lines_are_one_empty_last_part() -> None:
    world = World()
    world.run("collect-logs")
    (part,) = [message for channel, message in world.sent if isinstance(message, Log)]
    assert (part.last, part.lines) == (True, ())


def test_dead_letters_are_dealt_with_and_every_mistake_is_named() -> None:
    world = World()
    assert world.run("deadletter-list", "1", limit=5, reason="not_json").result == {"total": 1}
    assert world.letters.asked == [(5, None, "not_json")]
    assert world.run("deadletter-show", "2", number=7).result == {"number": 7}
    assert world.run("deadletter-show", "3", number=8).detail == "there is no dead letter 8"
    assert world.run("deadletter-replay", "4", numbers=[7]).result == {"replayed": 1}
    assert world.letters.asked[-1] == ("replay", [7], None)
    for correlation, arguments in (("5", {}), ("6", {"numbers": [7], "through": 9})):
        assert world.run("deadletter-drop", correlation, **arguments).reason == Reason.BAD_ARGUMENT
    assert world.run("deadletter-drop", "7", through=9).reason == Reason.DISK_FULL
    for correlation, numbers in (("8", []), ("9", [0]), ("10", [True]), ("11", "7")):
        assert world.run("deadletter-drop", correlation, numbers=numbers).reason == Reason.BAD_ARGUMENT


def test_updates_are_held_and_let_go_by_command() -> None:
    world = World()
    assert world.executor.run_local("update-hold", {"model": "frost", "why": "harvest"}) == {"holds": ["frost"]}
    assert world.updates.held == {"frost": "harvest"}
    assert world.executor.run_local("update-release", {"model": "frost"}) == {"released": ["frost"]}
    assert world.executor.run_local("update-hold", {}) == {"holds": ["*"]}
    assert world.updates.held == {None: ""}
    with pytest.raises(CommandError, match="at most 200"):
        world.executor.run_local("update-hold", {"why": "x" * 201})
