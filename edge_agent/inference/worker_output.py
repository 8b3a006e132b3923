"""What a worker writes to standard error: the first lines go to the daemon's log, and of the rest a few, so that a runtime or a
model that prints without end fills no disk.

A worker that prints more than the daemon reads (1.3 MB/s) waits in its write, and is late like any other slow one.
"""

import logging
import os
import time
from typing import IO, Final

from edge_agent.loop import Loop, Timer

log = logging.getLogger(__name__)

BURST: Final = 20
"""Lines of one worker that are logged at once,"""
EVERY: Final = 10.0
"""and the seconds after which one more may be."""
LONGEST: Final = 500
"""Bytes of a line that are shown."""
_CHUNK: Final = 64 * 1024
PAUSE: Final = 0.05


class LineBound:
    """Cuts bytes into lines and lets few of them through. Pure: times are given, in seconds on a monotonic clock."""

    def __init__(self) -> None:
        self.dropped = 0
        """Lines since the start that were not shown."""
        self._part = b""
        self._allowed = float(BURST)
        self._before: float | None = None

    def feed(self, data: bytes, now: float) -> list[str]:
        """The lines to show of what was written."""
        if self._before is not None:
            self._allowed = min(self._allowed + (now - self._before) / EVERY, float(BURST))
        self._before = now
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = self._part + lines[0]
            self._part = b""
        # Of a line without an end only so much is kept as is shown.
        self._part = (self._part + rest)[:LONGEST]
        shown = []
        for line in lines:
            if self._allowed < 1:
                self.dropped += 1
                continue
            self._allowed -= 1
            shown.append(_printable(line))
        return shown

    def end(self) -> list[str]:
        """What is left of a last line without an end."""
        rest, self._part = self._part, b""
        return [_printable(rest)] if rest else []


def _printable(line: bytes) -> str:
    text = line[:LONGEST].decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else " " for char in text)


class WorkerOutput:
    """Reads one worker's standard error on the loop's thread, until `close`."""

    def __init__(self, loop: Loop, stream: IO[bytes], model: str, pid: int, pause: float = PAUSE) -> None:
        """`stream`: the read end, not blocking. `pause`: seconds after a read that took all it could."""
        self._loop, self._stream, self._pause, self._fields = loop, stream, pause, {"model": model, "pid": pid}
        self._bound = LineBound()
        self._told = 0
        self._timer: Timer | None = None
        loop.add_reader(stream.fileno(), self._readable)

    def close(self) -> None:
        """The worker has ended: take in what it wrote last, and tell how much was not shown."""
        if not self._stream.closed:
            self._take(self._read() or b"")
            self._finish()

    def _readable(self) -> None:
        data = self._read()
        if data is None:
            return
        if not data:
            self._finish()
            return
        self._take(data)
        if len(data) == _CHUNK:
            # It prints faster than anybody can read: looking again at once would cost the daemon its time.
            self._loop.remove_reader(self._stream.fileno())
            self._timer = self._loop.call_later(self._pause, self._go_on)

    def _read(self) -> bytes | None:
        """What there is, empty at the end; None if there is nothing yet."""
        try:
            return os.read(self._stream.fileno(), _CHUNK)
        except BlockingIOError:
            return None

    def _go_on(self) -> None:
        self._timer = None
        self._loop.add_reader(self._stream.fileno(), self._readable)

    def _take(self, data: bytes) -> None:
        before = self._bound.dropped
        shown = self._bound.feed(data, time.monotonic())
        if shown:
            self._tell_dropped(before)
        self._say(shown)

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            log.warning("a worker says", extra={**self._fields, "text": line})

    def _tell_dropped(self, dropped: int) -> None:
        more = dropped - self._told
        if more:
            self._told = dropped
            log.warning("lines of a worker are not shown", extra={**self._fields, "lines": more})

    def _finish(self) -> None:
        self._say(self._bound.end())
        self._tell_dropped(self._bound.dropped)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop.remove_reader(self._stream.fileno())
        self._stream.close()
