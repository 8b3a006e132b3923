"""`fleet model baseline`: what drift is measured against, made from a data set."""

from pathlib import Path
from typing import Annotated

import typer

from fleet_controller.cli.arguments import Output, OutputOption
from fleet_controller.cli.exits import Exit, fail
from fleet_controller.cli.output import console, print_json, table


def baseline(
    folder: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Folder with model.toml.")],
    data: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Samples as devices will see them, JSON lines.")],
    span: Annotated[
        list[str] | None, typer.Option("--range", help="What an input can be, such as temp_min=-40:60; repeat for more.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write baseline.json: how the inputs and the model's answers are distributed. Devices measure drift against it.

    The samples run through the code that devices run. Take data that the model was not trained on, and that is as what the
    devices will see: all seasons, all sites. A line: {"text": "…"}, or {"window": {"flow": [1.0, 1.2]}, "times": [0, 60]}.
    model.toml gets the line that names the file.

    Example: fleet model baseline models/frost --data recorded.jsonl --range temp_min=-40:60
    """
    import msgspec

    from fleet_controller.drift.baselines import BASELINE_NAME, BaselineError, write_baseline

    try:
        made = write_baseline(folder, data, _parse_ranges(span or []))
    except BaselineError as error:
        fail(Exit.FAILED, str(error))
    if output is Output.JSON:
        print_json(msgspec.to_builtins(made))
        return
    rows = [
        (name, sum(item.counts), len(item.cuts) + 1, f"{item.low:g} to {item.high:g}") for name, item in made.numbers.items()
    ]
    rows += [
        (name, sum(item.counts.values()) + item.other, len(item.counts), ", ".join(item.counts))
        for name, item in made.categories.items()
    ]
    console().print(table((str(folder / BASELINE_NAME), "values", "bins", "range"), rows))


def _parse_ranges(given: list[str]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for text in given:
        name, _, span = text.partition("=")
        low, _, high = span.partition(":")
        try:
            ranges[name] = float(low), float(high)
            ordered = ranges[name][0] < ranges[name][1]
        except ValueError:
            ordered = False
        if not name or not ordered:
            raise typer.BadParameter(f"{text!r}: such as temp_min=-40:60", param_hint="--range")
    return ranges
