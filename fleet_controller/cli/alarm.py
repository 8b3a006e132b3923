"""`fleet alarm`: what the devices' pipelines have raised."""

from typing import Annotated, Any

import typer

from fleet_controller.cli.arguments import Output, OutputOption, WatchOption
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import EPILOG
from fleet_controller.cli.output import age, show, table

app = typer.Typer(no_args_is_help=True, epilog=EPILOG)


@app.callback()  # without it a single command would stand for its noun
def group() -> None:
    """Alarms that pipelines have raised."""


@app.command("list", epilog=EPILOG)
def list_all(
    device: Annotated[str | None, typer.Option("--device", "-d", help="Of this device only.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest.")] = 100,
    watch: WatchOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Alarms that are on, newest first.

    Example: fleet alarm list --device barn-1 --watch
    """
    query: dict[str, Any] = {"cleared": every, "limit": limit} | ({} if device is None else {"device": device})
    service = Service()
    show(lambda: service.get("/alarms", **query), _render, output, watch=watch)


def _render(alarms: list[dict[str, Any]]) -> Any:
    columns = ("severity", "device", "pipeline", "sensor", "state", "since", "received ago", "text")
    return table(
        columns,
        [
            (
                each["severity"],
                each["device"],
                each["pipeline"],
                each["source"],
                each["state"],
                each["since"],
                age(each["received"]),
                each["text"],
            )
            for each in alarms
        ],
    )
