"""What an update costs: time and bytes, whole and as a delta, on loopback and over 1 MB/s; memory; late events.

The controller is the real one, and so are the trust child and, for memory and late events, the agent with its worker at a real
broker. The model is a table of floats of which each inference reads one row, so that its size costs nothing but bytes. Beside
it in the same run: `urllib` and SHA-256 over the same file and the same link, `xdelta3` for the delta's size, 75 MB for memory.
"""

import hashlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import bench_world as world
from benchmarks.figures import Figure, quick, write
from benchmarks.swap import Scored, desire, judge, read
from benchmarks.update_world import Controller, Device, controller
from edge_agent.updates.trust.job import Base
from fleet_contract.trust import TARGETS_PATH
from fleet_controller.demo.proxy import Proxy
from fleet_controller.registry.delta_making import make_delta

SIZES: Final = (20, 90)
"""MB of weights."""
LINK: Final = 1_000_000.0
"""Bytes per second of the slow link."""
ROUNDS: Final = 3
CHANGED: Final = 0.01
"""Share of the weights that a small release changes."""
MEMORY_LIMIT: Final = 75.0
"""MB above idle."""
LOOK: Final = 0.02
RATE: Final = 200.0
SECONDS: Final = 60.0
AFTER: Final = 15.0
"""Seconds of events before the release is desired."""
LATER_THAN: Final = 2.0
"""Times the steady p99: what counts as late."""


def make_weights(seed: int, megabytes: int, kind: str) -> Any:
    """Float32 rows of four: `old`, `changed` in 1 % of them, or `tuned` in each."""
    import numpy as np

    random = np.random.default_rng(seed)
    weights = (random.normal(size=megabytes * 250_000) * 0.02).astype(np.float32)
    if kind == "changed":
        places = random.choice(weights.size, int(weights.size * CHANGED), replace=False)
        weights[places] += (random.normal(size=places.size) * 0.001).astype(np.float32)
    elif kind == "tuned":
        weights += (random.normal(size=weights.size) * 0.0005).astype(np.float32)
    return weights.reshape(-1, 4)


def make_model(path: Path, weights: Any) -> None:
    """A row of the table, chosen by the input, times the input."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rows = weights.shape[0]
    constants = [
        numpy_helper.from_array(weights, "table"),
        helper.make_tensor("first", TensorProto.INT64, [], [0]),
        helper.make_tensor("rows", TensorProto.INT64, [], [rows]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("Gather", ["features", "first"], ["a"], axis=1),
        helper.make_node("Abs", ["a"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mod", ["whole", "rows"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["weights"], axis=0),
        helper.make_node("Mul", ["weights", "features"], ["products"]),
        helper.make_node("ReduceSum", ["products", "axis"], ["sum"], keepdims=1),
        helper.make_node("Sigmoid", ["sum"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def make_bundles(folder: Path, megabytes: int) -> dict[str, Path]:
    """`old`, `tuned` and `changed`, for releases of one model."""
    found = {}
    for number, kind in enumerate(("old", "tuned", "changed"), 1):
        model = folder / f"{kind}.onnx"
        make_model(model, make_weights(7, megabytes, kind))
        place = folder / kind
        place.mkdir()
        found[kind] = world.make_bundle(place, world.MODEL, model, f"{number}.0.0")
        model.unlink()
    return found


def digest_of(path: Path) -> str:
    """`sha256:` and hex."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class Cost:
    """Seconds and bytes of several rounds."""

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)


def fetch(folder: Path, service: Controller, port: int, release: int, base: Base | None) -> tuple[float, float]:
    """One update by a fresh trust child; seconds and MB received."""
    device = Device(folder, service.root, f"http://127.0.0.1:{port}", token=service.token, model=world.MODEL)
    start = time.perf_counter()
    done = device.run(release=release, base=base, timeout=30.0).done
    seconds = time.perf_counter() - start
    shutil.rmtree(folder)
    return seconds, done.received / 1e6


def plain_download(folder: Path, service: Controller, port: int, release: int, digest: str) -> float:
    """What anyone would write: `urllib` to a file, and its hash; seconds."""
    sha256 = digest.removeprefix("sha256:")
    url = f"http://127.0.0.1:{port}{TARGETS_PATH}models/{world.MODEL}/{sha256}.{release}.tar"
    code = (
        "import hashlib, shutil, sys, urllib.request as u\n"
        "r = u.Request(sys.argv[1], headers={'Authorization': 'Bearer ' + sys.argv[2]})\n"
        "with u.urlopen(r) as a, open(sys.argv[3], 'wb') as f: shutil.copyfileobj(a, f)\n"
        "with open(sys.argv[3], 'rb') as f: assert hashlib.file_digest(f, 'sha256').hexdigest() == sys.argv[4]\n"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, url, service.token, str(folder / "plain"), sha256], check=True)
    seconds = time.perf_counter() - start
    (folder / "plain").unlink()
    return seconds


