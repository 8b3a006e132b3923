"""The daemon's side of one worker process: start, ask, time out, kill, notice its end. All on the loop thread."""

import contextlib
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.inference import protocol
from edge_agent.inference.answers import Failure, ModelInput, Scored, TensorValue
from edge_agent.inference.bundle_store import Bundle, hex_of
from edge_agent.inference.run_plan import RunPlan, cpu_seconds
from edge_agent.inference.shared_memory import SharedMemory
from edge_agent.inference.worker_output import WorkerOutput
from edge_agent.loop import Loop, Timer
from fleet_contract.manifest import InputKind, Manifest, Tensor
from fleet_contract.reasons import Reason
from fleet_contract.tensors import element_bytes

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024
_STOP_SECONDS = 2.0
_RELEASE_SECONDS = 1.0
"""For so long shared memory stays allocated for the next batch: allocating it again takes three times as long as filling it."""
CANCEL_SECONDS = 1.0
"""The longest that a runtime may take to stop once it is told to; then the worker is killed."""
MOST_DETAIL = 1000
"""Characters of a worker's text that go into a note, which has to fit into an MQTT message."""
_PACKAGE = str(Path(__file__).resolve().parent.parent)
# The interpreter may be another one, with its own packages and without ours: it is shown the folder of `edge_agent` alone,
# because the folder around it would bring the daemon's compiled packages with it.
_START = (
    "import runpy, sys, types; package = types.ModuleType('edge_agent'); package.__path__ = [sys.argv.pop(1)]; "
    "sys.modules['edge_agent'] = package; runpy.run_module('edge_agent.inference.worker', run_name='__main__', alter_sys=True)"
)
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "TZ")


