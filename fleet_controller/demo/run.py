"""`fleet demo`: plays the story, reconciles, prints the operator's table, writes `summary.json` and `report.html`."""

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from fleet_controller.demo.brokers import Kind, default_kind, find_mosquitto
from fleet_controller.demo.evidence import read_sent
from fleet_controller.demo.fleet_plan import CANARY, DEVICES, UPDATED, WORSE
from fleet_controller.demo.processes import DemoError
from fleet_controller.demo.progress import Progress
from fleet_controller.demo.reconcile import ReplayFailed, compare, expected_ids
from fleet_controller.demo.report import render
from fleet_controller.demo.story import UNSURE, Story
from fleet_controller.demo.summary import (
    Summary,
    TableRow,
    answers_during,
    answers_of,
    device_counts,
    end_to_end,
    find_problems,
    find_problems_with_worse,
    on_device,
    operators_table,
    percentiles,
)
from fleet_controller.demo.told import Told
from fleet_controller.demo.world import World

PASSED, FAILED, USAGE = 0, 1, 2
WORLD: Final = "fleet"
"""Folder below the output folder that holds the whole demo fleet; made anew by each run."""


def run(out: Path, broker: str = "auto") -> int:
    """Play the demo. Returns the exit status: 0 passed, 1 failed, 2 wrong broker; `out` holds what is left to read."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    if broker != "auto" and broker not in set(Kind):
        console.print(f"fleet demo: broker {broker!r}: choose auto, {' or '.join(Kind)}")
        return USAGE
    kind = default_kind() if broker == "auto" else Kind(broker)
    if kind is Kind.MOSQUITTO and find_mosquitto() is None:
        console.print("fleet demo: mosquitto is not installed: apt-get install mosquitto, or use --broker iotcore")
        return USAGE
    folder = out.absolute() / WORLD
    for left in ("summary.json", "report.html"):
        (out / left).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    progress = Progress(console)
    with _ended_by_signal():
        world = World(folder, kind)
        try:
            summary = _play(world, progress, out)
        except (DemoError, ReplayFailed, OSError, RuntimeError) as error:
            _tell_failure(console, progress, world, error)
            return FAILED
        finally:
            world.stop()
    _print_verdict(console, summary, out)
    return PASSED if summary.passed else FAILED


def _play(world: World, progress: Progress, out: Path) -> Summary:
    told = Story(world, progress).tell()
    with progress.step("Reconciliation: the sensors' logs through `edge-agent replay`, against the controller's database"):
        rows, health = world.database.results(), world.database.health()
        reconciled = []
        sent: dict[str, float] = {}
        for device in DEVICES:
            for stream in device.streams:
                log = world.sensor_log(device, stream)
                progress.waiting(f"replaying {log.name}")
                events = read_sent([log])
                sent |= events
                expected = expected_ids(world.config(device), stream.pipeline, log)
                reconciled.append(compare(device.name, stream.pipeline, len(events), expected, rows))
        total = sum(each.expected for each in reconciled)
        progress.saw(f"{len(sent)} events were sent, {total} results must follow, {len(rows)} are in the database")
    updated = {
        device.name: [model for model, site in UPDATED.items() if site == device.site]
        for device in DEVICES
        if any(site == device.site for site in UPDATED.values())
    }
    during = answers_during(rows, told.refusing, UPDATED)
    problems = find_problems(reconciled, told, during, world.database.refusals(), updated)
    worse = answers_of(rows, WORSE[0], UNSURE)
    problems += find_problems_with_worse(told, worse, world.database.taken_back())
    summary = Summary(
        passed=not problems,
        problems=problems,
        missing=sum(each.missing for each in reconciled),
        repeated=sum(each.repeated for each in reconciled),
        unexpected=sum(each.unexpected for each in reconciled),
        duration_s=round(progress.elapsed, 1),
        broker=str(world.kind),
        started=datetime.fromtimestamp(progress.started, UTC).isoformat(timespec="seconds"),
        devices=device_counts(reconciled, told),
        refusals=told.refusals,
        answers_during_refusals=during,
        taken_back=told.taken_back | {"answers_published": worse.get(CANARY, 0)},
        link_cut=_link_cut(told, sent),
        latency_ms={
            "end_to_end": percentiles(end_to_end(rows, sent, (told.canary_cut, told.cut))),
            "on_device": {f"{device}/{model}": value for (device, model), value in sorted(on_device(health).items())},
        },
        table=operators_table(health, told),
        steps=progress.steps,
    )
    (out / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    (out / "report.html").write_text(render(summary, told, rows, health, progress.started), encoding="utf-8")
    return summary


def _link_cut(told: Told, sent: dict[str, float]) -> dict[str, object]:
    began, ended = told.cut
    return {
        "seconds": round(ended - began, 1),
        "events_sent_meanwhile": sum(began <= at <= ended for at in sent.values()),
        "results_waiting_on_devices": told.outbox_peak,
    }


def _print_verdict(console: Console, summary: Summary, out: Path) -> None:
    console.print(_table(summary.table))
    for refusal in summary.refusals:
        console.print(f"refused: {refusal['device']} {refusal['model']} {refusal['version']}: {refusal['reason']}")
    worse = summary.taken_back
    if summary.taken_back.get("reason"):
        inferences = worse["evidence"]["candidate"]["inferences"]
        console.print(
            f"taken back: {worse['device']} {worse['model']} {worse['version']}: {worse['reason']}, "
            f"after {inferences} inferences, cut off from the fleet"
        )
    colour = "green" if summary.passed else "red"
    console.print(
        f"[{colour}]missing {summary.missing}, repeated {summary.repeated}, unexpected {summary.unexpected}[/{colour}] "
        f"in {summary.duration_s:.0f} s; see {out / 'report.html'} and {out / 'summary.json'}"
    )
    for problem in summary.problems:
        console.print(problem, style="red", markup=False)


def _table(rows: list[TableRow]) -> Table:
    table = Table(title="The fleet while the sensors ran", title_justify="left")
    for name in ("device", "online", "model", "version"):
        table.add_column(name)
    for name in ("results/min", "p50 ms", "p95 ms", "memory MB (agent + worker)", "queue"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.device,
            "yes" if row.online else "no",
            row.model,
            row.version,
            f"{row.results_per_minute:.0f}",
            f"{row.p50_ms:.1f}" if row.p50_ms is not None else "",
            f"{row.p95_ms:.1f}" if row.p95_ms is not None else "",
            f"{row.agent_memory_bytes / 1e6:.0f} + {row.worker_memory_bytes / 1e6:.0f}",
            str(row.queue),
        )
    return table


def _tell_failure(console: Console, progress: Progress, world: World, error: Exception) -> None:
    tails = world.log_tails()
    # Where the error names a process, its log is the one to read.
    for name, tail in {name: tail for name, tail in tails.items() if name in str(error)}.items() or tails.items():
        console.print(f"--- the end of {name}'s log", style="dim", markup=False)
        console.print(tail, markup=False, soft_wrap=True)
    step = progress.steps[-1] if progress.steps else None
    where = f"step {step.number} ({step.title})" if step is not None else "the start"
    console.print(f"fleet demo: failed in {where}: {error}", style="red", markup=False, soft_wrap=True)
    console.print(f"everything is left in {world.folder}", markup=False, soft_wrap=True)


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, so that every process is ended."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
