"""A test case of a pipeline: events in, results expected. Read from TOML, compared purely.

```toml
pipeline = "frost"                   # whose results are looked at
bundle = "frost-2.0.0.tar"           # default: what is active in state_dir
events = "cold-night.jsonl"          # a recording beside this file, or [[event]] tables as below
tolerance = 1e-3                     # for numbers; default 1e-6
dead_letters = 0                     # how many; default: not looked at

[[event]]
topic = "farm/north/weather"
payload = { id = "a", time = 2026-01-01T18:00:00Z, temp_min = -3.2 }

[[expect]]                           # one table for each result, in order; only what is named is compared
source = "north"
outcome = { state = "on", score = 0.93 }
```

`expect = "cold-night.expected.jsonl"` compares with a file instead, which `edge-agent test --update` writes.
"""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final

from edge_agent.recording import Recorded, RecordingError, from_entry, read_recording

TOLERANCE: Final = 1e-6
KEYS: Final = ("pipeline", "bundle", "events", "event", "expect", "tolerance", "dead_letters")
MOST_SHOWN: Final = 10


class CaseError(ValueError):
    """The case cannot be read; the text names the file and the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One file."""

    path: Path
    pipeline: str
    events: tuple[Recorded, ...]
    expect: tuple[Mapping[str, Any], ...]
    expect_file: Path | None = None
    """Where `expect` came from, if it is a file of its own: this is what `--update` writes."""
    bundles: tuple[Path, ...] = ()
    tolerance: float = TOLERANCE
    dead_letters: int | None = None


@dataclass(slots=True)
class Outcome:
    """What became of one case."""

    case: Case
    problems: list[str] = field(default_factory=list)
    """One line each; none means that it passed."""
    seconds: float = 0.0


def find_cases(folder: Path) -> list[Path]:
    """The TOML files below a folder, in order; raises OSError where there is no such folder."""
    if not folder.is_dir():
        raise NotADirectoryError(20, "is not a folder", str(folder))
    return sorted(folder.rglob("*.toml"))


def read_case(path: Path, *, updating: bool = False) -> Case:
    """Read one case; raises CaseError, OSError. When `updating`, a missing file of expected results is no error."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CaseError(f"{path}: not valid TOML: {error}") from error
    unknown = [key for key in table if key not in KEYS]
    if unknown:
        raise CaseError(f"{path}: unknown key {unknown[0]!r}; known are: {', '.join(KEYS)}")
    pipeline = table.get("pipeline")
    if not isinstance(pipeline, str):
        raise CaseError(f"{path}: pipeline: the name of a pipeline of the configuration is needed")
    if "expect" not in table and "dead_letters" not in table:
        raise CaseError(f"{path}: expect or dead_letters is needed: a case that expects nothing cannot fail")
    bundles = table.get("bundle", [])
    expect, expect_file = _expected(path, table.get("expect", []), updating=updating)
    tolerance, dead_letters = table.get("tolerance", TOLERANCE), table.get("dead_letters")
    if not isinstance(tolerance, int | float) or tolerance < 0:
        raise CaseError(f"{path}: tolerance: a number from 0 on is needed")
    if dead_letters is not None and (not isinstance(dead_letters, int) or dead_letters < 0):
        raise CaseError(f"{path}: dead_letters: a whole number from 0 on is needed")
    return Case(
        path=path,
        pipeline=pipeline,
        events=_events(path, table),
        expect=expect,
        expect_file=expect_file,
        bundles=tuple(path.parent / item for item in ([bundles] if isinstance(bundles, str) else bundles)),
        tolerance=float(tolerance),
        dead_letters=dead_letters,
    )


def compare(case: Case, results: Sequence[Mapping[str, Any]], dead_letters: Sequence[str]) -> list[str]:
    """What is not as expected, a line each."""
    problems: list[str] = []
    for number, (wanted, found) in enumerate(zip(case.expect, results, strict=False)):
        problems += [f"result {number}: {text}" for text in _differences(wanted, found, "", case.tolerance)]
    if len(results) < len(case.expect):
        problems.append(f"{len(case.expect)} results expected, there are {len(results)}")
    elif len(results) > len(case.expect) and (case.expect or case.dead_letters is None):
        first = json.dumps(results[len(case.expect)], ensure_ascii=False)
        problems.append(f"{len(case.expect)} results expected, there are {len(results)}; the first beyond: {first[:300]}")
    if case.dead_letters is not None and len(dead_letters) != case.dead_letters:
        shown = "; ".join(dead_letters[:3]) or "none"
        problems.append(f"{case.dead_letters} dead letters expected, there are {len(dead_letters)}: {shown}")
    if len(problems) > MOST_SHOWN:
        problems[MOST_SHOWN:] = [f"and {len(problems) - MOST_SHOWN} more"]
    return problems


def _differences(wanted: Any, found: Any, where: str, tolerance: float) -> list[str]:
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return [f"{where or 'it'} is {found!r}, an object is expected"]
        problems: list[str] = []
        for key, value in wanted.items():
            inner = f"{where}.{key}" if where else str(key)
            if key not in found:
                problems.append(f"{inner} is missing")
            else:
                problems += _differences(value, found[key], inner, tolerance)
        return problems
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            text
            for place, (left, right) in enumerate(zip(wanted, found, strict=True))
            for text in _differences(left, right, f"{where}.{place}", tolerance)
        ]
    if _is_number(wanted) and _is_number(found):
        same = math.isclose(wanted, found, rel_tol=0.0, abs_tol=tolerance)
    else:
        same = type(wanted) is type(found) and wanted == found
    return [] if same else [f"{where} is {found!r}, expected is {wanted!r}"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _events(path: Path, table: Mapping[str, Any]) -> tuple[Recorded, ...]:
    named, inline = table.get("events"), table.get("event", [])
    if (named is None) == (not inline):
        raise CaseError(f"{path}: either events (a recording) or [[event]] tables are needed")
    try:
        if named is not None:
            with (path.parent / str(named)).open("rb") as recording:
                return tuple(read_recording(recording))
        return tuple(from_entry(_plain(entry)) for entry in inline)
    except RecordingError as error:
        raise CaseError(f"{path.parent / str(named)}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CaseError(f"{path}: event: topic and payload are needed: {error!r}") from error


def _expected(path: Path, given: Any, *, updating: bool) -> tuple[tuple[Mapping[str, Any], ...], Path | None]:
    if isinstance(given, str):
        file = path.parent / given
        if updating and not file.exists():
            return (), file
        if not file.exists():
            raise CaseError(f"{path}: expect: there is no file {file}; edge-agent test --update writes it")
        try:
            return tuple(json.loads(line) for line in file.read_bytes().splitlines() if line.strip()), file
        except ValueError as error:
            raise CaseError(f"{file}: not JSON lines: {error}") from error
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise CaseError(f"{path}: expect: [[expect]] tables or the name of a file are needed")
    return tuple(_plain(item) for item in given), None


def _plain(value: Any) -> Any:
    """TOML's own times as the texts that a payload would carry."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat().replace("+00:00", "Z")
    return value
