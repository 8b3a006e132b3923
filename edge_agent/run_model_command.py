"""`edge-agent run-model`: inputs from a file through a bundle's worker, scores on standard output."""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from edge_agent.commands.text_table import text_table
from edge_agent.inference.answers import Failure, ModelInput, Scored, TensorValue, to_input
from edge_agent.inference.bundle_store import Bundle
from edge_agent.inference.process import WorkerProcess
from edge_agent.inference.run_plan import RunPlan, resolve
from edge_agent.loop import Loop
from edge_agent.model_argument import find_model
from edge_agent.replay_models import BundleMissing
from edge_agent.settings import AgentSettings
from fleet_contract.evaluation import DataSetError, parse_data_set
from fleet_contract.manifest import Manifest
from fleet_contract.reasons import Reason

SHOWN_SCORES: Final = 10


def run_model(options: Namespace, load: Callable[[], AgentSettings]) -> int:
    """Run the command; returns the exit status: 0, 1 (cannot run), 2 (the input cannot be read), 3 (an input got no scores)."""
    try:
        found = find_model(options.model, Path(options.config), load)
        data = sys.stdin.buffer.read() if options.input == "-" else Path(options.input).read_bytes()
        questions = read_questions(data, found.bundle.manifest, options.input)
        plan = resolve(found.inference, found.bundle.manifest.name, found.bundle.manifest.runtime.value)
        answers, seconds, provider = _ask(found.bundle, plan, questions)
    except DataSetError as error:
        return _fail(2, str(error))
    except BundleMissing as error:
        return _fail(1, str(error))
    except OSError as error:
        return _fail(1, f"{error.filename or options.input}: {error.strerror}")
    manifest = found.bundle.manifest
    if options.output == "json":
        model = {"name": manifest.name, "version": manifest.version, "release": found.release, "provider": provider}
        shown = [_as_json(answer, manifest) for answer in answers]
        print(json.dumps({"model": model, "seconds": round(seconds, 6), "answers": shown}, indent=2, ensure_ascii=False))
    else:
        print(f"{manifest.name} {manifest.version} on {provider}, {len(answers)} inputs in {seconds * 1000:.1f} ms")
        for number, answer in enumerate(answers, 1):
            print("\n" + _as_text(number, answer, manifest))
    return 3 if any(isinstance(answer, Failure) for answer in answers) else 0


def read_questions(data: bytes, manifest: Manifest, name: str) -> list[ModelInput]:
    """The inputs in `data`: one JSON object, an array of them, or JSON lines. Raises DataSetError naming the place."""
    try:
        whole = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        lines = data
    else:
        items = whole if isinstance(whole, list) else [whole]
        lines = b"\n".join(msgspec.json.encode(item) for item in items)
    samples = parse_data_set(lines, manifest, name)
    return [to_input(sample) for sample in samples]


def _ask(bundle: Bundle, plan: RunPlan, questions: Sequence[ModelInput]) -> tuple[list[Scored], float, str]:
    """An answer for each question, the seconds that took, and the provider. Raises BundleMissing if the worker ends."""
    loop = Loop()
    ended: list[Failure] = []
    answers: list[Scored] = []
    worker = WorkerProcess(loop, bundle, plan, lambda *_: None, lambda _, failure: ended.append(failure))
    try:
        loop.run_until(lambda: worker.ready is not None or bool(ended), plan.load_timeout + 1)
        if worker.ready is None:
            failure = ended[0] if ended else Failure(Reason.LOAD_FAILED, "the worker did not answer in time")
            raise BundleMissing(f"{bundle.path}: {failure.reason}: {failure.detail}")
        began = time.perf_counter()
        while len(answers) < len(questions):
            wanted = len(answers) + len(questions[len(answers) : len(answers) + plan.max_batch])
            worker.run(questions[len(answers) : wanted], plan.deadline, answers.extend)
            while len(answers) < wanted:
                if ended:
                    raise BundleMissing(f"input {len(answers) + 1} to {wanted}: {ended[0].reason}: {ended[0].detail}")
                loop.turn(1.0)
        return answers, time.perf_counter() - began, worker.ready.provider
    finally:
        worker.stop()
        loop.run_until(lambda: worker.gone, 5.0)
        loop.close()


def _named(scores: Sequence[float], manifest: Manifest) -> list[tuple[str, float]]:
    return list(zip(manifest.labels or [str(position) for position in range(len(scores))], scores, strict=True))


def _as_json(answer: Scored, manifest: Manifest) -> dict[str, Any]:
    if isinstance(answer, Failure):
        return {"reason": answer.reason.value, "detail": answer.detail}
    if manifest.labels:
        return {"scores": dict(_named(answer, manifest))}
    shape = {"shape": list(answer.shape)} if isinstance(answer, TensorValue) else {}
    return {**shape, "scores": list(answer)}


def _as_text(number: int, answer: Scored, manifest: Manifest) -> str:
    if isinstance(answer, Failure):
        return f"{number}: no scores: {answer.reason}: {answer.detail}"
    rows = _named(answer, manifest)
    if manifest.labels:
        rows.sort(key=lambda row: -row[1])
    shape = f" {list(answer.shape)}" if isinstance(answer, TensorValue) else ""
    table = text_table(
        (f"{number}: {'LABEL' if manifest.labels else 'OUTPUT'}{shape}", "SCORE"),
        [(name, f"{score:.6g}") for name, score in rows[:SHOWN_SCORES]],
    )
    left = len(rows) - SHOWN_SCORES
    return table + (f"\n… {left} more, all of them with -o json" if left > 0 else "")


def _fail(status: int, text: str) -> int:
    sys.stderr.write(f"edge-agent run-model: {text}\n")
    return status
