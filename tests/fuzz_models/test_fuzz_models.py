"""A slice of `make fuzz-models` for every runtime, and that it finds what it is to find."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import onnx
import pytest

from edge_agent.inference.answers import Failure
from edge_agent.inference.protocol import Ready
from fleet_contract.reasons import Reason
from tests.fuzz_models import trials
from tests.fuzz_models.mutations import KINDS, change_onnx, mutate
from tests.fuzz_models.seeds import seeds_of
from tests.fuzz_models.trials import Ending, Trials, Unforeseen, judge
from tests.hostile_models.runtimes import RUNTIMES, Runtime

MUTATIONS = 42
EVERY = 40
"""So many draws take every seed at least once."""

MakeTrials = Callable[..., Trials]


@pytest.fixture
def make_trials(tmp_path: Path) -> Iterator[MakeTrials]:
    made: list[Trials] = []

    def make(format_: str = "onnx", python: dict[str, str] | None = None) -> Trials:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        made.append(Trials(format_, python or {}, 1, tmp_path / "models", out, "x-", lambda _: None))
        return made[-1]

    yield make
    for each in made:
        each.close()


def leave_alone(_random: Random, _format: str, _kind: str, seed: bytes, _corpus: list[bytes]) -> bytes:
    return seed


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_a_slice_of_the_run_finds_nothing(runtime: Runtime, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz_models", "--runtime", runtime.name, "--mutations", str(MUTATIONS)]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"{runtime.name}: {MUTATIONS} in " in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["workers.log"]


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_every_seed_is_answered_as_long_as_nothing_is_changed(
    runtime: Runtime, make_trials: MakeTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "mutate", leave_alone)
    run = make_trials(runtime.format, runtime.python(tmp_path))
    files = {run.release(number)[1].file for number in range(EVERY)}
    assert len(files) == len(seeds_of(runtime.format))
    tally = run.run(0, EVERY, 2, 60.0)
    assert tally.finds == []
    assert {ending for _, ending in tally.endings} == {Ending.GOOD}
    assert tally.trials == EVERY


def test_a_worker_that_ends_itself_is_a_find_and_its_file_is_written(make_trials: MakeTrials, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    run = make_trials(python={"onnx": str(script)})
    (find,) = run.run(7, 1, 1, 60.0).finds
    assert "mutation 7" in find
    assert "ended itself" in find
    assert (tmp_path / "out" / "x-7.bin").read_bytes() == run.release(7)[1].file


def test_an_exception_on_the_daemons_loop_is_a_find(make_trials: MakeTrials, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_error(_outcome: Ready | Failure) -> Ending:
        raise KeyError("unforeseen")

    monkeypatch.setattr(trials, "judge", raise_error)
    monkeypatch.setattr(trials, "GRACE", -trials.TRIAL_TIMEOUT + 5.0)
    assert "an exception on the daemon's loop" in "".join(make_trials().run(0, 1, 1, 60.0).finds)


def test_a_descriptor_that_stays_open_is_a_find(make_trials: MakeTrials, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def leak(outcome: Ready | Failure) -> Ending:
        opened.extend(os.pipe())
        return judge(outcome)

    monkeypatch.setattr(trials, "judge", leak)
    assert make_trials().run(0, 1, 1, 60.0).finds == ["2 descriptors are left open"]
    for descriptor in opened:
        os.close(descriptor)


def test_memory_that_grows_is_a_find(make_trials: MakeTrials, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter((1, 1 + trials.GROWTH + 1))
    monkeypatch.setattr(trials, "resident", lambda: next(sizes, trials.GROWTH + 2))
    monkeypatch.setattr(trials, "WARM_UP", 1)
    (find,) = make_trials().run(0, 2, 1, 60.0).finds
    assert "grew by 24 MiB" in find


@pytest.mark.parametrize(
    ("reason", "detail", "ending"),
    [
        (Reason.LOAD_FAILED, "the worker was ended by signal SIGSEGV while it loaded the model", Ending.DEATH),
        (Reason.WORKER_CRASHED, "the worker was ended by signal SIGABRT while it scored", Ending.DEATH),
        (Reason.LOAD_FAILED, "the model was not loaded within 10 s", Ending.LATE),
        (Reason.DEADLINE_EXCEEDED, "no answer to 3 inputs within 2 s", Ending.LATE),
        (Reason.LOAD_FAILED, "ONNX Runtime could not load the model", Ending.REFUSED),
        (Reason.GOLDEN_MISMATCH, "golden sample 0: score 0 is nan", Ending.WRONG),
    ],
)
def test_endings_are_told_apart(reason: Reason, detail: str, ending: Ending) -> None:
    assert judge(Failure(reason, detail)) is ending


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        (Reason.LOAD_FAILED, "the worker was ended by signal SIGKILL while it loaded the model"),
        (Reason.LOAD_FAILED, "the worker was ended with status 1 while it loaded the model"),
        (Reason.WORKER_CRASHED, "the worker's answer is unreadable"),
        (Reason.HASH_MISMATCH, "the stored bundle has another SHA-256"),
        (Reason.RUNTIME_MISSING, "no runtime works here"),
    ],
)
def test_what_no_file_may_cause_is_unforeseen(reason: Reason, detail: str) -> None:
    with pytest.raises(Unforeseen):
        judge(Failure(reason, detail))


@pytest.mark.parametrize("format_", ["onnx", "tflite"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_mutations_and_each_is_another_file(format_: str, kind: str) -> None:
    corpus = [release.file for release in seeds_of(format_).values()]
    for seed in corpus:
        first, again = ([mutate(random, format_, kind, seed, corpus) for _ in range(20)] for random in (Random(3), Random(3)))
        assert first == again
        assert seed not in first
        assert len(set(first)) > 10


def test_a_change_of_the_fields_of_an_onnx_file_leaves_a_protobuf_message() -> None:
    for seed in seeds_of("onnx").values():
        for number in range(50):
            onnx.ModelProto.FromString(change_onnx(Random(number), seed.file))
