"""The one-page report: plain HTML with inline SVG, nothing from outside. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from fleet_contract.reasons import MEANING, Reason
from fleet_controller.demo.evidence import HealthRow, Row
from fleet_controller.demo.plots import Line, Mark, Plot, draw
from fleet_controller.demo.summary import Percentiles, Summary
from fleet_controller.demo.told import Told

BIN_SECONDS: Final = 5.0
_HASH: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def render(summary: Summary, told: Told, rows: Sequence[Row], health: Sequence[HealthRow], started: float) -> str:
    """The page. `started`: seconds since 1970, zero of every time axis."""
    template = Template((files("fleet_controller.demo") / "report_template.html").read_text(encoding="utf-8"))
    marks = _marks(told, started)
    end = max(told.sensors_stopped, max((row.received for row in rows), default=0.0)) - started + BIN_SECONDS

    def curves(unit: str, lines: Sequence[Line]) -> str:
        return draw(Plot(unit, lines, marks, end))

    return template.substitute(
        verdict="passed" if summary.passed else "failed",
        verdict_text="Passed" if summary.passed else "Failed",
        missing=summary.missing,
        repeated=summary.repeated,
        unexpected=summary.unexpected,
        events=sum(device["events_sent"] for device in summary.devices.values()),
        results=sum(device["results_received"] for device in summary.devices.values()),
        duration=f"{summary.duration_s:.0f}",
        broker=escape(summary.broker),
        started=escape(summary.started),
        problems=_problems(summary.problems),
        timeline=_timeline(summary),
        fleet=_fleet(summary),
        arrivals=curves(f"results that reached the database, per {BIN_SECONDS:.0f} s", arrivals(rows, started)),
        latency=curves("ms on the device, from event to committed result", latencies(health, started)),
        queues=curves("results waiting on the device", queues(told, started)),
        percentiles=_percentiles(summary.latency_ms),
        refusals=_refusals(summary.refusals),
        during=_during(summary),
        worse=_worse(summary.taken_back),
        reconciliation=_reconciliation(summary),
        cut=_cut(summary.link_cut),
    )


def arrivals(rows: Iterable[Row], started: float) -> list[Line]:
    """Results per device and `BIN_SECONDS`, from the first that came to the last; a bin without any is 0."""
    bins: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        bins[row.device][int((row.received - started) // BIN_SECONDS)] += 1
    last = max((number for counts in bins.values() for number in counts), default=0)
    return [
        Line(
            device,
            [((number + 0.5) * BIN_SECONDS, counts.get(number, 0)) for number in range(min(counts), last + 1)],
            _dash(device),
        )
        for device, counts in sorted(bins.items())
    ]


def latencies(health: Iterable[HealthRow], started: float) -> list[Line]:
    """p50 (solid) and p95 (dashed) of each model, means over its devices' health messages in bins of `BIN_SECONDS`."""
    seen: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in health:
        number = int((row.received - started) // BIN_SECONDS)
        for model in row.payload["models"]:
            for quantile in ("p50", "p95"):
                value = model[f"{quantile}_ms"]
                if value is not None:
                    seen[model["model"], quantile][number].append(value)
    return [
        Line(
            f"{model} {quantile}",
            [((number + 0.5) * BIN_SECONDS, sum(values) / len(values)) for number, values in sorted(bins.items())],
            "4 3" if quantile == "p95" else "",
        )
        for (model, quantile), bins in sorted(seen.items())
    ]


def queues(told: Told, started: float) -> list[Line]:
    """Outbox rows of each device, as `edge-agent status` showed them around the cut; none before."""
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for at, device, rows in told.outboxes:
        seen[device].append((at - started, rows))
    return [
        Line(device, [(0.0, 0.0), (told.cut[0] - started, 0.0), *points], _dash(device))
        for device, points in sorted(seen.items())
    ]


def _dash(device: str) -> str:
    """The second device of a site does nearly what the first does: dashes let both be seen."""
    return "6 4" if device.endswith("2") else ""


def _marks(told: Told, started: float) -> list[Mark]:
    cuts = ((told.canary_cut, "canary cut off"), (told.cut, "link cut"))
    marks = [Mark(began - started, text, ended - started) for (began, ended), text in cuts if ended]
    return marks + [Mark(at - started, text) for at, text in told.marks]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()) -> str:
    def cell(tag: str, column: int, value: Any) -> str:
        shown = "" if value is None else escape(str(value))
        return f'<{tag} class="number">{shown}</{tag}>' if column in numbers else f"<{tag}>{shown}</{tag}>"

    lines = ["".join(cell("td", column, value) for column, value in enumerate(row)) for row in rows]
    title = "".join(cell("th", column, value) for column, value in enumerate(head))
    return f"<table><thead><tr>{title}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"


