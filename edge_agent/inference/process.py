"""The daemon's side of one worker process: start, ask, time out, kill, notice its end. All on the loop thread."""

import logging
import math
import os
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.inference import protocol
from edge_agent.inference.answers import Failure, ModelInput, Scored
from edge_agent.inference.bundle_store import Bundle, hex_of
from edge_agent.inference.run_plan import RunPlan
from edge_agent.loop import Loop, Timer
from fleet_contract.reasons import Reason

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024
_STOP_SECONDS = 2.0
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
        runtime=manifest.runtime.value,
        runtime_min=manifest.requirements.runtime_min,
        threads=plan.threads,
        spin=plan.spin,
        require=plan.require,
        on_missing=plan.on_missing.value,
        delegates=plan.delegates,
        inputs=tuple(item.name for item in manifest.inputs),
        features=tuple({"op": item.op, "input": item.input, "args": item.args} for item in manifest.features),
        mean=scaling.mean if scaling else None,
        scale=scaling.scale if scaling else None,
        input_tensors=(_tensor(manifest.input_tensor.name, manifest.input_tensor.dtype, manifest.input_tensor.shape),),
        output_tensor=_tensor(manifest.output_tensor.name, manifest.output_tensor.dtype, manifest.output_tensor.shape),
    )


def _tensor(name: str, dtype: str, shape: tuple[int, ...]) -> protocol.TensorSpec:
    return protocol.TensorSpec(name, dtype, shape)


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
        self._inputs = tuple(item.name for item in bundle.manifest.inputs)
        self._on_ready, self._on_ended = on_ready, on_ended
        self._reader = protocol.Reader()
        self._out = bytearray()
        self._number = 0
        self._waiting: tuple[int, int, Callable[[list[Scored]], object]] | None = None
        self._verdict: Failure | None = None
        self._stopped = False
        self.ready: protocol.Ready | None = None
        ours, theirs = socket.socketpair()
        try:
            python = plan.python or sys.executable
            arguments = [_PACKAGE, str(theirs.fileno()), str(plan.memory_bytes), str(os.getpid())]
            self._process = subprocess.Popen(
                [python, "-c", _START, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=child_environment(plan.threads),
                cwd="/",
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._socket = ours
        ours.setblocking(False)
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(ours.fileno(), self._readable)
        loop.add_reader(self._pidfd, self._exited)
        self._timer: Timer | None = None
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

        After `deadline` seconds the worker is killed, and `on_ended` gets DEADLINE_EXCEEDED.
        """
        if self._waiting is not None or self.ready is None:
            raise RuntimeError("a worker takes one batch at a time, once it is ready")
        self._number += 1
        request, body = run_request(self._number, self._inputs, items)
        self._waiting = (self._number, len(items), done)
        self._arm(deadline, Reason.DEADLINE_EXCEEDED, f"no answer to {len(items)} inputs within {deadline:g} s")
        self._send(protocol.pack(request, body))

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
            self._condemn(Failure(_reason(header.reason, Reason.LOAD_FAILED), header.detail))
        elif isinstance(header, protocol.Scores) and self._waiting is not None and header.number == self._waiting[0]:
            _, count, done = self._waiting
            results = read_scores(header, body, count)
            self._waiting = None
            self._disarm()
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
        if self._socket.fileno() >= 0:
            self._readable()  # an answer that was sent before the end counts
        self._disarm()
        self._close_socket()
        if self._stopped:
            return
        if self._verdict is None:
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_socket(self) -> None:
        descriptor = self._socket.fileno()
        if descriptor >= 0:
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
            self._socket.close()
            self._out.clear()


def run_request(number: int, inputs: Sequence[str], items: Sequence[ModelInput]) -> tuple[protocol.Run, bytes]:
    """The frame that asks for the scores of `items`; `inputs` are the names of the window's inputs, in order."""
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
    return protocol.Run(number=number, lengths=lengths, texts=texts), body.tobytes()


def read_scores(header: protocol.Scores, body: bytes, count: int) -> list[Scored]:
    """One entry for each of `count` items; raises ProtocolError when the body has another size."""
    scores = array("d")
    if len(body) != count * header.width * 8:
        raise protocol.ProtocolError(f"{len(body)} bytes for {count} items of {header.width} scores")
    scores.frombytes(body)
    if sys.byteorder == "big":
        scores.byteswap()
    results: list[Scored] = []
    for position in range(count):
        fault = header.faults.get(position)
        if fault is not None:
            results.append(Failure(_reason(fault[0], Reason.BAD_OUTPUT), fault[1]))
        else:
            results.append(tuple(scores[position * header.width : (position + 1) * header.width]))
    return results


def _reason(code: str, otherwise: Reason) -> Reason:
    try:
        return Reason(code)
    except ValueError:
        return otherwise
