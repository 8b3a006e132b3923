"""A slice of `make fuzz` for every format, and that the fuzzer finds what it is to find."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest

from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.formats import FORMATS
from edge_agent.ingest.port import Message
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason
from tests.fuzz import plain, target
from tests.fuzz.frames import MAX_MESSAGES, Frames
from tests.fuzz.target import Target

ENGINES = ["plain", "atheris"] if find_spec("atheris") else ["plain"]
SEED = "1"


class Brittle:
    """Raises for a payload with a zero byte."""

    def __init__(self, settings: IngestSettings) -> None: ...

    def decode(self, message: Message, state: object = None, explain: object = None) -> Decoded | DeadLetter:
        if b"\0" in message.payload:
            raise KeyError("unforeseen")
        return DeadLetter(Reason.WRONG_SHAPE, "nothing is right")


def run(name: str, engine: str, out: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", "--format", name, "--engine", engine, "--out", str(out)]
    options = ["--seconds", str(seconds), "--seed", SEED]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_slice_of_the_fuzz_run_finds_nothing(name: str, tmp_path: Path) -> None:
    done = run(name, ENGINES[-1], tmp_path, 2)
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stderr.rpartition(f"{name}: ")[2].partition(" inputs")[0]) > 10
    assert list(tmp_path.iterdir()) == []


def test_the_plain_mutator_runs_as_a_process_too(tmp_path: Path) -> None:
    assert run("sparkplug", "plain", tmp_path, 0.5).returncode == 0


def test_an_input_that_raises_is_written_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FORMATS, "brittle", f"{__name__}:Brittle")
    subject = Target("brittle")
    assert plain.run(subject, subject.frames.corpus(), 60, 1, f"{tmp_path}/brittle-") == 1
    (found,) = tmp_path.iterdir()
    assert "KeyError" in capsys.readouterr().err
    with pytest.raises(KeyError):
        subject(found.read_bytes())


def test_a_message_that_takes_too_long_is_a_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "SECONDS", -1.0)
    subject = Target("json")
    with pytest.raises(target.TooSlow):
        subject(subject.frames.corpus()[0])


@pytest.mark.parametrize("name", list(FORMATS))
def test_what_is_written_as_an_input_is_read_back(name: str) -> None:
    frames = Frames(name)
    assert frames.read(frames.write(frames.seeds[:MAX_MESSAGES])) == frames.seeds[:MAX_MESSAGES]
    assert all(len(frames.read(Random(seed).randbytes(seed))) <= MAX_MESSAGES for seed in range(300))
