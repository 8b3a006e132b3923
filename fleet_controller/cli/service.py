"""`fleet init`, `fleet serve` and `fleet demo`: the commands that run here and not against a service."""

from pathlib import Path
from typing import Annotated

import typer

from fleet_controller.cli.arguments import Output, OutputOption
from fleet_controller.cli.exits import Exit, fail
from fleet_controller.cli.output import print_json


def init(
    state_dir: Annotated[Path, typer.Option(help="Folder to make: keys, database, signing repository, configuration.")],
    passphrase_file: Annotated[
        Path | None, typer.Option(help="For the offline keys; else SMALLHOLD_KEY_PASSPHRASE_FILE, else you are asked.")
    ] = None,
    operator: Annotated[str, typer.Option(help="Name of the first operator.")] = "admin",
    broker_host: Annotated[str, typer.Option(help="The fleet broker.")] = "127.0.0.1",
    broker_port: Annotated[int, typer.Option(min=1, max=65535)] = 1883,
    broker_user: Annotated[str, typer.Option(help="The controller's own user there.")] = "fleet-controller",
    broker_password_file: Annotated[
        Path | None,
        typer.Option(help="Mosquitto's password file, for the controller to maintain; default in the state folder."),
    ] = None,
    broker_pid_file: Annotated[
        Path | None, typer.Option(help="Mosquitto's pid file, to make it read the passwords again.")
    ] = None,
    http_host: Annotated[str, typer.Option(help="Where the HTTP server listens.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(min=1, max=65535)] = 8470,
    public_url: Annotated[str | None, typer.Option(help="The URL that devices use, such as https://fleet.example.org.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a new controller: keys, database, signing repository, first operator token, controller.toml.

    Example: fleet init --state-dir ./controller --public-url http://192.0.2.10:8470
    """
    from fleet_controller.founding import Founding, FoundingError, found
    from fleet_controller.registry.keys import KeyFileError, read_passphrase

    folder = state_dir.absolute()
    try:
        if folder.exists() and any(folder.iterdir()):
            fail(Exit.FAILED, f"{folder} is not empty, and nothing in it is overwritten")
        founding = Founding(
            state_dir=folder,
            operator=operator,
            broker_host=broker_host,
            broker_port=broker_port,
            broker_user=broker_user,
            broker_password_file=broker_password_file.absolute() if broker_password_file else None,
            broker_pid_file=broker_pid_file.absolute() if broker_pid_file else None,
            http_host=http_host,
            http_port=http_port,
            public_url=public_url,
        )
        found(founding, read_passphrase(passphrase_file, confirm=True, what="offline keys"))
    except (FoundingError, KeyFileError) as error:
        fail(Exit.FAILED, str(error))
    except OSError as error:
        fail(Exit.FAILED, f"{error.filename or folder}: {error.strerror}")
    if output is Output.JSON:
        print_json(
            {
                "state_dir": str(folder),
                "config": str(founding.config),
                "operator_config": str(founding.operator_config),
                "token_file": str(founding.token_file),
                "release_key": str(founding.release_key),
                "broker_password_file": str(founding.passwords),
                "url": founding.url,
            }
        )
        return
    typer.echo(f"""The controller is made in {folder}. What to do next:

1. Take the offline keys away: move {folder / "keys" / "offline"} to a medium that you keep elsewhere,
   root keys apart from each other. {founding.release_key.name} signs releases; the service needs none of them.
2. Let the fleet broker use the password file {founding.passwords}.
3. Start the service:    fleet serve --config {founding.config}
4. Use it:               fleet --config {founding.operator_config} device list
   or for good:          mkdir -p ~/.config/smallhold && cp {founding.operator_config} ~/.config/smallhold/fleet.toml
5. Add a device:         fleet device add barn-1 --label site=farm
""")


def serve(
    config: Annotated[Path | None, typer.Option(help="controller.toml; without it the environment alone.")] = None,
) -> None:
    """Run the service until it is told to stop (SIGTERM or Ctrl-C).

    Example: fleet serve --config /etc/fleet-controller/controller.toml
    """
    from fleet_controller.controller import ControllerError, run
    from fleet_controller.registry.keys import KeyFileError
    from fleet_controller.registry.publication import PublicationError
    from fleet_controller.settings import SettingsError, load_settings
    from fleet_controller.state_folder import StateFolder
    from fleet_controller.store.database import DatabaseError

    try:
        settings = load_settings(config)
        # Before the database is opened, which would make one.
        if not StateFolder(settings.state_dir).repository.is_dir():
            fail(Exit.FAILED, f"{settings.state_dir} holds no signing repository; `fleet init` makes one")
        status = run(settings)
    except SettingsError as error:
        fail(Exit.USAGE, str(error))
    except (ControllerError, DatabaseError, KeyFileError, PublicationError) as error:
        fail(Exit.FAILED, str(error))
    raise typer.Exit(status)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for summary.json and report.html.")] = Path("build/demo"),
    broker: Annotated[str, typer.Option(help="auto, mosquitto or iotcore.")] = "auto",
) -> None:
    """Play a small fleet in about two minutes: brokers, a controller, four agents, sensors, updates, failures.

    Example: fleet demo --out build/demo
    """
    from importlib import import_module

    raise typer.Exit(import_module("fleet_controller.demo.run").run(out, broker))
