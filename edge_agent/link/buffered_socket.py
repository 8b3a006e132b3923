"""A socket that reads and writes in large pieces.

paho reads a packet in three or more `recv` calls (one byte, the length byte by byte, the rest) and writes each packet, however
small, in a `send` of its own. Every one of these is a system call that gives up the interpreter lock, which a busy main thread
then keeps for up to a switch interval. Buffered, a burst of messages costs one call in each direction.
"""

import contextlib
import socket
import ssl
from typing import Final

_READ: Final = 64 * 1024
_MOST_UNSENT: Final = 256 * 1024
_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BufferedSocket:
    """Used by one thread. `flush` is to be called after a round of `send`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in = b""
        self._position = 0
        self._out = bytearray()

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes; raises BlockingIOError (or its TLS counterparts) when nothing has come."""
        start = self._position
        if start < len(self._in):
            data = self._in[start : start + size]
            self._position = start + len(data)
            return data
        data = self._sock.recv(max(size, _READ))
        if len(data) <= size:
            return data
        self._in = data
        self._position = size
        return data[:size]

    def pending(self) -> int:
        """Bytes that can be read although the descriptor may not say so."""
        buffered = len(self._in) - self._position
        if isinstance(self._sock, ssl.SSLSocket):
            return buffered + self._sock.pending()
        return buffered

    def send(self, data: bytes | bytearray) -> int:
        """Take all of `data` for the next `flush`; raises BlockingIOError while too much waits."""
        if len(self._out) >= _MOST_UNSENT:
            self.flush()
            if len(self._out) >= _MOST_UNSENT:
                raise BlockingIOError
        self._out += data
        return len(data)

    @property
    def unsent(self) -> bool:
        """Whether a `flush` has left something."""
        return bool(self._out)

    def flush(self) -> None:
        """Write what the system takes now. Raises OSError if the connection is broken."""
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except _WOULD_BLOCK:
                return
            del self._out[:sent]

    def close(self) -> None:
        """Close; a last packet (DISCONNECT) is given a moment to leave."""
        try:
            if self._out:
                with contextlib.suppress(OSError):  # the connection is being given up in any case
                    self._sock.settimeout(1.0)
                    self._sock.sendall(self._out)
                self._out.clear()
        finally:
            self._sock.close()

    def fileno(self) -> int:
        """The system's descriptor."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """As of the socket."""
        self._sock.setblocking(flag)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """As of the socket."""
        self._sock.setsockopt(level, option, value)
