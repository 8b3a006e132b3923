"""What a benchmark run needs: a broker on loopback, an agent with or without a model, and a load of known events."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.health.probes import memory_of
from edge_agent.inference.bundle_store import BundleStore
from edge_agent.journal.batch import Batch
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from edge_agent.updates.ledger import Installed, Ledger
from edge_agent.updates.store import LEDGER_KEY
from fleet_contract.messages import DesiredModel
from fleet_controller.demo.brokers import find_mosquitto

MODEL: Final = "bench"
FIELD_EVENT_BYTES: Final = 256
CONNECT_SECONDS: Final = 0.3
"""What one of Mosquitto's clients takes to start and connect, and more."""
MakeEvent = Callable[[int, float], bytes]
"""(number, seconds since 1970 when it was sent) to a payload."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Mosquitto without persistence, so that its disk is not what is measured; yields the port."""
    program = find_mosquitto()
    if program is None or shutil.which("mosquitto_sub") is None:
        raise SystemExit("the benchmarks need a broker and its clients: apt-get install mosquitto mosquitto-clients")
    port = free_port()
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 100\n"
        "set_tcp_nodelay true\nlog_type error\n"
    )
    process = subprocess.Popen([program, "-c", str(configuration)])
    try:
        wait_for(lambda: _listens(port), 10)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_for(done: Any, seconds: float) -> None:
    """Poll until `done()`; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError("the benchmark's condition did not come about")
        time.sleep(0.01)


def prepare_session(port: int) -> None:
    """Leave a session of the device under test at the broker, so that events wait for it."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="dut-site", protocol=paho.MQTTv5)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    done: list[int] = []
    client.on_connect = lambda *_: client.subscribe("bench/in", qos=1)
    client.on_subscribe = lambda *_: done.append(1)
    client.connect("127.0.0.1", port, clean_start=True, properties=properties)
    client.loop_start()
    wait_for(lambda: bool(done), 10)
    client.disconnect()
    client.loop_stop()


def event(number: int, sent: float) -> bytes:
    """One event of four readings; `sent` (seconds since 1970) is in its id."""
    return json.dumps(
        {
            "id": f"{number}-{sent:.6f}",
            "time": f"2024-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z",
            "a": number % 7 + 0.25,
            "b": 3.5,
            "c": -1.25,
            "d": number % 11,
        },
        separators=(",", ":"),
    ).encode()


def field_event(number: int, sent: float) -> bytes:
    """The same readings as a station in the field sends them, among others of its own: 256 bytes."""
    document = json.loads(event(number, sent)) | {
        "station": "north-barn-07",
        "firmware": "2.14.3",
        "battery": 3.61,
        "rssi": -97,
        "location": {"lat": 52.09, "lon": 5.12},
        "note": "",
    }
    document["note"] = "." * (FIELD_EVENT_BYTES - len(json.dumps(document, separators=(",", ":"))))
    return json.dumps(document, separators=(",", ":")).encode()


def queue_events(port: int, count: int, make: MakeEvent = event) -> None:
    """Publish at QoS 1 while the device under test is away; each is acknowledged by the broker when this returns."""
    lines = b"\n".join(make(number, 0.0) for number in range(count)) + b"\n"
    subprocess.run(publish_command(port), input=lines, check=True, timeout=300)


def publish_paced(port: int, rate: float, seconds: float, first: int, make: MakeEvent = event) -> int:
    """Publish at `rate` events per second for a while, numbered from `first`; returns how many."""
    count = int(rate * seconds)
    with subprocess.Popen(publish_command(port), stdin=subprocess.PIPE, bufsize=0) as publisher:
        if publisher.stdin is None:
            raise RuntimeError("a publisher without a pipe")
        time.sleep(CONNECT_SECONDS)  # what is written before it is connected would be late from the start
        start = time.monotonic()
        for number in range(count):
            wait = start + number / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            publisher.stdin.write(make(first + number, time.time()) + b"\n")
        publisher.stdin.close()
        if publisher.wait(30):
            raise RuntimeError(f"mosquitto_pub ended with status {publisher.returncode}")
    return count


