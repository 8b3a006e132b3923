"""The check that devices make, made here before anything is signed: the agent's own validating child, where it is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

CHECK_SECONDS: Final = 60
_NEEDED: Final = ("edge_agent", "pydantic_settings")


class CheckFailed(RuntimeError):
    """The check itself did not work; the text says why."""


def find_problems(content: bytes, shown: str, over: Path | None = None) -> tuple[str, ...] | None:
    """What is wrong with a configuration, one line each; None where no agent is installed that could say.

    `shown` is what the lines call the file. `over` is a device's own file that it is to lie over; without it, a pipeline that
    only changes one of the device's is checked for its keys alone. Raises CheckFailed.
    """
    if not all(importlib.util.find_spec(name) for name in _NEEDED):
        return None
    with TemporaryDirectory(prefix="configuration-") as folder:
        file = Path(folder) / "configuration.toml"
        file.write_bytes(content)
        arguments = ["lint", str(file)] if over is None else ["check", str(over), str(file)]
        command = [sys.executable, "-m", "edge_agent.configuring.child", *arguments]
        try:
            child = subprocess.run(command, capture_output=True, check=False, timeout=CHECK_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CheckFailed(f"the check could not be made: {error}") from error
        if child.returncode == 0:
            return ()
        try:
            problems = json.loads(child.stdout)["problems"]
        except (ValueError, KeyError, TypeError) as error:
            lines = child.stderr.decode(errors="replace").strip().splitlines()
            raise CheckFailed(f"the check ended with status {child.returncode}: {lines[-1] if lines else ''}") from error
        return tuple(str(problem).replace(str(file), shown) for problem in problems)
