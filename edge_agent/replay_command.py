"""`edge-agent replay`: results of a recording as JSON lines on standard output, everything else on standard error."""

import hashlib
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.inference.answers import Answer, Failure
from edge_agent.inference.bundle_store import Bundle, BundleStore
from edge_agent.inference.models import Models
from edge_agent.ingest.events import DeadLetter
from edge_agent.journal.reader import Reader
from edge_agent.loop import Loop
from edge_agent.pipeline.pipeline import Pipeline, readings
from edge_agent.pipeline.question import find_misfit, to_model_input
from edge_agent.pipeline.result import make_result
from edge_agent.pipeline.windows import ClosedWindow
from edge_agent.replay import RecordingError, Replay, read_recording
from edge_agent.settings import AgentSettings
from edge_agent.updates.ledger import Ledger
from edge_agent.updates.store import LEDGER_KEY
from fleet_contract.bundle import BundleError, read_bundle
from fleet_contract.messages import ModelRef, Outcome, Result, encode
from fleet_contract.reasons import Reason

MAX_WAITING: Final = 512
"""Windows that may wait for the model before the next event is read."""


class ReplayError(Exception):
    """The replay cannot run; the text says what to do."""


def replay_file(settings: AgentSettings, name: str, events: str, bundle: str | None) -> int:
    """Run the command; returns the exit status: 0, 1 (cannot run), 2 (wrong usage), 3 (a line is not an event)."""
    chosen = next((item for item in settings.pipelines if item.name == name), None)
    if chosen is None:
        known = ", ".join(item.name for item in settings.pipelines) or "none"
        return _fail(2, f"there is no pipeline {name!r}; the configuration has: {known}")
    pipeline = Pipeline(chosen)
    try:
        with _Run(settings, pipeline, bundle) as run:
            if events == "-":
                run.replay(sys.stdin.buffer)
            else:
                with Path(events).open("rb") as recording:
                    run.replay(recording)
    except OSError as error:
        return _fail(1, f"{error.filename or events}: {error.strerror}")
    except ReplayError as error:
        return _fail(1, str(error))
    except RecordingError as error:
        return _fail(3, f"{events}: {error}")
    return 0


def _fail(status: int, text: str) -> int:
    sys.stderr.write(f"edge-agent replay: {text}\n")
    return status


class _Run:
    """One replay with its worker, if the pipeline has a model."""

    def __init__(self, settings: AgentSettings, pipeline: Pipeline, bundle: str | None) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._loop = Loop()
        self._models = Models(self._loop, settings.inference)
        self._waiting: deque[ClosedWindow] = deque()
        model = pipeline.settings.model
        if model is not None:
            release, found = _find_bundle(settings, model, bundle)
            self._load(found, release)

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        self._models.stop()
        self._loop.close()

    def replay(self, lines: Iterable[bytes]) -> None:
        """Feed all lines and print the results in order."""
        replay = Replay(self._pipeline, self._print_dead_letter)
        for topic, payload in read_recording(lines):
            for window in replay.feed(topic, payload):
                self._score(window)
            if len(self._waiting) >= MAX_WAITING:
                self._answer_all()
        self._answer_all()
        sys.stdout.flush()
        counts = ", ".join(f"{name} {count}" for name, count in sorted(replay.counters.items()) if count)
        sys.stderr.write(f"replayed: {counts or 'no events'}\n")

    def _load(self, bundle: Bundle, release: int) -> None:
        outcome: list[ModelRef | Failure] = []
        timeout = self._settings.updates.test_timeout
        self._models.activate(bundle, release, timeout, outcome.append)
        self._loop.run_until(lambda: bool(outcome), timeout + 5)
        if not outcome or isinstance(outcome[0], Failure):
            detail = outcome[0].detail if outcome and isinstance(outcome[0], Failure) else "no answer in time"
            raise ReplayError(f"the model of {bundle.path} does not work: {detail}")

    def _score(self, window: ClosedWindow) -> None:
        settings = self._pipeline.settings
        if settings.model is None:
            self._finish(window, readings(window), None)
            return
        self._waiting.append(window)
        item = to_model_input(window, settings.inputs)
        self._models.submit(settings.model, item, lambda answer: self._answered(window, answer))

    def _answered(self, window: ClosedWindow, answer: Answer | Failure) -> None:
        self._waiting.remove(window)
        if isinstance(answer, Answer):
            settings = self._pipeline.settings
            misfit = find_misfit(window, settings.inputs, answer.manifest, settings.decision.label)
            if misfit is not None:  # a dead letter, as in the daemon
                answer = Failure(Reason.WRONG_SHAPE, misfit)
        if isinstance(answer, Failure):
            self._print_dead_letter(window.key, DeadLetter(answer.reason, answer.detail))
            self._pipeline.finish(window)
            return
        manifest = answer.manifest
        outcome = self._pipeline.decide(window, answer.scores, manifest.labels, manifest.decision)
        self._finish(window, outcome, answer.model)

    def _finish(self, window: ClosedWindow, outcome: Outcome, model: ModelRef | None) -> None:
        result: Result = make_result(self._pipeline, window, outcome, model)
        self._pipeline.finish(window)
        sys.stdout.buffer.write(encode(result) + b"\n")

    def _answer_all(self) -> None:
        deadline = self._settings.inference.deadline * 10
        if not self._loop.run_until(lambda: not self._waiting, deadline):
            raise ReplayError(f"the model did not answer within {deadline:g} s")

    def _print_dead_letter(self, where: str, letter: DeadLetter) -> None:
        sys.stderr.write(f"dead letter: {where}: {letter.reason}: {letter.detail}\n")


def _find_bundle(settings: AgentSettings, model: str, given: str | None) -> tuple[int, Bundle]:
    """The bundle named on the command line (as release 0), or the one that is active on this device."""
    try:
        if given is not None:
            return 0, _open_bundle(Path(given), model)
        database = Path(settings.state_dir) / "agent.db"
        if not database.exists():
            raise ReplayError(f"{settings.state_dir} holds no agent.db: name a bundle with --bundle")
        reader = Reader(database)
        stored = reader.values().get(LEDGER_KEY)
        reader.close()
        ledger = msgspec.msgpack.decode(stored, type=Ledger) if stored else Ledger()
        active = ledger.active.get(model)
        if active is None:
            raise ReplayError(f"no release of model {model!r} is active on this device: name a bundle with --bundle")
        return active.release, BundleStore(Path(settings.state_dir) / "models").open(model, active.digest)
    except BundleError as error:
        raise ReplayError(f"{given or 'the stored bundle'}: {error}") from error


def _open_bundle(path: Path, model: str) -> Bundle:
    with path.open("rb") as file:
        index = read_bundle(file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if index.manifest.name != model:
        raise ReplayError(f"{path} is a bundle of model {index.manifest.name!r}, the pipeline's is {model!r}")
    return Bundle(path, f"sha256:{digest}", index.manifest, index.golden, index.entries[index.manifest.file])
