"""`edge-agent replay`: results of a recording as JSON lines on standard output, everything else on standard error."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_agent.inference.models import Models
from edge_agent.journal.batch import DeadLetterRow
from edge_agent.loop import Loop
from edge_agent.recording import RecordingError, read_recording
from edge_agent.replay import Replay, UnansweredError
from edge_agent.replay_models import BundleMissing, load_models
from edge_agent.settings import AgentSettings, PipelineSettings


class UnknownPipeline(ValueError):
    """The configuration has no pipeline of that name; the text lists those it has."""


def replay_file(settings: AgentSettings, names: Sequence[str], events: str, bundles: Sequence[str]) -> int:
    """Run the command; returns the exit status: 0, 1 (cannot run), 2 (wrong usage), 3 (a line is not an event).

    `names` are the pipelines whose results are printed; none means all.
    """
    loop = Loop()
    models = Models(loop, settings.inference)
    try:
        pipelines = choose(settings, names)
        load_models(loop, models, settings, pipelines, [Path(item) for item in bundles])
        wanted = set(names) or {item.name for item in pipelines}
        replay = Replay(settings, pipelines, loop, models, lambda name, row: _print(row) if name in wanted else None, _tell)
        if events == "-":
            _feed(replay, sys.stdin.buffer)
        else:
            with Path(events).open("rb") as recording:
                _feed(replay, recording)
    except UnknownPipeline as error:
        return _fail(2, str(error))
    except OSError as error:
        return _fail(1, f"{error.filename or events}: {error.strerror}")
    except (BundleMissing, UnansweredError) as error:
        return _fail(1, str(error))
    except RecordingError as error:
        return _fail(3, f"{events}: {error}")
    finally:
        models.stop()
        loop.close()
    return 0


def choose(settings: AgentSettings, names: Sequence[str]) -> list[PipelineSettings]:
    """The named pipelines in the order of the configuration, all for no name; raises UnknownPipeline."""
    known = [item.name for item in settings.pipelines]
    for name in names:
        if name not in known:
            raise UnknownPipeline(f"there is no pipeline {name!r}; the configuration has: {', '.join(known) or 'none'}")
    return [item for item in settings.pipelines if not names or item.name in names]


def _feed(replay: Replay, lines: Iterable[bytes]) -> None:
    for message in read_recording(lines):
        replay.feed(message)
    replay.finish()
    sys.stdout.flush()
    counts = ", ".join(f"{name} {count}" for name, count in sorted(replay.counters.items()) if count)
    sys.stderr.write(f"replayed: {counts or 'no events'}\n")


def _print(row: bytes) -> None:
    sys.stdout.buffer.write(row + b"\n")


def _tell(letter: DeadLetterRow) -> None:
    sys.stderr.write(f"dead letter: {letter.topic}: {letter.reason}: {letter.detail}\n")


def _fail(status: int, text: str) -> int:
    sys.stderr.write(f"edge-agent replay: {text}\n")
    return status
