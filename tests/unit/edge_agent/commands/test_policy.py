from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge_agent.commands.policy import COMMANDS, CommandError, check_command, read_arguments
from fleet_contract.messages import Command
from fleet_contract.reasons import Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def command(**changes: Any) -> Command:
    fields: dict[str, Any] = {"correlation": "c1", "name": "ping", "expires": (NOW + timedelta(minutes=1)).isoformat()}
    return Command(**(fields | changes))


def refusal(*, executed: tuple[str, ...] = (), **changes: Any) -> Reason:
    with pytest.raises(CommandError) as caught:
        check_command(command(**changes), executed, NOW)
    return caught.value.reason


def test_a_command_in_time_is_executed_with_its_arguments() -> None:
    assert check_command(command(name="collect-logs", arguments={"lines": 5}), (), NOW) == {"lines": 5}


def test_a_command_is_executed_at_most_once() -> None:
    assert refusal(executed=("c1",)) is Reason.REPEATED


def test_a_command_at_its_expiry_is_refused() -> None:
    assert refusal(expires=NOW.isoformat()) is Reason.EXPIRED


@pytest.mark.parametrize("expires", ["soon", "2026-01-01T00:00:00"])
def test_an_expiry_that_cannot_be_compared_is_refused(expires: str) -> None:
    assert refusal(expires=expires) is Reason.BAD_ARGUMENT


def test_an_unknown_command_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(CommandError, match="restart-model"):
        read_arguments("reboot", {})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("restart-model", {}),
        ("restart-model", {"model": 5}),
        ("ping", {"x": 1}),
        ("set-log-level", {"level": "loud"}),
        ("collect-logs", {"lines": 0}),
        ("collect-logs", {"lines": True}),
    ],
)
def test_a_wrong_argument_is_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(CommandError) as caught:
        read_arguments(name, arguments)
    assert caught.value.reason is Reason.BAD_ARGUMENT


def test_every_command_says_what_it_does() -> None:
    assert all(kind.text for kind in COMMANDS.values())
