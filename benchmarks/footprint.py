"""What the agent costs where it runs: memory of the daemon and its worker, CPU while idle, start to the first result.

Memory is proportional: a page that several processes map counts for each with its share. So that nothing else has a share,
this program measures the starts, prepares what is to be watched, and then becomes a shell (`footprint_watch.sh`) that has no
Python running beside the watched one; when that is done the shell becomes this program again, which writes the figures. Other
processes of the same environment that ran meanwhile are counted and told of. Each is watched with 1,000 events behind it, no
load, and health reports at their usual interval: ten minutes after five of warm-up, the plain script for a fifth of that.
`QUICK=1` takes seconds.
"""

import json
import os
import shlex
import shutil
import signal
import statistics
import sys
import sysconfig
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks import bench_world as world
from benchmarks.figures import FOLDER, Figure, quick, write
from benchmarks.looks import Look, cpu_percent, parse
from benchmarks.subjects import AGENT, PLAIN_SCRIPT, Program

STARTS: Final = 5
EVENTS: Final = 1_000
WARM_UP_SECONDS: Final = 300
WATCHED_SECONDS: Final = 600
EVERY_SECONDS: Final = 10
WATCH: Final = Path(__file__).resolve().with_name("footprint_watch.sh")
ENVIRONMENT: Final = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"}
DAEMON: Final = "daemon"
DAEMON_AND_WORKER: Final = "daemon_and_worker"


def start_to_first_result(folder: Path, program: Program, model: Path) -> float:
    """Seconds from the process's start to its first result, with one event waiting at the broker."""
    folder.mkdir()
    with world.broker(folder) as port:
        world.prepare_session(port)
        world.queue_events(port, 1, world.field_event)
        command = program.lay_out(folder, port, model)
        arrivals = world.Arrivals(folder, port, program.results)
        subject = world.Subject(command, folder / "log")
        try:
            world.wait_for(lambda: arrivals.count() >= 1, 60)
        finally:
            subject.stop()
            arrivals.close()
        return arrivals.times()[0] - subject.started


def prepare(folder: Path, stack: ExitStack, name: str, model: Path) -> world.Command:
    """A broker with events that wait, and what starts the process that is to be watched."""
    folder.mkdir()
    port = stack.enter_context(world.broker(folder))
    world.prepare_session(port)
    world.queue_events(port, EVENTS, world.field_event)
    if name == PLAIN_SCRIPT.name:
        return PLAIN_SCRIPT.lay_out(folder, port, model)
    worker = name == DAEMON_AND_WORKER
    if worker:
        world.install_model(folder / "state", model)
    return world.Command(world.agent_command(world.write_config(folder, port, model=worker, health="1min", values="abcd")))


def measure(folder: Path) -> None:
    """Measure the starts, prepare, and become the shell that watches. The brokers stay, as children of this process."""
    warm_up, seconds, every, starts = (5, 10, 1, 2) if quick() else (WARM_UP_SECONDS, WATCHED_SECONDS, EVERY_SECONDS, STARTS)
    model = folder / "bench.onnx"
    world.make_model(model)
    taken: dict[str, list[float]] = {}
    for program in (AGENT, PLAIN_SCRIPT):
        print(f"footprint: {starts} starts of {program.name}", flush=True)
        for number in range(starts):
            seconds_taken = start_to_first_result(folder / f"{program.name}-{number}", program, model)
            taken.setdefault(program.name, []).append(seconds_taken)
    (folder / "starts.json").write_text(json.dumps(taken))
    files = folder / "environment"
    interpreter, library = os.path.realpath(sys.executable), sysconfig.get_path("stdlib")
    files.write_text("".join(f"{path}\n" for path in (interpreter, library, sys.prefix + "/")))
    lines = [f". {shlex.quote(str(WATCH))}"]
    stack = ExitStack()  # never closed: the shell has no part in it, and `finish` ends the brokers
    for name, share in ((DAEMON, 1.0), (DAEMON_AND_WORKER, 1.0), (PLAIN_SCRIPT.name, 0.2)):
        command = prepare(folder / name, stack, name, model)
        times = [str(int(warm_up * share)), str(int(seconds * share)), str(every)]
        lines.append(shlex.join(["echo", f"footprint: {name}: {times[0]} s to warm up, {times[1]} s watched"]))
        lines.append(shlex.join(["watch", str(folder / name), *times, str(files), *command.arguments]))
    lines.append("exec " + shlex.join([sys.executable, "-m", "benchmarks.footprint", str(folder)]))
    sys.stdout.flush()
    os.execve("/bin/sh", ["sh", "-c", "\n".join(lines)], os.environ | ENVIRONMENT)


def finish(folder: Path) -> None:
    """End the brokers, and write the figures from what the shell has seen."""
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    for child in own:
        os.kill(int(child), signal.SIGTERM)
    for child in own:
        os.waitpid(int(child), 0)
    starts = json.loads((folder / "starts.json").read_text())
    looks = {name: parse((folder / name / "looks").read_text()) for name in (DAEMON, DAEMON_AND_WORKER, PLAIN_SCRIPT.name)}
    shutil.rmtree(folder)
    for name, seen in looks.items():
        others = statistics.median(look.others for look in seen)
        if others:
            print(f"footprint: {name}: {others:g} other processes of this environment ran, so its memory is shown too small")
    plain = looks[PLAIN_SCRIPT.name]
    alone, both = looks[DAEMON], looks[DAEMON_AND_WORKER]

    def whole(seen: list[Look]) -> list[float]:
        return [sum(look.memory_mb) for look in seen]

    ticks = os.sysconf("SC_CLK_TCK")
    reference = PLAIN_SCRIPT.name
    idle = [cpu_percent(both, ticks)], [cpu_percent(plain, ticks)]
    write(
        "footprint",
        [
            Figure("daemon_memory_mb", "MB PSS", whole(alone), whole(plain), reference),
            Figure("daemon_and_worker_memory_mb", "MB PSS", whole(both), whole(plain), reference),
            Figure("idle_cpu_percent", "%", *idle, reference),
            Figure("start_to_first_result_seconds", "s", starts[AGENT.name], starts[reference], reference),
        ],
    )


def main() -> None:
    """Measure; does not return, see `measure`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    measure(Path(tempfile.mkdtemp(dir=FOLDER)).resolve())


if __name__ == "__main__":
    finish(Path(sys.argv[1]))
