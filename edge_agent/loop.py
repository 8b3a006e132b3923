"""The daemon's one main loop: file descriptors, timers, and calls posted from the I/O threads.

Everything that decides runs here, on the main thread, so the rooms need no locks. Other threads (one of paho for each link,
the store's writer) only ever call `post`. Timers use the monotonic clock.
"""

import logging
import os
import sched
import selectors
import time
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class Timer:
    """A call in the future, which can be cancelled."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Forget the call; harmless when it has already been made."""
        self._call = None

    def take(self) -> Callable[[], object] | None:
        """The call, once."""
        call, self._call = self._call, None
        return call


class Loop:
    """A selector loop. An exception from a callback is counted, logged and does not end the loop."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._drain_wake)
        self._posted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._awake = False
        self._timers = sched.scheduler(time.monotonic)
        self._stopping = False
        self.turns = 0
        """Turns of the loop so far: the systemd watchdog is petted only while this grows."""
        self.errors = 0
        """Exceptions that reached the loop's boundary."""

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Run `call(*args)` on the main thread soon. Callable from any thread; keeps the order of one thread."""
        self._posted.append((call, args))
        if not self._awake:
            self._awake = True
            try:
                os.write(self._wake_write, b"\0")
            except BlockingIOError:
                pass  # the pipe is full of wake-ups already
            except OSError:
                if not self._stopping:
                    raise

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        """Run `call()` after `delay` seconds. Main thread only."""
        timer = Timer(call)
        self._timers.enter(max(delay, 0.0), 0, self._run_timer, (timer,))
        return timer

    def call_every(self, interval: float, call: Callable[[], object]) -> None:
        """Run `call()` every `interval` seconds until the loop ends. Main thread only."""

        def again() -> None:
            self.call_later(interval, again)
            call()

        self.call_later(interval, again)

    def add_reader(self, fd: int, call: Callable[[], object]) -> None:
        """Run `call()` whenever `fd` can be read. Replaces an earlier reader of the same descriptor."""
        self._set(fd, selectors.EVENT_READ, call)

    def add_writer(self, fd: int, call: Callable[[], object]) -> None:
        """Run `call()` whenever `fd` can be written; `remove_writer` when there is nothing left to write."""
        self._set(fd, selectors.EVENT_WRITE, call)

    def remove_reader(self, fd: int) -> None:
        """Stop watching `fd` for reading; harmless if it is not watched."""
        self._unset(fd, selectors.EVENT_READ)

    def remove_writer(self, fd: int) -> None:
        """Stop watching `fd` for writing; harmless if it is not watched."""
        self._unset(fd, selectors.EVENT_WRITE)

    def stop(self) -> None:
        """End `run` after the current turn. Callable from any thread and from a signal handler."""
        self._stopping = True
        self.post(lambda: None)

    def run(self) -> None:
        """Turn until `stop`."""
        while not self._stopping:
            self.turn()

    def run_until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Turn until `done()` or `timeout` seconds have passed; returns `done()`. For stopping in order, and for tests."""
        end = time.monotonic() + timeout
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.turn(min(left, 0.05))
        return True

    def turn(self, longest: float | None = None) -> None:
        """Wait for work (at most `longest` seconds) and do all that is due."""
        self.turns += 1
        wait = longest
        if self._posted:
            wait = 0.0
        else:
            due = self._timers.run(blocking=False)
            if due is not None:
                wait = due if wait is None else min(wait, due)
            if self._posted:
                wait = 0.0
        for key, mask in self._selector.select(wait):
            if key.fd == self._wake_read:
                self._drain_wake()
                continue
            readers, writers = key.data
            if mask & selectors.EVENT_READ and readers is not None:
                self._run(readers)
            if mask & selectors.EVENT_WRITE and writers is not None:
                self._run(writers)
        self._timers.run(blocking=False)
        for _ in range(len(self._posted)):
            call, args = self._posted.popleft()
            self._run(call, *args)

    def close(self) -> None:
        """Release the descriptors; the loop cannot be used afterwards."""
        self._stopping = True
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run_timer(self, timer: Timer) -> None:
        call = timer.take()
        if call is not None:
            self._run(call)

    def _run(self, call: Callable[..., object], *args: Any) -> None:
        try:
            call(*args)
        except Exception:  # the loop's boundary: counted, logged, and the daemon goes on
            self.errors += 1
            log.exception("a callback failed", extra={"callback": getattr(call, "__qualname__", repr(call))})

    def _drain_wake(self) -> None:
        try:
            while len(os.read(self._wake_read, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass
        # Only now: a thread that posts between the two would otherwise have its wake-up read away with `_awake` left set, and
        # the loop would sleep through everything after it. What it posted is run in this very turn.
        self._awake = False

    def _set(self, fd: int, event: int, call: Callable[[], object]) -> None:
        readers, writers, mask = self._watched(fd)
        if event == selectors.EVENT_READ:
            readers = call
        else:
            writers = call
        if mask:
            self._selector.modify(fd, mask | event, (readers, writers))
        else:
            self._selector.register(fd, event, (readers, writers))

    def _unset(self, fd: int, event: int) -> None:
        readers, writers, mask = self._watched(fd)
        if not mask & event:
            return
        if event == selectors.EVENT_READ:
            readers = None
        else:
            writers = None
        if mask == event:
            self._selector.unregister(fd)
        else:
            self._selector.modify(fd, mask & ~event, (readers, writers))

    def _watched(self, fd: int) -> tuple[Callable[[], object] | None, Callable[[], object] | None, int]:
        try:
            key = self._selector.get_key(fd)
        except KeyError:
            return None, None, 0
        return key.data[0], key.data[1], key.events
