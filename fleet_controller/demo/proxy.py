"""A TCP proxy in this process that can be cut, held, slowed and restored: how the demo and the tests take a network away."""

import contextlib
import fcntl
import select
import socket
import sys
import termios
import threading
import time
from enum import Enum, auto
from typing import Final

_CHUNK: Final = 65536
_SLOW_CHUNK: Final = 512
_SLOW_SECONDS: Final = 0.02
_BEFORE_RESET: Final = 0.02
"""Seconds in which the part that was forwarded reaches its reader: a reset may overtake it."""


_DRAIN: Final = 5.0


class _State(Enum):
    OPEN = auto()
    HELD = auto()
    CUT = auto()


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target_port`."""

    def __init__(self, target_port: int, port: int = 0) -> None:
        self._target_port = target_port
        self._state = _State.OPEN
        self._lock = threading.Lock()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._waiting: list[socket.socket] = []
        self._bytes_per_second: float | None = None
        self._part: float | None = None
        self._left: int | None = None
        self._targets: set[socket.socket] = set()
        self.answered: int = 0
        """Bytes that went to the clients so far."""
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._wake_read, self._wake_write = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Reset all connections and every new one."""
        self._change(_State.CUT)

    def hold(self) -> None:
        """Half-open: connections stay and new ones are accepted, but no byte goes through."""
        self._change(_State.HELD)

    def slow(self, bytes_per_second: float) -> None:
        """Forward no more than this, both directions and all connections together."""
        self._bytes_per_second = bytes_per_second

    def reset_mid_packet(self, part: float) -> None:
        """Forward `part` (0 to 1) of the next bytes that come, at least one and not all, and reset the connection."""
        self._part = part

    def reset_after(self, count: int) -> None:
        """Let `count` more bytes through to the clients, and then reset the connection that the next byte comes on."""
        self._left = count

    def restore(self) -> None:
        """Forward again, at full speed. What was held goes on; what was cut is gone."""
        self._bytes_per_second = None
        self._left = None
        self._change(_State.OPEN)

    def close(self) -> None:
        """End the proxy and all its connections."""
        self._closing = True
        self._wake()
        self._thread.join(5.0)

    def _change(self, state: _State) -> None:
        with self._lock:
            self._state = state
            if state is _State.CUT:
                self._drop_all()
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # already closed
            self._wake_write.send(b"\0")

    def _run(self) -> None:
        while not self._closing:
            with self._lock:
                watched = [self._listener, self._wake_read]
                if self._state is _State.OPEN:
                    while self._waiting:
                        self._connect(self._waiting.pop())
                    watched += self._pairs
            try:
                readable, _, _ = select.select(watched, [], [], 1.0)
            except (OSError, ValueError):
                continue  # one of them was closed by `cut` meanwhile
            with self._lock:
                for sock in readable:
                    self._serve(sock)
        with self._lock:
            self._drop_all()
        for sock in (self._listener, self._wake_read, self._wake_write):
            sock.close()

    def _serve(self, sock: socket.socket) -> None:
        if sock is self._wake_read:
            sock.recv(4096)
        elif sock is self._listener:
            accepted, _ = self._listener.accept()
            if self._state is _State.CUT:
                self._reset(accepted)
            else:
                self._waiting.append(accepted)
        elif self._state is _State.OPEN and sock in self._pairs:
            self._forward(sock)

    def _connect(self, accepted: socket.socket) -> None:
        try:
            target = socket.create_connection(("127.0.0.1", self._target_port), timeout=2.0)
        except OSError:
            self._reset(accepted)
            return
        for sock in (accepted, target):
            sock.settimeout(5.0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs[accepted] = target
        self._pairs[target] = accepted
        self._targets.add(target)

    def _forward(self, sock: socket.socket) -> None:
        other = self._pairs[sock]
        try:
            bytes_per_second = self._bytes_per_second
            # A sleep takes a little longer than asked, so a fast link is not slept for in many small pieces.
            slowly = None if bytes_per_second is None else max(_SLOW_CHUNK, min(_CHUNK, int(bytes_per_second * _SLOW_SECONDS)))
            data = sock.recv(slowly or _CHUNK)
            if self._part is not None and len(data) > 1:
                other.sendall(data[: min(max(1, round(len(data) * self._part)), len(data) - 1)])
                self._part = None
                self._reset_pair(sock, other)
                return
            if sock in self._targets:
                if self._left is not None and len(data) > self._left:
                    other.sendall(data[: self._left])
                    self.answered += self._left
                    self._left = None
                    self._reset_pair(sock, other)
                    return
                self.answered += len(data)
                self._left = None if self._left is None else self._left - len(data)
            if data:
                other.sendall(data)
                if bytes_per_second is not None:
                    time.sleep(len(data) / bytes_per_second)
                return
        except OSError:
            self._reset(other)
        for each in (sock, other):
            self._forget(each)
            each.close()

    def _reset_pair(self, sock: socket.socket, other: socket.socket) -> None:
        # A reset throws away what waits to be sent, and a reader that is slow has let much of it wait.
        end = time.monotonic() + _DRAIN
        while _unsent(other) and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(_BEFORE_RESET)
        for each in (sock, other):
            self._forget(each)
            self._reset(each)

    def _forget(self, sock: socket.socket) -> None:
        self._pairs.pop(sock, None)
        self._targets.discard(sock)

    def _drop_all(self) -> None:
        for sock in (*self._pairs, *self._waiting):
            self._reset(sock)
        self._pairs.clear()
        self._targets.clear()
        self._waiting.clear()

    def _reset(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # already gone
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()


def _unsent(sock: socket.socket) -> int:
    """Bytes that the other end's kernel has not acknowledged yet."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