def child_environment(threads: int, home: str = "/nonexistent") -> dict[str, str]:
    """A worker's environment: no secrets of the daemon, no telemetry, no home to leave files in."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **kept,
        "HOME": home,
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def load_request(bundle: Bundle, plan: RunPlan) -> protocol.Load:
    """What a worker is told about a bundle."""
    manifest = bundle.manifest
    scaling = manifest.scaling
    return protocol.Load(
        bundle=str(bundle.path),
        digest=hex_of(bundle.digest),
        offset=bundle.entry.offset,
        size=bundle.entry.size,
        tokenizer=None if bundle.tokenizer is None else (bundle.tokenizer.offset, bundle.tokenizer.size),
        max_tokens=manifest.tokens.max_length,
        runtime=manifest.runtime.value,
        runtime_min=manifest.requirements.runtime_min,
        runtime_max=manifest.requirements.runtime_max,
        threads=plan.threads,
        spin=plan.spin,
        require=plan.require,
        on_missing=plan.on_missing.value,
        delegates=plan.delegates,
        cpu_seconds=cpu_seconds(plan, os.cpu_count() or 1),
        engine_cache=None if plan.engine_cache is None else f"{plan.engine_cache}/{hex_of(bundle.digest)}",
        inputs=tuple(item.name for item in manifest.inputs),
        features=tuple({"op": item.op, "input": item.input, "args": item.args} for item in manifest.features),
        mean=scaling.mean if scaling else None,
        scale=scaling.scale if scaling else None,
        input_tensors=tuple(_tensor(item) for item in manifest.file_inputs),
        output_tensor=_tensor(manifest.output_tensor),
        pooling=manifest.pooling.value,
        activation=manifest.activation.value,
        normalise=manifest.normalise,
    )


def _tensor(tensor: Tensor) -> protocol.TensorSpec:
    return protocol.TensorSpec(tensor.name, tensor.dtype, tensor.shape)


class WorkerProcess:
    """One worker. `on_ready` is called once if the model loads, `on_ended` once, unless `stop` was called."""

    def __init__(
        self,
        loop: Loop,
        bundle: Bundle,
        plan: RunPlan,
        on_ready: "Callable[[WorkerProcess, protocol.Ready], object]",
        on_ended: "Callable[[WorkerProcess, Failure], object]",
    ) -> None:
        """Start it. Raises OSError when the interpreter cannot be started."""
        self._loop = loop
        self._inputs = input_names(bundle.manifest)
        self._width = None if self._inputs is None else bundle.manifest.width
        self._on_ready, self._on_ended = on_ready, on_ended
        self._out = bytearray()
        self._number = 0
        self._waiting: tuple[int, int, Callable[[list[Scored]], object]] | None = None
        self._verdict: Failure | None = None
        self._stopped = False
        self.ready: protocol.Ready | None = None
        self.seconds = 0.0
        """That the last batch took, as the worker says: without the time that its answer waited for the loop."""
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as passed_on:
            self._memory = SharedMemory.create()
            undo.callback(self._memory.close)
            self._reader = protocol.Reader(self._memory)
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            passed_on.callback(theirs.close)
            listens, self._cancels = os.pipe2(os.O_CLOEXEC)
            undo.callback(os.close, self._cancels)
            passed_on.callback(os.close, listens)
            # A worker that reads no word of its late batches must not hold up the daemon when the pipe is full.
            os.set_blocking(self._cancels, False)
            python = plan.python or sys.executable
            shared = self._memory.for_worker
            descriptors = [theirs.fileno(), listens, *shared]
            arguments = [_PACKAGE, str(plan.memory_bytes), str(os.getpid()), *map(str, descriptors)]
            self._process = subprocess.Popen(
                [python, "-c", _START, *arguments],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=child_environment(plan.threads),
                cwd="/",
            )
            undo.callback(_end, self._process)
            self._pidfd = os.pidfd_open(self._process.pid)
            undo.pop_all()
        self._socket = ours
        ours.setblocking(False)
        if self._process.stderr is None:
            raise RuntimeError("a pipe was asked for")
        os.set_blocking(self._process.stderr.fileno(), False)
        self._output = WorkerOutput(loop, self._process.stderr, bundle.manifest.name, self._process.pid)
        loop.add_reader(ours.fileno(), self._readable)
        loop.add_reader(self._pidfd, self._exited)
        self._timer: Timer | None = None
        self._due = math.inf
        """When the batch under way is late, on the monotonic clock."""
        self._watch: Timer | None = None
        """Wakes up when the batch was due that it was set for. One for many batches: each has its deadline, few come to it."""
        self._release_timer: Timer | None = None
        self._arm(plan.load_timeout, Reason.LOAD_FAILED, f"the model was not loaded within {plan.load_timeout:g} s")
        self._send(protocol.pack(load_request(bundle, plan)))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def busy(self) -> bool:
        """Whether a batch is under way."""
        return self._waiting is not None

    def report_end_to(self, on_ended: "Callable[[WorkerProcess, Failure], object]") -> None:
        """Whom to tell of its end from now on: for handing a warm worker over."""
        self._on_ended = on_ended

    def run(self, items: Sequence[ModelInput], deadline: float, done: Callable[[list[Scored]], object]) -> None:
        """Score a batch, one at a time: `done` gets one entry for each item, unless the worker ends first.

        After `deadline` seconds the runtime is told to stop, and what it has not scored is a DEADLINE_EXCEEDED. If it does not
        listen either, the worker is killed, and `on_ended` gets the same reason.
        """
        if self._waiting is not None or self.ready is None:
            raise RuntimeError("a worker takes one batch at a time, once it is ready")
        self._number += 1
        try:
            frame = protocol.pack(*run_request(self._number, self._inputs, items), self._memory)
        except protocol.ProtocolError as error:
            self._run_less(items, deadline, done, str(error))
            return
        self._waiting = (self._number, len(items), done)
        self._due = time.monotonic() + deadline
        if self._watch is None:
            self._watch = self._loop.call_later(deadline, lambda: self._look(deadline))
        self._send(frame)

    def _look(self, deadline: float) -> None:
        self._watch = None
        if self._waiting is None or self._due == math.inf:
            return
        left = self._due - time.monotonic()
        if left > 0:
            self._watch = self._loop.call_later(left, lambda: self._look(deadline))
        else:
            self._cancel(deadline)

    def _run_less(
        self, items: Sequence[ModelInput], deadline: float, done: Callable[[list[Scored]], object], trouble: str
    ) -> None:
        """The batch is larger than a frame may be: half of it, and then the other half."""
        if len(items) == 1:
            self._loop.post(done, [Failure(Reason.TOO_LARGE, f"the input makes {trouble}")])
            return
        half = len(items) // 2
        self.run(items[:half], deadline, lambda first: self.run(items[half:], deadline, lambda rest: done(first + rest)))

    def stop(self) -> None:
        """End it without a word to `on_ended`; it is killed if it has not ended by itself soon."""
        if self._stopped:
            return
        self._stopped = True
        self._waiting = None
        self._disarm()
        self._close_socket()
        if self._process.returncode is None:
            self._timer = self._loop.call_later(_STOP_SECONDS, self.kill)

    def kill(self) -> None:
        """SIGKILL; its end is reported like any other."""
        if self._process.returncode is None:
            self._process.kill()

    @property
    def gone(self) -> bool:
        """Whether the process has ended and was reaped."""
        return self._process.returncode is not None

    # ---- the socket

    def _send(self, data: bytes) -> None:
        if not self._out:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # it has ended; `_exited` says so
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.add_writer(self._socket.fileno(), self._writable)
        self._out += data

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self._out.clear()
        else:
            del self._out[:sent]
        if not self._out:
            self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                # Closed by its end: the exit itself, and with it the reason, is noticed by `_exited`.
                self._close_socket()
                self.kill()
                return
            self._reader.feed(data)
            try:
                while (frame := self._reader.next()) is not None:
                    self._take(*frame)
            except protocol.ProtocolError as error:
                self._condemn(Failure(Reason.WORKER_CRASHED, f"the worker's answer is unreadable: {error}"))
                return
            if len(data) < _CHUNK:
                return

    def _take(self, header: protocol.Header, body: bytes) -> None:
        if isinstance(header, protocol.Ready) and self.ready is None:
            self._disarm()
            self.ready = header
            self._on_ready(self, header)
        elif isinstance(header, protocol.Failed) and self.ready is None:
            self._condemn(_failure(header.reason, Reason.LOAD_FAILED, header.detail))
        elif isinstance(header, protocol.Scores) and self._waiting is not None and header.number == self._waiting[0]:
            _, count, done = self._waiting
            results = read_scores(header, body, count)
            if (header.outputs is None) != (self._inputs is not None) or (self._width or header.width) != header.width:
                raise protocol.ProtocolError(f"{header.width} scores where the manifest announces {self._width}")
            self._waiting = None
            self.seconds = header.seconds
            self._disarm()
            if self._memory.held and self._release_timer is None:
                self._release_timer = self._loop.call_later(_RELEASE_SECONDS, self._release)
            done(results)
        elif not self._stopped:
            raise protocol.ProtocolError(f"{type(header).__name__} is out of place")

    # ---- the end

    def _condemn(self, verdict: Failure) -> None:
        if self._verdict is None:
            self._verdict = verdict
        self.kill()

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._process.wait()
        self._output.close()
        if self._socket.fileno() >= 0:
            self._readable()  # an answer that was sent before the end counts
        self._disarm()
        self._close_socket()
        if self._stopped:
            return
        if self._verdict is None:
            how = f"by signal {_signal_name(-code)}" if code < 0 else f"with status {code}"
            reason = Reason.LOAD_FAILED if self.ready is None else Reason.WORKER_CRASHED
            what = (
                "while it loaded the model" if self.ready is None else "while it scored" if self.busy else "while it was idle"
            )
            self._verdict = Failure(reason, f"the worker was ended {how} {what}")
        self._stopped = True
        self._on_ended(self, self._verdict)

    def _arm(self, delay: float, reason: Reason, text: str) -> None:
        self._disarm()
        self._timer = self._loop.call_later(delay, lambda: self._condemn(Failure(reason, text)))

    def _disarm(self) -> None:
        self._due = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self) -> None:
        """Give the shared memory back between two batches, or look again later."""
        self._release_timer = None
        if self.busy:
            self._release_timer = self._loop.call_later(_RELEASE_SECONDS, self._release)
        else:
            self._memory.release()

    def _cancel(self, deadline: float) -> None:
        """The batch is late: first the runtime's own way to end it, which costs the worker nothing."""
        if self._waiting is None:
            return
        number, count, _ = self._waiting
        with contextlib.suppress(OSError):  # it has ended; `_exited` says so
            os.write(self._cancels, protocol.CANCEL.pack(number))
        text = f"no answer to {count} inputs within {deadline:g} s, and the runtime does not stop"
        self._arm(min(deadline, CANCEL_SECONDS), Reason.DEADLINE_EXCEEDED, text)

    def _close_socket(self) -> None:
        if self._release_timer is not None:
            self._release_timer.cancel()
            self._release_timer = None
        self._memory.close()
        descriptor = self._socket.fileno()
        if descriptor >= 0:
            os.close(self._cancels)
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
            self._socket.close()
            self._out.clear()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """A process that nobody can watch."""
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _signal_name(number: int) -> str:
    """Most of the real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def input_names(manifest: Manifest) -> tuple[str, ...] | None:
    """The names of the window's inputs, in order; None for a model that is asked with tensors."""
    return None if manifest.kind is InputKind.TENSOR else tuple(item.name for item in manifest.inputs)


