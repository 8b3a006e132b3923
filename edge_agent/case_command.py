"""`edge-agent test`: runs the pipeline test cases below a folder and reports like a test runner."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from edge_agent.durable import write_file_durably
from edge_agent.inference.models import Models
from edge_agent.loop import Loop
from edge_agent.pipeline_case import Case, CaseError, Outcome, compare, find_cases, read_case
from edge_agent.replay import Replay, UnansweredError
from edge_agent.replay_command import UnknownPipeline, choose
from edge_agent.replay_models import BundleMissing, load_models
from edge_agent.settings import AgentSettings


def run_cases(settings: AgentSettings, folder: str, *, only: str | None, update: bool, as_json: bool, junit: str | None) -> int:
    """Run the command; returns the exit status: 0 (all passed), 1 (some failed), 2 (no case, or one that cannot be read)."""
    outcomes: list[Outcome] = []
    try:
        paths = [path for path in find_cases(Path(folder)) if only is None or only in str(path.relative_to(folder))]
        if not paths:
            return _fail(f"{folder} holds no case{f' whose name holds {only!r}' if only else ''} (*.toml)")
        for path in paths:
            case = read_case(path, updating=update)
            outcomes.append(_run(settings, case, update=update))
            if not as_json:
                _show(outcomes[-1], Path(folder))
    except CaseError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or folder}: {error.strerror}")
    if junit is not None:
        try:
            Path(junit).write_text(_as_junit(outcomes, Path(folder)), encoding="utf-8")
        except OSError as error:
            return _fail(f"{junit}: {error.strerror}")
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    if as_json:
        print(json.dumps([_as_json(outcome, Path(folder)) for outcome in outcomes], indent=2, ensure_ascii=False))
    else:
        print(f"{len(outcomes) - failed} passed, {failed} failed in {sum(outcome.seconds for outcome in outcomes):.2f} s")
    return 1 if failed else 0


def _run(settings: AgentSettings, case: Case, *, update: bool) -> Outcome:
    outcome = Outcome(case)
    began = time.monotonic()
    loop = Loop()
    models = Models(loop, settings.inference)
    results: list[bytes] = []
    letters: list[str] = []
    try:
        pipelines = choose(settings, [case.pipeline])
        load_models(loop, models, settings, pipelines, case.bundles)
        replay = Replay(
            settings,
            pipelines,
            loop,
            models,
            lambda name, row: results.append(row) if name == case.pipeline else None,
            lambda letter: letters.append(f"{letter.topic}: {letter.reason}: {letter.detail}"),
        )
        for message in case.events:
            replay.feed(message)
        replay.finish()
        if update and case.expect_file is not None:
            write_file_durably(case.expect_file, b"".join(row + b"\n" for row in results))
        else:
            outcome.problems = compare(case, [json.loads(row) for row in results], letters)
    except (UnknownPipeline, BundleMissing, UnansweredError) as error:
        outcome.problems = [str(error)]
    finally:
        models.stop()
        loop.close()
    outcome.seconds = time.monotonic() - began
    return outcome


def _show(outcome: Outcome, folder: Path) -> None:
    name = outcome.case.path.relative_to(folder)
    print(f"{'FAIL' if outcome.problems else 'ok  '}  {name}  ({outcome.seconds:.2f} s)")
    for problem in outcome.problems:
        print(f"      {problem}")


def _as_json(outcome: Outcome, folder: Path) -> Mapping[str, Any]:
    return {
        "case": str(outcome.case.path.relative_to(folder)),
        "pipeline": outcome.case.pipeline,
        "passed": not outcome.problems,
        "problems": outcome.problems,
        "seconds": round(outcome.seconds, 3),
    }


def _as_junit(outcomes: Sequence[Outcome], folder: Path) -> str:
    """The form that CI servers read: one `testcase` each, with its `failure`."""
    failed = sum(bool(item.problems) for item in outcomes)
    lines = [f'<testsuite name="edge-agent" tests="{len(outcomes)}" failures="{failed}">']
    for item in outcomes:
        name = quoteattr(str(item.case.path.relative_to(folder)))
        lines.append(f'  <testcase classname={quoteattr(item.case.pipeline)} name={name} time="{item.seconds:.3f}">')
        lines += [f"    <failure message={quoteattr(problem)}/>" for problem in item.problems]
        lines.append("  </testcase>")
    return "\n".join(('<?xml version="1.0" encoding="UTF-8"?>', *lines, "</testsuite>")) + "\n"


def _fail(text: str) -> int:
    sys.stderr.write(f"edge-agent test: {text}\n")
    return 2
