"""The Typer application: global options, and the nouns."""

from pathlib import Path
from typing import Annotated

import typer

from fleet_controller import __version__
from fleet_controller.cli import alarm, config, connection, device, feedback, health, keys, model, rollout, service
from fleet_controller.cli.exits import EPILOG

app = typer.Typer(
    name="fleet",
    help="Small models on every device you own, run as one fleet.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(alarm.app, name="alarm")
app.add_typer(config.app, name="config")
app.add_typer(device.app, name="device")
app.add_typer(keys.app, name="keys")
app.add_typer(model.app, name="model")
app.add_typer(rollout.app, name="rollout")
app.command("feedback", epilog=EPILOG)(feedback.give)
app.command("health", epilog=EPILOG)(health.show_health)
app.command("init", epilog=EPILOG)(service.init)
app.command("serve", epilog=EPILOG)(service.serve)
app.command("demo", epilog=EPILOG)(service.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fleet {__version__}")
        raise typer.Exit


@app.callback()
def choose(
    url: Annotated[str | None, typer.Option(help="Base URL of the service. Also SMALLHOLD_URL.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with your token and nothing else. Also SMALLHOLD_TOKEN_FILE.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="File with url and token_file; default ~/.config/smallhold/fleet.toml.")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Small models on every device you own, run as one fleet."""
    connection.chosen = connection.Choice(url, token_file, config)