def run_request(
    number: int, inputs: Sequence[str] | None, items: Sequence[ModelInput]
) -> tuple[protocol.Run, list[protocol.Buffer]]:
    """The frame that asks for the scores of `items`, its body in parts; `inputs` as `input_names` gives them."""
    if inputs is None:
        return _tensors_request(number, items)
    lengths: list[list[int]] = []
    body = array("d")
    for item in items:
        counts = []
        for name in inputs:
            column = item.values.get(name, ())
            body.extend(math.nan if value is None else value for value in column)
            counts.append(len(column))
        body.extend(item.times)
        counts.append(len(item.times))
        lengths.append(counts)
    if sys.byteorder == "big":
        body.byteswap()
    texts = [item.text for item in items] if any(item.text is not None for item in items) else None
    return protocol.Run(number=number, lengths=lengths, texts=texts), [memoryview(body)]


def _tensors_request(number: int, items: Sequence[ModelInput]) -> tuple[protocol.Run, list[protocol.Buffer]]:
    tensors: list[list[protocol.TensorPart]] = []
    body: list[protocol.Buffer] = []
    for item in items:
        own = []
        for name, value in item.tensors.items():
            own.append(protocol.TensorPart(name, value.dtype, value.shape, memoryview(value.data).nbytes))
            body.append(value.data)
        tensors.append(own)
    return protocol.Run(number=number, lengths=[[] for _ in items], texts=None, tensors=tensors), body


