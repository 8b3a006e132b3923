"""`python -m edge_agent.configuring.child`: the short-lived child that reads and checks configuration for the daemon.

    start FILE         choose what to start with, count the start, fall back where it does not load; a `Started` as JSON
    current FILE       the settings that a start would use now, without counting anything
    check FILE [LAYER] the settings that a new revision would give over FILE
    lint LAYER         what can be said about a revision without a device's own file, as the controller asks

FILE is the device's own file, LAYER a revision. On problems the exit status is 2; then `check` and `lint` write a `Problems` to
standard output, the others write lines to standard error. Here pydantic is imported, so that the daemon does not carry it.
"""

import contextlib
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge_agent.configuration import ConfigurationError, find_state_dir, lint, load
from edge_agent.configuring.answers import Problems, Started
from edge_agent.configuring.folder import DamagedLayer, Folder
from edge_agent.configuring.policy import begin_start, fall_back
from edge_agent.configuring.record import Layer, Record
from edge_agent.settings import AgentSettings
from fleet_contract.reasons import Reason


def start(path: Path) -> Started:
    """What to start with. Raises ConfigurationError when the device's own file is wrong: it must stand by itself."""
    own = load(path)
    folder = Folder(find_state_dir(path))
    try:
        before = folder.load()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"edge-agent: starting with {path} alone: {error}\n")
        return Started(settings=own, record=Record())
    record = begin_start(before, _now())
    counted = record == before or _save(folder, record)
    if not counted and record.unproven:
        # A start that cannot be counted may be one of many: only what has proven itself is used then.
        record = fall_back(record, Reason.START_FAILED, "the start could not be counted", _now())
    while record.current is not None:
        try:
            return Started(settings=_load(path, folder, record.current), record=record)
        except ConfigurationError as error:
            reason, text = error.reason, "; ".join(error.problems)
        except (OSError, DamagedLayer) as error:
            reason, text = Reason.CONFIGURATION_INVALID, str(error)
        sys.stderr.write(f"edge-agent: revision {record.current.revision} of {record.current.name} is not used: {text}\n")
        record = fall_back(record, reason, text, _now())
        _save(folder, record)
    return Started(settings=own, record=record)


def current(path: Path) -> AgentSettings:
    """The settings that a start would use now. Raises ConfigurationError."""
    own = load(path)
    with contextlib.suppress(OSError, ValueError):
        folder = Folder(find_state_dir(path))
        layer = folder.load().current
        if layer is not None:
            return _load(path, folder, layer)
    return own


def _load(path: Path, folder: Folder, layer: Layer) -> AgentSettings:
    folder.read(layer)
    return load(path, folder.file_of(layer))


def _save(folder: Folder, record: Record) -> bool:
    try:
        folder.save(record)
    except OSError as error:
        sys.stderr.write(f"edge-agent: {folder.path}: {error.strerror}\n")
        return False
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def main() -> int:
    """Returns 0, or 2 when the configuration is wrong."""
    action, path = sys.argv[1], Path(sys.argv[2])
    try:
        answer: Started | AgentSettings | None = None
        if action == "start":
            answer = start(path)
        elif action == "current":
            answer = current(path)
        elif action == "lint":
            lint(path)
        else:
            answer = load(path, Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    except ConfigurationError as error:
        if action in ("check", "lint"):
            problems = Problems(reason=error.reason, problems=error.problems)
            sys.stdout.buffer.write(msgspec.json.encode(problems))
        else:
            sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
