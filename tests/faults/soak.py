"""`python -m tests.faults.soak --seeds 200 --out build/soak`: the whole fault matrix, seed by seed.

Each seed is played in a process and a world of its own, some worlds at a time. Finished seeds stand in `seeds.jsonl`, one line
each, and are not played again; `--seed 17` plays one seed again, whatever stands there. The folder of a seed that failed is
kept. Exit status 1 if any seed failed.
"""

import argparse
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.faults.matrix import CASES, case_named, case_of
from tests.faults.play import play
from tests.faults.world import RATE, unmount

LONGEST: Final = 400.0
"""Seconds for one seed; a run that is still going then has failed."""
WORLDS: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="play seeds 0 to this number - 1 (default %(default)s)")
    parser.add_argument("--seed", type=int, help="play this seed alone, and print what came of it")
    parser.add_argument("--case", help=f"with --seed: this case instead of the seed's own: {'; '.join(c.name for c in CASES)}")
    parser.add_argument("--rate", type=float, default=RATE, help="events a second (default %(default)g)")
    parser.add_argument("--worlds", type=int, default=WORLDS, help="how many seeds at a time (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="folder for everything (default %(default)s)")
    options = parser.parse_args(arguments)
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if options.seed is not None:
        return play_one(options.seed, options.case, options.rate, out)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return Soak(out, range(options.seeds), options.worlds, options.rate).run()


def play_one(seed: int, name: str | None, rate: float, out: Path) -> int:
    """Play one seed in this process; its line goes to standard output."""
    folder = out / f"seed-{seed}"
    unmount(folder / "agent")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run = play(case_named(name) if name else case_of(seed), seed, folder, rate)
    line = json.dumps(run.to_plain())
    (folder / "run.json").write_text(line + "\n")
    print(line)
    return 1 if run.failures else 0


class Soak:
    """All seeds, a few worlds at a time."""

    def __init__(self, out: Path, seeds: Sequence[int], worlds: int = WORLDS, rate: float = RATE) -> None:
        self._out = out
        self._log = out / "seeds.jsonl"
        self._rate = rate
        self._worlds = worlds
        self.done = {line["seed"]: line for line in read_lines(self._log) if line["seed"] in seeds}
        """Seed to what came of it."""
        self._all = len(seeds)
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for seed in seeds:
            if seed not in self.done:
                self._waiting.put(seed)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self) -> int:
        """Play what is left, print the table; returns the exit status."""
        began = time.monotonic()
        threads = [threading.Thread(target=self._work, name=f"world-{number}") for number in range(self._worlds)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self._stopping.set()
            with self._lock:
                for process in self._running:
                    _end_group(process)
            for thread in threads:
                thread.join()
            print("stopped; the same command goes on with the seeds that are left")
            return 1
        lines = [self.done[seed] for seed in sorted(self.done)]
        print(summary(lines))
        print(f"{len(lines)} seeds, this run took {(time.monotonic() - began) / 60:.1f} min")
        return 1 if any(line["failures"] for line in lines) else 0

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                seed = self._waiting.get_nowait()
            except queue.Empty:
                return
            line = self._play(seed)
            if self._stopping.is_set():
                return
            self._note(seed, line)

    def _play(self, seed: int) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.faults.soak", "--seed", str(seed), "--rate", str(self._rate)]
        folder = self._out / f"seed-{seed}"
        with (self._out / f"seed-{seed}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--out", str(self._out)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        with self._lock:
            self._running.add(process)
        failure = None
        try:
            process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            failure = f"not done within {LONGEST:g} s"
        # also what a run that ended early may have left: brokers, agents and workers are of its session
        _end_group(process)
        with self._lock:
            self._running.discard(process)
        unmount(folder / "agent")
        written = folder / "run.json"
        if failure is None and written.exists():
            line: dict[str, Any] = json.loads(written.read_text())
            return line
        return {"case": case_of(seed).name, "seed": seed, "failures": [failure or f"exit status {process.returncode}"]}

    def _note(self, seed: int, line: dict[str, Any]) -> None:
        with self._lock:
            self.done[seed] = line
            with self._log.open("a") as log:
                log.write(json.dumps(line) + "\n")
            said = "; ".join(line["failures"]) or described(line["account"])
            place = f"[{len(self.done)}/{self._all}]"
            print(f"{place} seed {seed} {line['case']}: {said} ({line.get('total_s', 0):g} s)", flush=True)
        if not line["failures"]:
            shutil.rmtree(self._out / f"seed-{seed}", ignore_errors=True)
            (self._out / f"seed-{seed}.log").unlink(missing_ok=True)


def described(account: Mapping[str, Any]) -> str:
    """One run that kept the promise, in a few words. Pure."""
    said = f"{account['events']} events, {account['results']} results"
    if account["lost_qos0"]:
        said += f", {account['lost_qos0']} of QoS 0 lost"
    if account["broker_lost"]:
        said += f", {account['broker_lost']} acknowledged and lost by the site broker"
    if account["only_in_damaged_file"]:
        said += f", {account['only_in_damaged_file']} results went with the damaged file"
    return said


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_lines(log: Path) -> list[dict[str, Any]]:
    """What was finished; a line that was cut off counts as not finished."""
    lines = []
    if log.exists():
        for text in log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(text))
    return lines


COLUMNS: Final = {
    "events": "events",
    "dead": "unreadable",
    "results": "results",
    "missing": "missing",
    "repeated": "repeated",
    "unexpected": "unexpected",
    "in damaged": "only_in_damaged_file",
    "broker": "broker_lost",
    "QoS 0 lost": "lost_qos0",
    "overflow": "qos0_overflow",
}
"""Head of a column to the field of the account that it sums up."""


def summary(lines: Iterable[Mapping[str, Any]]) -> str:
    """A table by case, and below it what failed. Pure."""
    cases: dict[str, list[Mapping[str, Any]]] = {case.name: [] for case in CASES}
    everything: list[Mapping[str, Any]] = []
    for line in lines:
        cases[line["case"]].append(line)
        everything.append(line)
    width = max(map(len, cases))
    rows = [" ".join([" " * width, *(f"{head:>10}" for head in ("runs", "failed", *COLUMNS, "s/run"))])]
    for name, runs in [*cases.items(), ("all", everything)]:
        rows.append(" ".join([f"{name:<{width}}", *(f"{cell:>10}" for cell in _cells(runs))]))
    failed = [line for line in everything if line["failures"]]
    rows += [f"seed {line['seed']} failed ({line['case']}): {'; '.join(line['failures'])}" for line in failed]
    return "\n".join(rows)


def _cells(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    accounts = [run.get("account", {}) for run in runs]
    seconds = sum(run.get("total_s", 0.0) for run in runs) / max(1, len(runs))
    sums = [sum(account.get(key, 0) for account in accounts) for key in COLUMNS.values()]
    return [len(runs), sum(1 for run in runs if run["failures"]), *sums, round(seconds, 1)]


if __name__ == "__main__":
    sys.exit(main())