def publish_command(port: int) -> list[str]:
    """A publisher in C that sends each line of its standard input at QoS 1, so that the load costs little."""
    topic = ["-t", "bench/in", "-q", "1", "-V", "5", "-i", "bench-load"]
    return ["mosquitto_pub", "-p", str(port), *topic, "--nodelay", "-l"]


class Arrivals:
    """A subscriber in C that writes down when each result arrived, so that the measuring costs little."""

    def __init__(self, folder: Path, port: int, topic: str) -> None:
        self.path = folder / f"arrivals-{time.monotonic_ns()}"
        with self.path.open("wb") as output:
            self._process = subprocess.Popen(
                ["mosquitto_sub", "-p", str(port), "-q", "1", "-t", topic, "-V", "5", "-F", "%U %p"], stdout=output
            )
        time.sleep(CONNECT_SECONDS)

    def count(self) -> int:
        """Lines so far."""
        return self.path.read_bytes().count(b"\n")

    def times(self) -> list[float]:
        """When each arrived, seconds since 1970."""
        return [float(line.split(b" ", 1)[0]) for line in self.path.read_bytes().splitlines() if line]

    def lines(self) -> list[bytes]:
        """Each result as it came, its time before it."""
        return [line for line in self.path.read_bytes().splitlines() if line]

    def latencies(self) -> list[float]:
        """Seconds from sending to arrival, read from the event's id in the result."""
        return [arrived - float(match[2]) for arrived, match in self._with_ids()]

    def numbers(self) -> list[int]:
        """The number of each result's event."""
        return [int(match[1]) for _, match in self._with_ids()]

    def _with_ids(self) -> Iterator[tuple[float, re.Match[bytes]]]:
        for line in self.path.read_bytes().splitlines():
            match = re.search(rb'"(?:ids":\[)?(?:id":)?"?([0-9]+)-([0-9]+\.[0-9]{6})"', line)
            if match:
                yield float(line.split(b" ", 1)[0]), match

    def close(self) -> None:
        """End the subscriber."""
        self._process.terminate()
        self._process.wait(10)


def make_model(path: Path) -> None:
    """A small ONNX model: four features, a dense layer of sixteen and one score."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(7)
    weights = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in (("w1", (4, 16)), ("b1", (16,)), ("w2", (16, 1)), ("b2", (1,)))
    ]
    nodes = [
        helper.make_node("Gemm", ["features", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


def write_bundle(folder: Path, name: str, model: Path, manifest: str, golden: dict[str, Any]) -> Path:
    """A bundle's tar; `manifest` names the file `model.onnx`."""
    source = folder / f"{name}-source"
    source.mkdir(parents=True)
    shutil.copy(model, source / "model.onnx")
    (source / "golden.json").write_text(json.dumps([golden]))
    (source / "model.toml").write_text(manifest)
    path = folder / f"{name}.tar"
    with tarfile.open(path, "w") as tar:
        for entry in sorted(source.iterdir()):
            tar.add(entry, entry.name)
    shutil.rmtree(source)
    return path


