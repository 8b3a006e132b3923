"""`fleet model accuracy`: how right a model was, where that is known."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from fleet_controller.cli.arguments import Output, OutputOption, parse_duration
from fleet_controller.cli.connection import Service
from fleet_controller.cli.output import show, table


class Group(StrEnum):
    """What is measured apart."""

    RELEASE = "release"
    DEVICE = "device"
    DAY = "day"
    WEEK = "week"


def show_accuracy(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    version: Annotated[str | None, typer.Option(help="Of this version only.")] = None,
    device: Annotated[str | None, typer.Option("--device", "-d", help="Of this device only.")] = None,
    since: Annotated[str | None, typer.Option(help="Only results that came in this time, such as 7d.")] = None,
    by: Annotated[Group, typer.Option(help="Measured apart for each; a week is named by its Monday.")] = Group.RELEASE,
    output: OutputOption = Output.TABLE,
) -> None:
    """How right a model was on the results of which it is known what was right (fleet feedback).

    The interval is Wilson's, of 95 %: with few labels it is wide, and a difference within it says nothing.

    Example: fleet model accuracy frost --since 30d --by week
    """
    query: dict[str, Any] = {"version": version, "device": device, "by": by.value}
    query["since"] = parse_duration(since) if since is not None else None
    given = {name: value for name, value in query.items() if value is not None}
    service = Service(timeout=120.0)
    show(lambda: service.get(f"/models/{quote(model, safe='')}/accuracy", **given), _render, output)


def _render(answer: dict[str, Any]) -> Any:
    from rich.console import Group as Parts

    by, total = answer["by"], answer["total"]
    rows = [(_name(each, by), *_cells(each)) for each in answer["groups"]]
    rows.append(("all", *_cells(total)))
    columns = (by, "results", "labelled", "right", "accuracy", "95 % interval", "mean error")
    parts = [table(columns, rows, answer["model"])]
    confusion = total["confusion"]
    if confusion:
        given = sorted({label for row in confusion.values() for label in row})
        cells = [(label, *(row.get(name, 0) for name in given)) for label, row in confusion.items()]
        parts.append(table(("was right", *given), cells, "answered"))
    return Parts(*parts)


def _name(group: dict[str, Any], by: str) -> str:
    return f"{group['version'] or '?'} (r{group['release']})" if by == "release" else str(group[by])


def _cells(figures: dict[str, Any]) -> tuple[Any, ...]:
    accuracy, interval, error = figures["accuracy"], figures["interval"], figures["mean_error"]
    return (
        figures["results"],
        figures["labelled"],
        figures["right"],
        f"{accuracy:.1%}" if accuracy is not None else None,
        f"{interval[0]:.1%} to {interval[1]:.1%}" if interval is not None else None,
        f"{error:.4g}" if error is not None else None,
    )
