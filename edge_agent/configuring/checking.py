"""The daemon's side of the validating child: start it, gather what it writes on the loop, judge how it ended."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.configuring.answers import Problems
from edge_agent.loop import Loop, Timer
from edge_agent.settings import AgentSettings
from fleet_contract.reasons import Reason

CHECK_SECONDS: Final = 60.0
MAX_OUTPUT_BYTES: Final = 8 * 1024**2
"""Settings in JSON, with every default written out, are some thirty times what a file says."""
CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Refused:
    """A configuration is not taken. `temporary`: the check itself did not work, and another one may."""

    reason: Reason
    detail: str
    temporary: bool = False


class Check:
    """One running check; `done` comes once, on the loop."""

    def __init__(self, loop: Loop, path: Path, layer: Path | None, done: Callable[[AgentSettings | Refused], object]) -> None:
        """Check `layer` over the device's own file `path`; None is the own file alone. Raises OSError."""
        self._loop = loop
        self._done = done
        self._output = bytearray()
        command = [sys.executable, "-m", "edge_agent.configuring.child", "check", str(path)]
        command += [] if layer is None else [str(layer)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, close_fds=True)
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        loop.add_reader(self._pipe.fileno(), self._read)
        late = Refused(Reason.CONFIGURATION_INVALID, f"not checked within {CHECK_SECONDS:g} s", temporary=True)
        self._guard: Timer = loop.call_later(CHECK_SECONDS, lambda: self._end(late))

    def cancel(self) -> None:
        """End it; `done` does not come any more. Harmless when it has come."""
        self._end(None)

    def _read(self) -> None:
        try:
            data = os.read(self._pipe.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return
        self._output += data
        if len(self._output) > MAX_OUTPUT_BYTES:
            self._end(Refused(Reason.CONFIGURATION_TOO_LARGE, f"its settings are more than {MAX_OUTPUT_BYTES} bytes"))
        elif not data:
            self._end(self._judge)

    def _end(self, outcome: Refused | Callable[[], AgentSettings | Refused] | None) -> None:
        if self._pipe.closed:
            return
        self._guard.cancel()
        self._loop.remove_reader(self._pipe.fileno())
        self._pipe.close()
        if not callable(outcome):
            self._process.kill()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if outcome is not None:
            self._done(outcome() if callable(outcome) else outcome)

    def _judge(self) -> AgentSettings | Refused:
        try:
            if self._process.returncode == 0:
                return msgspec.json.decode(self._output, type=AgentSettings)
            problems = msgspec.json.decode(self._output, type=Problems)
        except msgspec.DecodeError as error:
            text = f"the check ended with status {self._process.returncode}: {error}"
            return Refused(Reason.CONFIGURATION_INVALID, text, temporary=True)
        return Refused(problems.reason, "; ".join(problems.problems))