def read_scores(header: protocol.Scores, body: bytes, count: int) -> list[Scored]:
    """One entry for each of `count` items; raises ProtocolError when the body is not what the header says."""
    given = _rows(header.width, body, count) if header.outputs is None else _tensors(header.outputs, body, count)
    results: list[Scored] = []
    for position, scores in enumerate(given):
        fault = header.faults.get(position)
        results.append(scores if fault is None else _failure(fault[0], Reason.BAD_OUTPUT, fault[1]))
    return results


def _rows(width: int, body: bytes, count: int) -> list[tuple[float, ...]]:
    scores = array("d")
    if len(body) != count * width * 8:
        raise protocol.ProtocolError(f"{len(body)} bytes for {count} items of {width} scores")
    scores.frombytes(body)
    if sys.byteorder == "big":
        scores.byteswap()
    return [tuple(scores[position * width : (position + 1) * width]) for position in range(count)]


def _tensors(outputs: Sequence[protocol.TensorPart], body: bytes, count: int) -> list[TensorValue]:
    if len(outputs) != count or sum(part.size for part in outputs) != len(body):
        raise protocol.ProtocolError(f"{len(body)} bytes in {len(outputs)} outputs for {count} items")
    values, at = [], 0
    for part in outputs:
        try:
            right = part.size == math.prod(part.shape) * element_bytes(part.dtype) and min(part.shape, default=0) >= 0
        except ValueError as error:
            raise protocol.ProtocolError(f"an output: {error}") from error
        if not right:
            raise protocol.ProtocolError(f"an output of {part.size} bytes, {part.dtype} {part.shape}")
        values.append(TensorValue(part.dtype, part.shape, body[at : at + part.size]))
        at += part.size
    return values


def _failure(code: str, otherwise: Reason, detail: str) -> Failure:
    """What a worker says of a model or an input. Its text may repeat names of the file, which can be of any length."""
    try:
        reason = Reason(code)
    except ValueError:
        reason = otherwise
    return Failure(reason, detail if len(detail) <= MOST_DETAIL else f"{detail[:MOST_DETAIL]} … ({len(detail)} characters)")
