"""What surrounds a worker: its limits, what it leaves behind, and that it never outlives the daemon."""

import contextlib
import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.inference import process
from edge_agent.inference.answers import ModelInput
from edge_agent.inference.process import WorkerProcess
from edge_agent.inference.protocol import Scores, TensorPart
from edge_agent.inference.run_plan import cpu_seconds, resolve
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings
from fleet_contract.reasons import Reason
from models.tflite_writer import Activation, Dense, write_dense

_spec = importlib.util.spec_from_file_location("inference_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
support = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(support)


def start(loop: Loop, bundle: Any, settings: InferenceSettings) -> WorkerProcess:
    ended: list[Any] = []
    worker = WorkerProcess(loop, bundle, resolve(settings, "leak", "onnx"), lambda *_: None, lambda *event: ended.append(event))
    assert loop.run_until(lambda: worker.ready is not None or bool(ended), 60)
    assert not ended, ended
    return worker


def stop(loop: Loop, worker: WorkerProcess) -> None:
    worker.stop()
    assert loop.run_until(lambda: worker.gone, 10)


def test_the_kernel_holds_a_worker_to_its_limits(loop: Loop, settings: InferenceSettings, make_bundle: Any) -> None:
    worker = start(loop, make_bundle(), settings)
    limits = Path(f"/proc/{worker.pid}/limits").read_text()
    rows = {line[:25].strip(): line[25:].split() for line in limits.splitlines()}
    assert rows["Max address space"][0] == str(settings.memory_bytes)
    assert rows["Max core file size"][0] == "0"
    assert rows["Max open files"][0] == "64"
    allowed = cpu_seconds(resolve(settings, "leak", "onnx"), os.cpu_count() or 1)
    assert allowed <= int(rows["Max cpu time"][0]) <= allowed + 10
    assert rows["Max cpu time"][1] == "unlimited"
    stop(loop, worker)


def test_cpu_time_is_renewed_while_a_worker_answers(
    loop: Loop, settings: InferenceSettings, make_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "cpu_seconds", lambda plan, cores: 2)
    worker = start(loop, make_bundle(), settings)
    first = resource.prlimit(worker.pid, resource.RLIMIT_CPU)[0]
    item = ModelInput({"flow": [1.0] * 200_000}, [float(n) for n in range(200_000)])
    end = time.monotonic() + 120
    while resource.prlimit(worker.pid, resource.RLIMIT_CPU)[0] < first + 2:
        assert time.monotonic() < end
        worker.run([item] * 8, 60.0, lambda results: None)
        assert loop.run_until(lambda: not worker.busy, 60)
    stop(loop, worker)


HELD = {"no_new_privs", "seccomp", "no_network", "read_only"}


@pytest.mark.parametrize("package", ["onnxruntime", "ai_edge_litert", "tflite_runtime"])
def test_each_runtime_answers_in_the_sandbox_with_two_threads(
    package: str, loop: Loop, make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package == "tflite_runtime":
        # The other one would be taken first.
        (tmp_path / "hidden" / "ai_edge_litert").mkdir(parents=True)
        (tmp_path / "hidden" / "ai_edge_litert" / "__init__.py").write_text("raise ImportError('hidden')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))
    weights = np.array([[2.0, 1.0]], np.float32)
    if package == "onnxruntime":
        bundle = make_bundle()
    else:
        model = write_dense([Dense(weights, np.zeros(1, np.float32), Activation.NONE)])
        bundle = make_bundle(model=model, runtime="tflite")
    worker = start(loop, bundle, InferenceSettings(threads=2))
    assert worker.ready is not None
    assert set(worker.ready.sandbox) >= HELD
    assert worker.ready.runtime_version.startswith(package.replace("_", "-")) is (package != "onnxruntime")
    answers: list[Any] = []
    worker.run([ModelInput({"flow": [1.0, 3.0]}, [0.0, 1.0])] * 8, 20.0, answers.extend)
    assert loop.run_until(lambda: bool(answers), 20)
    assert answers == [(8.0,)] * 8
    # one that the daemon's words to stop come to, and one of the runtime's
    assert len(list(Path(f"/proc/{worker.pid}/task").iterdir())) >= 3
    stop(loop, worker)


def test_a_worker_gets_no_secret_from_the_daemons_environment(
    loop: Loop, settings: InferenceSettings, make_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMALLHOLD_AGENT__SECRET", "hunter2")
    worker = start(loop, make_bundle(), settings)
    environment = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
    assert not any(b"hunter2" in item for item in environment)
    assert b"ORT_DISABLE_TELEMETRY=1" in environment
    assert b"OMP_NUM_THREADS=1" in environment
    stop(loop, worker)


def test_onnx_runtime_leaves_no_file_and_opens_no_connection(
    loop: Loop, settings: InferenceSettings, make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    usual = process.child_environment
    monkeypatch.setattr(
        process,
        "child_environment",
        lambda threads: {**usual(threads, str(home)), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)},
    )
    worker = start(loop, make_bundle(), settings)
    answers: list[Any] = []
    for _ in range(20):
        worker.run([ModelInput({"flow": [1.0, 1.0]}, [0.0, 1.0])], 20.0, answers.extend)
        assert loop.run_until(lambda: not worker.busy, 20)
        sockets = [os.readlink(path) for path in Path(f"/proc/{worker.pid}/fd").iterdir() if path.is_symlink()]
        assert sum(target.startswith("socket:") for target in sockets) == 1
    stop(loop, worker)
    assert len(answers) == 20
    assert list(home.rglob("*")) == []


DAEMON = """
import sys, pathlib
from edge_agent.inference.bundle_store import BundleStore
from edge_agent.inference.models import Models
from edge_agent.loop import Loop
from edge_agent.settings import InferenceSettings
loop = Loop()
models = Models(loop, InferenceSettings())
models.resume(BundleStore(pathlib.Path(sys.argv[1])).open("leak", sys.argv[2]), 1)
assert loop.run_until(lambda: models.reference("leak") is not None, 60)
runtimes = {"numpy", "onnxruntime", "tflite_runtime", "ai_edge_litert"}
print(models.stats()[0].pid, *sorted(set(sys.modules) & runtimes), flush=True)
loop.run()
"""


def test_a_worker_does_not_outlive_a_killed_daemon_which_imports_no_runtime(make_bundle: Any, tmp_path: Path) -> None:
    bundle = make_bundle()
    command = [sys.executable, "-c", DAEMON, str(tmp_path / "models"), bundle.digest]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        line = daemon.stdout.readline().split()
        daemon.send_signal(signal.SIGKILL)
    assert len(line) == 1, line
    end = time.monotonic() + 10
    while support.alive(int(line[0])):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_another_interpreter_without_our_package_runs_the_worker(
    loop: Loop, settings: InferenceSettings, make_bundle: Any, tmp_path: Path
) -> None:
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {shutil.which("env")} -u PYTHONPATH {sys.executable} -I "$@"\n')
    script.chmod(0o755)
    worker = start(loop, make_bundle(), InferenceSettings(python={"onnx": str(script)}))
    answers: list[Any] = []
    worker.run([ModelInput({"flow": [1.0, 1.0]}, [0.0, 1.0])], 20.0, answers.extend)
    assert loop.run_until(lambda: bool(answers), 20)
    assert answers == [(3.0,)]
    stop(loop, worker)


def test_a_batch_larger_than_the_sockets_buffers_passes(loop: Loop, settings: InferenceSettings, make_bundle: Any) -> None:
    worker = start(loop, make_bundle(), settings)
    item = ModelInput({"flow": [1.0] * 100_000}, [float(n) for n in range(100_000)])
    answers: list[Any] = []
    worker.run([item] * 8, 60.0, answers.extend)
    assert loop.run_until(lambda: bool(answers), 60)
    assert answers == [(3.0,)] * 8
    stop(loop, worker)


@pytest.mark.parametrize("number", [signal.SIGKILL, 40])
def test_the_end_by_any_signal_is_told(loop: Loop, settings: InferenceSettings, make_bundle: Any, number: int) -> None:
    ended: list[Any] = []
    plan = resolve(settings, "leak", "onnx")
    worker = WorkerProcess(loop, make_bundle(), plan, lambda *_: None, lambda _, failure: ended.append(failure))
    assert loop.run_until(lambda: worker.ready is not None, 60)
    os.kill(worker.pid, number)
    assert loop.run_until(lambda: bool(ended), 10), "nobody restarts a model whose end is not told"
    assert ("SIGKILL" if number == signal.SIGKILL else "40") in ended[0].detail


def test_a_worker_that_cannot_be_started_leaves_no_descriptor_open(
    loop: Loop, settings: InferenceSettings, make_bundle: Any
) -> None:
    bundle, plan = make_bundle(), resolve(settings, "leak", "onnx")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = sorted(os.listdir("/proc/self/fd"))
    failed = 0
    for spare in range(20):
        worker = None
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 32, limits[1]))
        taken: list[int] = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            for descriptor in taken[:spare]:
                os.close(descriptor)
            del taken[:spare]
            worker = WorkerProcess(loop, bundle, plan, lambda *_: None, lambda *_: None)
        except OSError:
            failed += 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in taken:
                os.close(descriptor)
        if worker is not None:
            stop(loop, worker)
        assert sorted(os.listdir("/proc/self/fd")) == before, f"with {spare} to spare"
    assert 10 <= failed < 20


def test_a_worker_that_takes_no_word_of_a_late_batch_does_not_hold_up_the_daemon(
    loop: Loop, settings: InferenceSettings, make_bundle: Any
) -> None:
    worker = start(loop, make_bundle(), settings)
    assert not os.get_blocking(worker._cancels)
    stop(loop, worker)


def answered_with(scores: Scores, body: bytes) -> str:
    """A worker in name only: what the daemon makes of such an answer to a window for a model of one score."""
    return f"""
import os, socket, sys
sys.path.insert(0, {str(Path(__file__).parents[4])!r})
from edge_agent.inference import protocol
from edge_agent.inference.protocol import TensorPart
from edge_agent.inference.shared_memory import SharedMemory
connection = socket.socket(fileno=int(sys.argv[4]))
reader = protocol.Reader(SharedMemory(int(sys.argv[6]), int(sys.argv[7])))
while data := connection.recv(1 << 20):
    reader.feed(data)
    while (frame := reader.next()) is not None:
        header = frame[0]
        if isinstance(header, protocol.Load):
            answer, body = protocol.Ready(digest=header.digest, provider="x", runtime_version="1"), b""
        else:
            answer, body = protocol.{scores!r}, {body!r}
        connection.sendall(protocol.pack(answer, [body]))
"""


@pytest.mark.parametrize(
    ("scores", "body"),
    [
        (Scores(number=1, width=0, faults={}), b""),
        (Scores(number=1, width=2, faults={}), bytes(16)),
        (Scores(number=1, width=0, faults={}, outputs=[TensorPart("", "uint8", (1,), 1)]), b"\0"),
    ],
    ids=["no scores", "too many scores", "a tensor"],
)
def test_an_answer_that_the_manifest_does_not_announce_ends_the_worker(
    loop: Loop, settings: InferenceSettings, make_bundle: Any, monkeypatch: pytest.MonkeyPatch, scores: Scores, body: bytes
) -> None:
    monkeypatch.setattr(process, "_START", answered_with(scores, body))
    ended: list[Any] = []
    results: list[Any] = []
    plan = resolve(settings, "leak", "onnx")
    worker = WorkerProcess(loop, make_bundle(), plan, lambda *_: None, lambda _, failure: ended.append(failure))
    assert loop.run_until(lambda: worker.ready is not None or bool(ended), 60)
    assert not ended, ended
    worker.run([ModelInput({"flow": [1.0]}, [0.0])], 10.0, results.extend)
    assert loop.run_until(lambda: bool(ended) or bool(results), 20)
    assert results == []
    assert ended[0].reason is Reason.WORKER_CRASHED
    assert "the manifest announces" in ended[0].detail
