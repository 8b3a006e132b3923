import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.commands.control import ControlError, ControlServer, request
from edge_agent.loop import Loop


def answer(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if command == "fail":
        raise ValueError("this command fails")
    return {"command": command, "arguments": arguments}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    loop = Loop()
    path = tmp_path / "run" / "control.sock"
    server = ControlServer(path, loop, answer)
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield path
    loop.stop()
    thread.join()
    server.close()
    assert not path.exists()
    loop.close()


def test_a_request_is_answered(path: Path) -> None:
    assert request(path, "ping", {"a": 1}) == {"command": "ping", "arguments": {"a": 1}}


def test_the_socket_is_for_user_and_group_alone(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o660


def test_a_command_that_fails_is_told_to_its_client_and_costs_nothing_else(path: Path) -> None:
    with pytest.raises(ControlError, match="this command fails"):
        request(path, "fail")
    assert request(path, "ping")["command"] == "ping"


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[1]\n", b'{"command": 5}\n', b"\xff\xfe\n", b"[" * 30000 + b"\n"])
def test_a_line_that_is_no_request_is_refused_and_the_next_one_served(path: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(line)
        stream = client.makefile("rb")
        assert b'"ok": false' in stream.readline()
        client.sendall(b'{"command": "ping"}\n')
        assert b'"ok": true' in stream.readline()


def test_a_client_that_sends_without_end_is_dropped(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        with pytest.raises(OSError):
            for _ in range(100):
                client.sendall(b"x" * 4096)
            while client.recv(1):
                pass
            raise ConnectionResetError
    assert request(path, "ping")


def test_no_agent_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        request(tmp_path / "none.sock", "ping")
