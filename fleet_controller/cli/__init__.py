"""The operator's command line `fleet`: noun then verb, a client of the running service's HTTP API."""


def main() -> None:
    """The entry point of the `fleet` script."""
    from fleet_controller.cli.app import app

    app()
