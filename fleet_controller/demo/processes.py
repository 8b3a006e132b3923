"""Starts the demo's processes, each with a log file of its own, and ends every one of them by its id."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

SETTINGS_PREFIX: Final = "SMALLHOLD_"
POLL: Final = 0.2

Seen = TypeVar("Seen")


class DemoError(RuntimeError):
    """A step of the demo did not come about; the text says what was awaited."""


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of ours, which would reach into every agent at once."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(SETTINGS_PREFIX)}
    return kept | {"PYTHONUNBUFFERED": "1", "ORT_DISABLE_TELEMETRY": "1"}


def module_command(module: str, *arguments: str) -> list[str]:
    """A module of ours under this very interpreter, so that no PATH matters."""
    return [sys.executable, "-m", module, *arguments]


class Processes:
    """All processes of the demo but the brokers, by name."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start `command`; its output goes to the log of this name."""
        with self.log_file(name).open("ab") as output:
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean_environment() | dict(environment or {}),
            )

    def log_file(self, name: str) -> Path:
        """Where the output of a process goes."""
        return self._logs / f"{name}.log"

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The end of a process's output."""
        log = self.log_file(name)
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def check(self) -> None:
        """Raise DemoError if a process has ended unasked."""
        for name, process in self._running.items():
            status = process.poll()
            if status is not None:
                raise DemoError(f"{name} ended unasked with status {status}")

    def names(self) -> list[str]:
        """What was started and not ended, oldest first."""
        return list(self._running)

    def stop(self, names: Sequence[str], timeout: float = 20.0) -> dict[str, int]:
        """End these together with SIGTERM, and with SIGKILL what is left after `timeout` seconds; returns exit statuses."""
        chosen = {name: self._running.pop(name) for name in names if name in self._running}
        for process in chosen.values():
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + timeout
        for process in chosen.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return {name: process.returncode for name, process in chosen.items()}

    def wait_for(self, what: str, look: Callable[[], Seen | None], timeout: float) -> Seen:
        """Ask `look` until it returns something other than None or False; raises DemoError that names `what`."""
        end = time.monotonic() + timeout
        while True:
            self.check()
            seen = look()
            if seen is not None and seen is not False:
                return seen
            if time.monotonic() > end:
                raise DemoError(f"waited {timeout:.0f} s in vain: {what}")
            time.sleep(POLL)
