"""The operator's command line `fleet`: noun then verb, a client of the running service's HTTP API."""

import sys


def main() -> None:
    """The entry point of the `fleet` script."""
    try:
        from fleet_controller.cli.app import app
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"fleet: {error.name} is not installed, as on a device: pip install 'smallhold[controller]' for the controller\n"
        )
        raise SystemExit(1) from error
    app()
