"""The local control socket: one JSON request a line in, one JSON answer a line out. Unix, mode 0660, no network.

`edge-agent status` and every other local command is a client of it.
"""

import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edge_agent.loop import Loop

log = logging.getLogger(__name__)

MAX_REQUEST: Final = 64 * 1024
MAX_CLIENTS: Final = 16

Handler = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Answers (command, arguments); may raise, which the client sees as an error."""


class ControlServer:
    """Serves the control socket on the loop."""

    def __init__(self, path: Path, loop: Loop, handler: Handler) -> None:
        self._path = path
        self._loop = loop
        self._handler = handler
        self._clients: dict[int, _Client] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_socket():
            path.unlink()
        before = os.umask(0o117)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(before)
        self._socket.listen(8)
        loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Stop serving and remove the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for client in list(self._clients.values()):
            self._drop(client)
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        connection, _ = self._socket.accept()
        if len(self._clients) >= MAX_CLIENTS:
            connection.close()
            return
        connection.setblocking(False)
        client = _Client(connection)
        self._clients[connection.fileno()] = client
        self._loop.add_reader(connection.fileno(), lambda: self._read(client))

    def _read(self, client: "_Client") -> None:
        try:
            data = client.connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.incoming += data
        if not data or len(client.incoming) > MAX_REQUEST:
            self._drop(client)
            return
        *lines, rest = client.incoming.split(b"\n")
        client.incoming = rest
        for line in lines:
            client.outgoing += json.dumps(self._answer(line)).encode() + b"\n"
        if lines:
            self._loop.add_writer(client.connection.fileno(), lambda: self._write(client))

    def _write(self, client: "_Client") -> None:
        try:
            sent = client.connection.send(client.outgoing)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        client.outgoing = client.outgoing[sent:]
        if not client.outgoing:
            self._loop.remove_writer(client.connection.fileno())

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command, arguments = request["command"], request.get("arguments", {})
            if not isinstance(command, str) or not isinstance(arguments, dict):
                raise TypeError("command must be a text and arguments an object")
            return {"ok": True, "result": self._handler(command, arguments)}
        except Exception as error:  # noqa: BLE001 a client's mistake costs the daemon nothing: the client is told
            log.info("a control request failed", extra={"error": str(error)})
            return {"ok": False, "error": str(error) or type(error).__name__, "reason": getattr(error, "reason", None)}

    def _drop(self, client: "_Client") -> None:
        fd = client.connection.fileno()
        if self._clients.pop(fd, None) is not None:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
        client.connection.close()


class _Client:
    __slots__ = ("connection", "incoming", "outgoing")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.incoming = b""
        self.outgoing = b""


class ControlError(Exception):
    """The running agent refused a request; the text is its own."""


def request(path: Path, command: str, arguments: dict[str, Any] | None = None, timeout: float = 10.0) -> dict[str, Any]:
    """Ask the running agent, from another process. Raises ControlError, or OSError when no agent listens on `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(json.dumps({"command": command, "arguments": arguments or {}}).encode() + b"\n")
        with connection.makefile("rb") as stream:
            line = stream.readline()
    if not line:
        raise ControlError("the agent closed the connection without an answer")
    answer: dict[str, Any] = json.loads(line)
    if not answer["ok"]:
        raise ControlError(answer["error"])
    result: dict[str, Any] = answer["result"]
    return result


def describe_silence(path: Path, error: OSError) -> str:
    """What a person is told when `request` met no agent."""
    return f"no agent answers on {path}: {error.strerror or error}; is it running with another --config or --socket?"
