"""`edge-agent updates` against a real control socket."""

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import pytest

from edge_agent.cli import _parser
from edge_agent.commands.control import ControlServer
from edge_agent.commands.policy import read_arguments
from edge_agent.loop import Loop
from edge_agent.updates_command import EXIT_FAILED, EXIT_NO_AGENT, EXIT_OK, run_updates

MOVE = {"time": "2026-11-25T12:00:00Z", "release": 2, "from": None, "event": "desired", "to": "waiting", "reason": None}


@pytest.fixture
def socket() -> Iterator[Path]:
    asked: dict[str, Any] = {"status": {"update_log": {"frost": [MOVE]}}}

    def answer(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        values = read_arguments(command, arguments)
        if command == "status":
            return dict(asked["status"])
        return {"holds": [values.get("model", "*")], "released": []}

    with TemporaryDirectory() as folder:
        loop = Loop()
        server = ControlServer(Path(folder) / "c.sock", loop, answer)
        thread = Thread(target=loop.run)
        thread.start()
        yield Path(folder) / "c.sock"
        loop.post(loop.stop)
        thread.join()
        server.close()
        loop.close()


def options(action: str, output: str = "text", **values: Any) -> Namespace:
    return Namespace(action=action, output=output, **({"model": None, "why": None} | values))


def test_the_log_is_shown_as_a_table_and_as_json(socket: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_updates(options("log"), socket) == EXIT_OK
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["MODEL TIME RELEASE FROM EVENT TO REASON", "frost 2026-11-25T12:00:00Z 2 desired waiting"]
    assert run_updates(options("log", "json"), socket) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == {"frost": [MOVE]}


def test_a_hold_is_said_and_ended(socket: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_updates(options("hold", model="frost", why="harvest"), socket) == EXIT_OK
    assert capsys.readouterr().out == "held: frost\n"
    assert run_updates(options("hold"), socket) == EXIT_OK
    assert capsys.readouterr().out == "held: all models\n"
    assert run_updates(options("release"), socket) == EXIT_OK
    assert capsys.readouterr().out == "released: nothing was held\n"


def test_what_goes_wrong_has_its_own_status(socket: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_updates(options("hold", why="x" * 201), socket) == EXIT_FAILED
    assert "at most 200" in capsys.readouterr().err
    assert run_updates(options("log"), socket.with_name("none")) == EXIT_NO_AGENT
    assert f"no agent answers on {socket.with_name('none')}: No such file or directory; is it" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--socket", "s", "log"), ("log", "--socket", "s")])
def test_the_socket_may_be_named_before_the_action_and_behind_it(words: tuple[str, ...]) -> None:
    chosen = _parser().parse_args(["updates", *words])
    assert (chosen.action, chosen.socket) == ("log", "s")