def time_and_bytes(folder: Path, megabytes: int) -> list[Figure]:
    """Of one size, on both links."""
    bundles = make_bundles(folder, megabytes)
    digests = {kind: digest_of(path) for kind, path in bundles.items()}
    base = Base(path=str(bundles["old"]), digest=digests["old"])
    name = f"{megabytes}_mb"
    figures = []
    with controller(folder, world.free_port(), world.free_port()) as service:
        for path in bundles.values():
            service.publish(path)
        # From both others to the newest: the one from `tuned` is thrown away, as it saves too little.
        wait_for_deltas(service)
        (delta,) = service.deltas.glob("*.delta")
        small = delta.stat().st_size / 1e6
        start = time.perf_counter()
        make_delta(bundles["old"], bundles["changed"], folder / "again.delta")
        making = time.perf_counter() - start
        for link, rounds in (("loopback", 1 if quick() else ROUNDS), ("1_mb_per_s", 1)):
            if link != "loopback" and quick():
                continue
            proxy = Proxy(service.port)
            if link != "loopback":
                proxy.slow(LINK)
            costs: dict[str, Cost] = {}
            plain: list[float] = []
            for number in range(rounds):
                print(f"updates: {name}, {link}, round {number + 1}", flush=True)
                for kind, release, given in (("whole", 3, None), ("delta", 3, base), ("fine_tune", 2, base)):
                    if kind == "fine_tune" and link != "loopback":
                        continue  # it is fetched whole, as the loopback's bytes show
                    seconds, received = fetch(folder / f"{kind}-{link}-{number}", service, proxy.port, release, given)
                    cost = costs.setdefault(kind, Cost())
                    cost.seconds.append(seconds)
                    cost.megabytes.append(received)
                plain.append(plain_download(folder, service, proxy.port, 3, digests["changed"]))
            proxy.close()
            for kind, cost in costs.items():
                figures.append(Figure(f"{name}_{kind}_{link}_seconds", "s", cost.seconds, plain, "urllib_and_sha256_whole"))
            whole = [bundles["changed"].stat().st_size / 1e6]
            if link == "loopback":
                figures += [
                    Figure(f"{name}_{kind}_received", "MB", cost.megabytes, whole, "bundle") for kind, cost in costs.items()
                ]
        reference, other = xdelta(folder, bundles)
        figures.append(Figure(f"{name}_delta_size", "MB", [small], [reference], other))
        figures.append(Figure(f"{name}_delta_making", "s", [making], [0.0], "none"))
    return figures


def wait_for_deltas(service: Controller) -> None:
    """Until the service has tried both, so that it does not work beside what is measured."""
    world.wait_for(lambda: len([*service.deltas.glob("*.none"), *service.deltas.glob("*.delta")]) == 2, 600)


def xdelta(folder: Path, bundles: dict[str, Path]) -> tuple[float, str]:
    """MB of the same delta by xdelta3, if it is there."""
    if shutil.which("xdelta3") is None:
        return 0.0, "none (apt-get install xdelta3)"
    out = folder / "xdelta"
    size = str(512 * 1024**2)
    command = ["xdelta3", "-e", "-9", "-f", "-B", size, "-s", str(bundles["old"]), str(bundles["changed"]), str(out)]
    subprocess.run(command, check=True)
    return out.stat().st_size / 1e6, "xdelta3_-9"


class Watch:
    """Samples the memory of an agent's whole tree, and notes when a trust child was in it."""

    def __init__(self, subject: world.Subject) -> None:
        self._subject = subject
        self._stop = threading.Event()
        self.idle: list[float] = []
        self.fetching: list[float] = []
        self.child: list[float] = []
        """The trust child alone."""
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(LOOK):
            total, child = 0.0, 0.0
            for process in self._subject.tree():
                megabytes = (world.memory_of(process.pid) or 0) / 1e6
                total += megabytes
                try:
                    if any("trust_child" in part for part in process.cmdline()):
                        child += megabytes
                except psutil.Error:
                    continue
            if child:
                self.fetching.append(total)
                self.child.append(child)
            elif not self.fetching:
                self.idle.append(total)

    def stop(self) -> None:
        """No more samples."""
        self._stop.set()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class Lived:
    """One update of a real agent; memory in MB."""

    idle: float
    peak: float
    child: float
    steady_p99: float
    late_swap: float
    late_trial: float
    worst_swap: float
    seconds: float
    lost: float