def make_bundle(folder: Path, name: str, model: Path, version: str = "1.0.0") -> Path:
    """The model of `make_model` as a bundle that takes the last of four readings."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    score = float(session.run(None, {"features": np.array([[1, 2, 3, 4]], np.float32)})[0][0, 0])
    features = ", ".join(f'{{ op = "last", input = "{name}" }}' for name in "abcd")
    inputs = ", ".join(f'{{ name = "{name}" }}' for name in "abcd")
    manifest = (
        f'schema = 1\nname = "{name}"\nversion = "{version}"\ntask = "anomaly"\nruntime = "onnx"\nfile = "model.onnx"\n'
        f'golden = "golden.json"\nkind = "window"\ninputs = [{inputs}]\nfeatures = [{features}]\nlicence = "Apache-2.0"\n'
        'input_tensor = { name = "features", dtype = "float32", shape = [-1, 4] }\n'
        'output_tensor = { name = "scores", dtype = "float32", shape = [-1, 1] }\n'
    )
    golden = {"window": {"a": [1], "b": [2], "c": [3], "d": [4]}, "scores": [score], "tolerance": 0.001}
    return write_bundle(folder, name, model, manifest, golden)


def install_model(state_dir: Path, model: Path, *, kept: bool = False) -> None:
    """Put the model into the agent's state folder as an update would have, as release 1.

    With `kept` there is a release 2 from earlier, the same under another version: who desires it needs no network.
    """
    bundles = BundleStore(state_dir / "models")
    active = _installed(bundles, model, 1)
    _record(state_dir, active, {MODEL: _installed(bundles, model, 2)} if kept else {})


def install_bundle(state_dir: Path, bundle: Path) -> None:
    """The same with a bundle that was made before; the file stays where it is."""
    bundles = BundleStore(state_dir / "models")
    _record(state_dir, _store(bundles, Path(shutil.copy(bundle, bundles.incoming())), 1), {})


def _record(state_dir: Path, active: Installed, before: dict[str, Installed]) -> None:
    store = Store(state_dir / "agent.db", StoreSettings(), lambda call, *arguments: call(*arguments))
    desired = {MODEL: DesiredModel(model=MODEL, release=1)}
    ledger = Ledger(revision=1, desired=desired, active={MODEL: active}, previous=before)
    store.submit(Batch(values={LEDGER_KEY: msgspec.msgpack.encode(ledger)}))
    store.close()


def _installed(bundles: BundleStore, model: Path, release: int) -> Installed:
    return _store(bundles, make_bundle(bundles.incoming(), MODEL, model, f"{release}.0.0"), release)


def _store(bundles: BundleStore, tar_path: Path, release: int) -> Installed:
    digest = "sha256:" + hashlib.sha256(tar_path.read_bytes()).hexdigest()
    bundles.add(tar_path, digest)
    version = f"{release}.0.0"
    return Installed(model=MODEL, release=release, version=version, digest=digest, since="2026-01-01T00:00:00Z")


def write_config(folder: Path, port: int, *, model: bool, health: str = "1h", values: str = "") -> Path:
    """One pipeline that answers each event; `values` are the readings that it takes, each a key of the payload."""
    path = folder / "agent.toml"
    chosen = "".join(f'values.{name} = "{name}"\n' for name in values)
    scored = f'model = "{MODEL}"\n' if model else ""
    path.write_text(
        f'device = "dut"\nstate_dir = "{folder}/state"\ncontrol_socket = "{folder}/c.sock"\nlog_level = "warning"\n'
        # what gathers before the second link is connected leaves at once: the event path is measured, not the drain
        f"[store]\ndrain_rate = 0\ndrain_jitter = 0\n"
        f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n[health]\ninterval = "{health}"\n'
        f'[[pipelines]]\nname = "bench"\n{scored}[pipelines.source]\ntopic = "bench/in"\n{chosen}'
    )
    return path


@dataclass(frozen=True, slots=True)
class Command:
    """What starts a process under test."""

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    """Beside what is inherited."""


class Subject:
    """The process under test and its children."""

    def __init__(self, command: Command, log: Path) -> None:
        environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"} | command.environment
        self.started = time.time()
        with log.open("ab") as output:
            self._process = subprocess.Popen(command.arguments, stdout=output, stderr=output, env=environment)
        self.process = psutil.Process(self._process.pid)

    def tree(self) -> list[psutil.Process]:
        """The process, and after it its living children."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """User and system time of the whole tree."""
        total = 0.0
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory_mb(self) -> list[float]:
        """Proportional set size of each process of the tree in MB, its first process first."""
        return [(memory_of(process.pid) or 0) / 1e6 for process in self.tree()]

    def stop(self) -> None:
        """End it at once, the whole tree."""
        children = self.process.children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, 10)


def agent_command(config: Path) -> list[str]:
    """How the daemon is started."""
    return [sys.executable, "-m", "edge_agent.cli", "run", "--config", str(config)]
