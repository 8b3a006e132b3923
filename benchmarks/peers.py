"""The same job through our agent, through Node-RED and through a plain script: rate, latency, CPU, memory, start, and loss.

The job: a JSON event of 256 bytes from Mosquitto at QoS 1, a small ONNX model, the result at QoS 1. Ours keeps everything
durable on the way. Node-RED (`node_red/`) has a session that outlives it, as our agent has, so what waits there is never
lost; its function node runs the model in onnxruntime-node. The plain script is `plain_script.py`.

Rate and CPU: events wait at the broker while the subject is away; from the first tenth of the results to the last counts.
Start: from the process's start to the first result. Latency: paced at half of that rate. Memory: of the whole process tree,
proportional, after that load. Loss: under a steady load the subject's process tree gets SIGKILL again and again and is started
again at once; what the broker had acknowledged to its sender and has no result when all is over is lost. `QUICK=1` makes one
short round.
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks import bench_world as world
from benchmarks.figures import FOLDER, Figure, quick, write
from benchmarks.loss import Account, account
from benchmarks.subjects import AGENT, NODE_RED, PLAIN_SCRIPT, Program

EVENTS: Final = 20_000
PACED_SECONDS: Final = 5.0
ROUNDS: Final = 3
SKIP: Final = 0.1
"""Share of the results at either end that does not count: start and end of the stream."""
MAX_PACED: Final = 3000.0
"""Events per second: a load from the same two cores must not be what is measured."""
KILLS: Final = 10
LOSS_RATE: Final = 1000.0
"""Events per second while subjects are killed: all of them can keep up with it."""
LIFE_SECONDS: Final = 1.5
"""From a subject's first result to its next kill."""
QUIET_SECONDS: Final = 5.0


class Measured:
    """Values of several rounds for one subject."""

    def __init__(self) -> None:
        self.rate: list[float] = []
        self.cpu: list[float] = []
        self.p99: list[float] = []
        self.memory: list[float] = []
        self.start: list[float] = []
        self.lost: list[float] = []
        self.repeated: list[float] = []

    @property
    def per_cpu_second(self) -> list[float]:
        """Events for each second of CPU."""
        return [1e6 / microseconds for microseconds in self.cpu]


@contextlib.contextmanager
def laid_out(
    folder: Path, program: Program, model: Path, events: int
) -> Iterator[tuple[int, world.Arrivals, Callable[[], world.Subject]]]:
    """A broker where so many events wait, who listens for the results, and what starts the subject."""
    folder.mkdir()
    with world.broker(folder) as port:
        world.prepare_session(port)
        if events:
            world.queue_events(port, events, world.field_event)
        command = program.lay_out(folder, port, model)
        arrivals = world.Arrivals(folder, port, program.results)
        try:
            yield port, arrivals, lambda: world.Subject(command, folder / "log")
        finally:
            arrivals.close()


def measure_load(folder: Path, program: Program, model: Path, events: int, into: Measured) -> None:
    """Drain a queue, then paced events at half the rate."""
    with laid_out(folder, program, model, events) as (port, arrivals, start):
        subject = start()
        try:
            world.wait_for(lambda: arrivals.count() >= events * SKIP, 60)
            cpu, first = subject.cpu_seconds(), arrivals.count()
            world.wait_for(lambda: arrivals.count() >= events, 120)
            into.cpu.append((subject.cpu_seconds() - cpu) / (arrivals.count() - first) * 1e6)
            times = arrivals.times()
            into.start.append(times[0] - subject.started)
            low, high = int(events * SKIP), int(events * (1 - SKIP))
            rate = (high - low) / (times[high] - times[low])
            into.rate.append(rate)
            arrivals.close()
            with contextlib.closing(world.Arrivals(folder, port, program.results)) as paced:
                sent = world.publish_paced(port, min(rate / 2, MAX_PACED), PACED_SECONDS, events, world.field_event)
                world.wait_for(lambda: paced.count() >= sent, 60)
                latencies = paced.latencies()
            into.p99.append(statistics.quantiles(latencies, n=100)[-1] * 1000)
            into.memory.append(sum(subject.memory_mb()))
        finally:
            subject.stop()


def measure_loss(folder: Path, program: Program, model: Path, kills: int) -> Account:
    """Kill the subject so many times under a steady load, start it again at once, and let it finish in the end."""
    with laid_out(folder, program, model, 0) as (port, arrivals, start), ThreadPoolExecutor(1) as pool:
        load = pool.submit(world.publish_paced, port, LOSS_RATE, kills * LIFE_SECONDS * 4, 0, world.field_event)
        for _ in range(kills):
            subject = start()
            try:
                before = arrivals.count()
                world.wait_for(lambda: arrivals.count() > before, 60)  # noqa: B023  it is called before the next turn
                time.sleep(LIFE_SECONDS)
            finally:
                subject.stop()
        subject = start()
        try:
            sent = load.result()
            _wait_until_quiet(arrivals)
        finally:
            subject.stop()
        return account(sent, arrivals.numbers())


def _wait_until_quiet(arrivals: world.Arrivals) -> None:
    """Until no result has come for a while: then none comes any more."""
    count, since = arrivals.count(), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(0.1)
        if arrivals.count() != count:
            count, since = arrivals.count(), time.monotonic()


def main() -> None:
    """Measure the three in turn and write the figures."""
    rounds, events, kills = (1, EVENTS // 4, 2) if quick() else (ROUNDS, EVENTS, KILLS)
    programs = (AGENT, NODE_RED, PLAIN_SCRIPT)
    measured = {program: Measured() for program in programs}
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:  # on a disk, for ours keeps everything
        folder = Path(name).resolve()
        model = folder / "bench.onnx"
        world.make_model(model)
        for number in range(rounds):
            for program, into in measured.items():
                print(f"peers: round {number + 1} of {rounds}: {program.name}", flush=True)
                measure_load(folder / f"{program.name}-load-{number}", program, model, events, into)
                loss = measure_loss(folder / f"{program.name}-loss-{number}", program, model, kills)
                into.lost.append(loss.lost)
                into.repeated.append(loss.repeated)
    ours = measured[AGENT]
    figures = []
    for program in (NODE_RED, PLAIN_SCRIPT):
        other = measured[program]
        figures += [
            Figure("events_per_second", "1/s", ours.rate, other.rate, program.name),
            Figure("p99_at_half_load", "ms", ours.p99, other.p99, program.name),
            Figure("cpu_per_event", "us", ours.cpu, other.cpu, program.name),
            Figure("events_per_cpu_second", "1/s", ours.per_cpu_second, other.per_cpu_second, program.name),
            Figure("tree_memory_mb", "MB PSS", ours.memory, other.memory, program.name),
            Figure("start_to_first_result_seconds", "s", ours.start, other.start, program.name),
            Figure("lost_when_killed", f"in {kills} kills", ours.lost, other.lost, program.name),
            Figure("repeated_when_killed", f"in {kills} kills", ours.repeated, other.repeated, program.name),
        ]
    write("peers", figures)