def _problems(problems: Sequence[str]) -> str:
    return f"<ul class='problems'>{''.join(f'<li>{escape(problem)}</li>' for problem in problems)}</ul>" if problems else ""


def _timeline(summary: Summary) -> str:
    parts = []
    for step in summary.steps:
        seen = "".join(f"<li><time>{moment.at_s:.1f} s</time>{_plain(moment.text)}</li>" for moment in step.seen)
        parts.append(f"<h3>{step.number}. {_plain(step.title)} <small>{step.duration_s:.1f} s</small></h3><ul>{seen}</ul>")
    return "".join(parts)


def _plain(text: str) -> str:
    """A line of the terminal as HTML: its code in back quotes becomes code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _fleet(summary: Summary) -> str:
    return _table(
        ("device", "online", "model", "version", "results/min", "p50 ms", "p95 ms", "agent MB", "worker MB", "queue"),
        (
            (
                row.device,
                "yes" if row.online else "no",
                row.model,
                row.version,
                f"{row.results_per_minute:.0f}",
                row.p50_ms,
                row.p95_ms,
                f"{row.agent_memory_bytes / 1e6:.0f}",
                f"{row.worker_memory_bytes / 1e6:.0f}",
                row.queue,
            )
            for row in summary.table
        ),
        range(4, 10),
    )


def _percentiles(latency: dict[str, Any]) -> str:
    whole: Percentiles = latency["end_to_end"]
    rows: list[tuple[Any, ...]] = [("sensor to controller's database, all devices", whole.p50, whole.p95, whole.p99)]
    rows += [(f"on the device: {name}", each.p50, each.p95, each.p99) for name, each in latency["on_device"].items()]
    return _table(("latency", "p50 ms", "p95 ms", "p99 ms"), rows, (1, 2, 3))


def _refusals(refusals: Sequence[dict[str, Any]]) -> str:
    return _table(
        ("device", "model", "version", "reason code", "meaning", "detail"),
        (
            (
                each["device"],
                each["model"],
                each["version"],
                each["reason"],
                MEANING[Reason(each["reason"])] if each["reason"] in set(Reason) else "",
                _HASH.sub(r"\1…", each["detail"] or ""),
            )
            for each in refusals
        ),
    )


def _worse(worse: dict[str, Any]) -> str:
    if "evidence" not in worse:
        return "<p>It was not tried.</p>"
    candidate, incumbent = worse["evidence"]["candidate"], worse["evidence"]["incumbent"] or {}
    text = (
        f"{worse['device']} took {worse['model']} {worse['version']} back by itself after {candidate['inferences']} "
        f"inferences, without a link to the fleet for {worse['offline_s']:.0f} s. "
        f"{worse['answers_published']} of its answers were given out. "
        f"Then rollout {worse['rollout']} {worse['rollout_state']} by itself; {', '.join(worse['untouched'])} never got it."
    )
    rows = [
        (name, figures.get("inferences"), figures.get("errors"), figures.get("p95_ms"), figures.get("confidence"))
        for name, figures in ((f"version {worse['version']}", candidate), ("the version before", incumbent))
    ]
    why = f" ({worse['detail']})" if worse["detail"] else ""
    code = f"<code>{escape(worse['reason'])}</code> {escape(worse['meaning'] + why)}"
    head = ("on the device", "inferences", "errors", "p95 ms", "median confidence")
    return f"<p>{escape(text)}</p><p>{code}</p>{_table(head, rows, range(1, 5))}"


def _during(summary: Summary) -> str:
    rows = [
        (device, version, count)
        for device, versions in summary.answers_during_refusals.items()
        for version, count in versions.items()
    ]
    return _table(("device", "answering version", "results"), rows, (2,))


def _reconciliation(summary: Summary) -> str:
    rows = [
        (
            device,
            pipeline,
            counts["events_sent"],
            counts["results_expected"],
            counts["results_received"],
            counts["missing"],
            counts["repeated"],
            counts["unexpected"],
        )
        for device, found in summary.devices.items()
        for pipeline, counts in found["pipelines"].items()
    ]
    head = ("device", "pipeline", "events sent", "results expected", "in the database", "missing", "repeated", "unexpected")
    return _table(head, rows, range(2, 8))


def _cut(cut: dict[str, Any]) -> str:
    waiting = ", ".join(f"{device} {rows}" for device, rows in cut["results_waiting_on_devices"].items())
    return escape(
        f"The link was cut for {cut['seconds']:.0f} s. {cut['events_sent_meanwhile']} events were sent meanwhile and scored on "
        f"the devices; just before the link came back, results waited there: {waiting}."
    )
