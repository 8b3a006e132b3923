"""Memory of daemon and worker, cold start to the first result, and CPU while idle, beside a user's plain script.

The plain script (paho and ONNX Runtime in one process, no durability) is the least that does the same inference.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks import bench_world as world
from benchmarks.figures import Figure, write
from edge_agent.health.probes import memory_of

ROUNDS: Final = 3
IDLE_SECONDS: Final = 60.0


def start(folder: Path, port: int, ours: bool) -> tuple[world.Subject, float]:
    """Start the subject with one event waiting for it; returns it and the seconds to its first result."""
    model = folder / "bench.onnx"
    world.make_model(model)
    world.prepare_session(port)
    world.queue_events(port, 1)
    arrivals = world.Arrivals(folder, port, "sh/v1/dut/up/result/bench" if ours else "bench/out")
    if ours:
        world.install_model(folder / "state", model)
        command = world.agent_command(world.write_config(folder, port, model=True))
    else:
        command = [sys.executable, "-m", "benchmarks.peers", "scored", str(port), str(model)]
    began = time.time()
    subject = world.Subject(command, folder / "log")
    world.wait_for(lambda: arrivals.count() >= 1, 60)
    first = arrivals.times()[0] - began
    arrivals.close()
    world.queue_events(port, 100)
    return subject, first


def memory(pid: int) -> tuple[float, float]:
    """Proportional and resident set size in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1000
    return (memory_of(pid) or 0) / 1e6, resident


def main() -> None:
    """Measure both in turn and write the figures."""
    values: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        values.setdefault(name, []).append(value)

    with tempfile.TemporaryDirectory() as name:
        for number in range(ROUNDS):
            for ours in (True, False):
                who = "ours" if ours else "plain"
                print(f"daemon_memory: round {number + 1} of {ROUNDS}: {who}", flush=True)
                folder = Path(name) / f"{who}-{number}"
                folder.mkdir()
                with world.broker(folder) as port:
                    subject, first = start(folder, port, ours)
                    try:
                        add(f"{who} start", first)
                        pss, resident = memory(subject.process.pid)
                        add(f"{who} pss", pss)
                        add(f"{who} rss", resident)
                        for child in subject.process.children(recursive=True):
                            pss, resident = memory(child.pid)
                            add("worker pss", pss)
                            add("worker rss", resident)
                        if number == 0:
                            cpu = subject.cpu_seconds()
                            time.sleep(IDLE_SECONDS)
                            add(f"{who} idle", (subject.cpu_seconds() - cpu) / IDLE_SECONDS * 100)
                    finally:
                        subject.stop()
    both = [daemon + worker for daemon, worker in zip(values["ours pss"], values["worker pss"], strict=True)]
    write(
        "daemon_memory",
        [
            Figure("daemon_memory", "MB PSS", values["ours pss"], values["plain pss"], "plain_script"),
            Figure("daemon_resident", "MB RSS", values["ours rss"], values["plain rss"], "plain_script"),
            Figure("worker_memory", "MB PSS", values["worker pss"], values["plain pss"], "plain_script"),
            Figure("worker_resident", "MB RSS", values["worker rss"], values["plain rss"], "plain_script"),
            Figure("whole_memory", "MB PSS", both, values["plain pss"], "plain_script"),
            Figure("cold_start_to_first_result", "s", values["ours start"], values["plain start"], "plain_script"),
            Figure("idle_cpu", "%", values["ours idle"], values["plain idle"], "plain_script"),
        ],
    )
