"""Events per second, latency and CPU of the event path, beside a bare paho echo and beside a user's plain script.

Throughput: events wait at the broker while the subject is away; from the first result to the last one counts, so neither the
load nor the start of the process is in the figure. Latency: paced at half of that rate. Everything on one machine, the
subjects in turn, each several times.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import bench_world as world
from benchmarks.figures import Figure, write

EVENTS: Final = 20_000
PACED_SECONDS: Final = 4.0
MAX_PACED: Final = 2000.0
"""Events per second: a load from the same two cores must not be what is measured."""
ROUNDS: Final = 3
SKIP: Final = 0.1
"""Share of the results at either end that does not count: start and end of the stream."""


class Measured:
    """Values of several rounds for one subject."""

    def __init__(self) -> None:
        self.rate: list[float] = []
        self.cpu: list[float] = []
        self.p50: list[float] = []
        self.p99: list[float] = []


def measure(folder: Path, kind: str, model: Path, into: Measured) -> None:
    """One round of one subject: drain a queue, then paced events at half the rate."""
    folder.mkdir()
    with world.broker(folder) as port:
        world.prepare_session(port)
        world.queue_events(port, EVENTS)
        ours = kind in ("echo", "scoring")
        arrivals = world.Arrivals(folder, port, "sh/v1/dut/up/result/bench" if ours else "bench/out")
        if ours:
            if kind == "scoring":
                world.install_model(folder / "state", model)
            config = world.write_config(folder, port, model=kind == "scoring")
            subject = world.Subject(world.Command(world.agent_command(config)), folder / "log")
        else:
            command = [sys.executable, "-m", "benchmarks.plain_script", kind, str(port), str(model)]
            subject = world.Subject(world.Command(command), folder / "log")
        try:
            world.wait_for(lambda: arrivals.count() >= EVENTS * SKIP, 60)
            cpu, first = subject.cpu_seconds(), arrivals.count()
            world.wait_for(lambda: arrivals.count() >= EVENTS, 120)
            into.cpu.append((subject.cpu_seconds() - cpu) / (arrivals.count() - first) * 1e6)
            times = arrivals.times()
            low, high = int(EVENTS * SKIP), int(EVENTS * (1 - SKIP))
            rate = (high - low) / (times[high] - times[low])
            into.rate.append(rate)
            arrivals.close()
            arrivals = world.Arrivals(folder, port, "sh/v1/dut/up/result/bench" if ours else "bench/out")
            paced = min(rate / 2, MAX_PACED)
            sent = world.publish_paced(port, paced, PACED_SECONDS, EVENTS)
            world.wait_for(lambda: arrivals.count() >= sent, 60)
            latencies = sorted(arrivals.latencies())
            into.p50.append(statistics.median(latencies) * 1000)
            into.p99.append(latencies[int(len(latencies) * 0.99)] * 1000)
        finally:
            subject.stop()
            arrivals.close()


def main() -> None:
    """Measure the four subjects in turn and write the figures."""
    subjects = {"echo": Measured(), "bare": Measured(), "scoring": Measured(), "scored": Measured()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "bench.onnx"
        world.make_model(model)
        for number in range(ROUNDS):
            for kind, into in subjects.items():
                print(f"event_path: round {number + 1} of {ROUNDS}: {kind}", flush=True)
                measure(folder / f"{kind}-{number}", kind, model, into)
    echo, bare, scoring, plain = subjects.values()
    figures = [
        Figure("durable_echo_events_per_second", "1/s", echo.rate, bare.rate, "bare_paho_echo"),
        Figure("durable_echo_cpu_per_event", "us", echo.cpu, bare.cpu, "bare_paho_echo"),
        Figure("durable_echo_p50", "ms", echo.p50, bare.p50, "bare_paho_echo"),
        Figure("durable_echo_p99", "ms", echo.p99, bare.p99, "bare_paho_echo"),
        Figure("scored_events_per_second", "1/s", scoring.rate, plain.rate, "plain_script"),
        Figure("scored_events_per_second", "1/s", scoring.rate, bare.rate, "bare_paho_echo"),
        Figure("scored_cpu_per_event", "us", scoring.cpu, plain.cpu, "plain_script"),
        Figure("scored_p50", "ms", scoring.p50, plain.p50, "plain_script"),
        Figure("scored_p99", "ms", scoring.p99, plain.p99, "plain_script"),
    ]
    write("event_path", figures)