def count_late(results: Sequence[Scored], since: float, until: float, limit_ms: float) -> float:
    """Events sent in between whose results came later than `limit_ms`."""
    return float(sum(since <= item.sent < until and (item.arrived - item.sent) * 1000 > limit_ms for item in results))


def live(folder: Path, service: Controller, old: Path) -> Lived:
    """An agent under load is told to take release 2, which comes as a delta."""
    folder.mkdir()
    with world.broker(folder) as port:
        world.prepare_session(port)
        world.install_bundle(folder / "state", old)
        config = world.write_config(folder, port, model=True, values="abcd")
        (folder / "root.json").write_bytes(service.root)
        (folder / "token").write_text(service.token)
        with config.open("a") as file:
            file.write(f'[updates]\nurl = "http://127.0.0.1:{service.port}"\n')
            file.write(f'token_file = "{folder}/token"\nroot_file = "{folder}/root.json"\n[updates.shadow]\ninputs = 50\n')
        arrivals = world.Arrivals(folder, port, "sh/v1/dut/up/result/bench")
        subject = world.Subject(world.Command(world.agent_command(config)), folder / "log")
        try:
            world.queue_events(port, 1)
            world.wait_for(lambda: arrivals.count() >= 1, 60)
            arrivals.close()
            arrivals = world.Arrivals(folder, port, "sh/v1/dut/up/result/bench")
            told: list[float] = []
            watch: list[Watch] = []
            threading.Timer(AFTER / 2, lambda: watch.append(Watch(subject))).start()
            trigger = threading.Timer(AFTER, lambda: told.append(desire(port)))
            trigger.start()
            sent = world.publish_paced(port, RATE, SECONDS, 0)
            trigger.join()
            world.wait_for(lambda: arrivals.count() >= sent, 60)
            watch[0].stop()
            results = read(arrivals.lines())
            found = judge(results, sent, told[0])
            switched = told[0] + found.seconds
            limit = found.steady_p99 * LATER_THAN
            idle = statistics.median(watch[0].idle)
            return Lived(
                idle=idle,
                peak=max(watch[0].fetching) - idle,
                child=max(watch[0].child),
                steady_p99=found.steady_p99,
                late_swap=count_late(results, switched - 0.5, switched + 0.5, limit),
                late_trial=count_late(results, told[0], switched - 0.5, limit),
                worst_swap=found.swap_worst,
                seconds=found.seconds,
                lost=float(found.account.lost),
            )
        finally:
            subject.stop()
            arrivals.close()


def memory_and_late_events(folder: Path) -> list[Figure]:
    """A delta to the large model, on an agent that answers meanwhile."""
    bundles = make_bundles(folder, SIZES[0] if quick() else SIZES[-1])
    with controller(folder, world.free_port(), world.free_port()) as service:
        for kind in ("old", "changed"):
            service.publish(bundles[kind])
        world.wait_for(lambda: bool(list(service.deltas.glob("*.delta"))), 600)
        rounds = []
        for number in range(1 if quick() else ROUNDS):
            print(f"updates: a live agent, round {number + 1}", flush=True)
            rounds.append(live(folder / f"live-{number}", service, bundles["old"]))
    none, limit = [0.0] * len(rounds), [MEMORY_LIMIT] * len(rounds)
    steady = [item.steady_p99 for item in rounds]
    return [
        Figure("tree_idle", "MB PSS", [item.idle for item in rounds], none, "none"),
        Figure("tree_above_idle_at_peak", "MB PSS", [item.peak for item in rounds], limit, "limit"),
        Figure("trust_child_at_peak", "MB PSS", [item.child for item in rounds], none, "none"),
        Figure("desired_to_first_answer", "s", [item.seconds for item in rounds], none, "none"),
        Figure("missed", "events", [item.lost for item in rounds], none, "goal"),
        Figure("late_around_the_swap", "events", [item.late_swap for item in rounds], none, "goal"),
        Figure("late_from_desired_to_swap", "events", [item.late_trial for item in rounds], none, "none"),
        Figure("worst_around_the_swap", "ms", [item.worst_swap for item in rounds], steady, "steady_p99"),
    ]


def main() -> None:
    """Measure and write the figures."""
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for megabytes in SIZES[:1] if quick() else SIZES:
            folder = Path(name) / f"{megabytes}"
            folder.mkdir()
            figures += time_and_bytes(folder, megabytes)
            shutil.rmtree(folder)
        folder = Path(name) / "live"
        folder.mkdir()
        figures += memory_and_late_events(folder)
    write("updates", figures)


if __name__ == "__main__":
    main()
