"""Processes of ours that a fault can hit: killed, paused, ended in order, started again with the same command."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from fleet_controller.demo.brokers import Broker

POLL = 0.02


class NotInTime(AssertionError):
    """What was waited for did not come about; the text says what."""


def until(condition: Callable[[], Any], what: Callable[[], str] | str, timeout: float) -> Any:
    """The first true value of `condition`; raises NotInTime with `what` if there is none within `timeout` seconds."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            raise NotInTime(f"not within {timeout:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(POLL)
    return value


class Target(Protocol):
    """What a fault does to a process."""

    def kill(self) -> None:
        """SIGKILL."""

    def pause(self) -> None:
        """SIGSTOP."""

    def resume(self) -> None:
        """SIGCONT."""

    def stop(self) -> None:
        """SIGTERM, and wait."""

    def start(self) -> None:
        """Start it again."""


class Program:
    """A process that is started again with the same command."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._environment = dict(os.environ) | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it."""
        self.starts += 1
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment
            )

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        assert self.running, f"it had ended by itself: {self.log_tail()}"
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it in order; killed if that takes longer than 15 s. Harmless if it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def log_tail(self) -> str:
        """The end of what it has written."""
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""


class PausableBroker(Broker):
    """A broker that can also be held still."""

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)


class Worker:
    """The model's worker process, which its daemon starts again by itself."""

    def __init__(self, find_pid: Callable[[], int | None]) -> None:
        self._find_pid = find_pid
        self._paused = 0

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP."""
        self._paused = self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT; its daemon may have replaced it meanwhile, because it missed its deadline."""
        try:
            os.kill(self._paused, signal.SIGCONT)
        except ProcessLookupError:
            return

    def stop(self) -> None:
        """SIGTERM."""
        self._signal(signal.SIGTERM)

    def start(self) -> None:
        """Its daemon does that."""

    def _signal(self, number: signal.Signals) -> int:
        pid: int = until(self._find_pid, "the worker answers", 30.0)
        os.kill(pid, number)
        return pid
