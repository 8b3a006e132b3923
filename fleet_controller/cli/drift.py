"""`fleet model drift`: how far what all devices see has moved from the baseline."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from fleet_controller.cli.arguments import Output, OutputOption, parse_duration, parse_pairs
from fleet_controller.cli.connection import Service
from fleet_controller.cli.output import show, table


def show_drift(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    select: Annotated[list[str] | None, typer.Option("--select", "-s", help="Only devices with this label, key=value.")] = None,
    since: Annotated[str, typer.Option(help="What was counted in this time, such as 1h or 7d.")] = "1d",
    output: OutputOption = Output.TABLE,
) -> None:
    """How far inputs and answers of a model have moved from its baseline, the counts of all devices added up.

    A device's own view, of its newest inputs, is in fleet device show. What the figures mean: docs/drift.md.

    Example: fleet model drift frost --select site=farm --since 7d
    """
    labels = ",".join(f"{key}={value}" for key, value in parse_pairs(select or (), "label").items())
    query = {"since": parse_duration(since), "labels": labels}
    service = Service(timeout=120.0)
    show(lambda: service.get(f"/models/{quote(model, safe='')}/drift", **query), _render, output)


def _render(answer: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    for group in answer["groups"]:
        title = f"{answer['model']} {group['version'] or '?'} (r{group['release']}): {_inputs(group)}"
        rows = [
            (
                item["name"],
                _figure(item["psi"]),
                _figure(item["ks"]),
                f"{item['missing']:.1%}",
                f"{item['out_of_range']:.1%}",
                "drifted" if item["drifted"] else None,
            )
            for item in group["sketches"]
        ]
        parts.append(table(("of", "PSI", "KS", "missing", "out of range", ""), rows, title))
    if not parts:
        parts.append(Text("nothing was counted in this time"))
    if not answer["complete"]:
        parts.append(Text("! there is more than is read for one answer: the oldest is left out", style="yellow"))
    return Group(*parts)


def _inputs(group: dict[str, Any]) -> str:
    counted = f"{group['inputs']} inputs of {group['devices']} device{'' if group['devices'] == 1 else 's'}"
    if not group["sketches"]:
        return f"{counted}, no baseline"
    return counted if group["judged"] else f"{counted}, too few to judge"


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
