"""Exit codes, which scripts rely on, and how a command ends with one."""

from enum import IntEnum
from typing import Final, NoReturn

import typer


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    NOT_AUTHORISED = 5
    NO_ANSWER = 6
    REFUSED = 7


MEANING: Final = {
    Exit.OK: "done",
    Exit.FAILED: "refused or failed; the reason is on standard error",
    Exit.USAGE: "the command line is wrong",
    Exit.NOT_FOUND: "there is no such device, model, rollout, configuration or result",
    Exit.UNREACHABLE: "the service does not answer",
    Exit.NOT_AUTHORISED: "the token is missing, unknown, or lacks the role",
    Exit.NO_ANSWER: "the device has not answered in time",
    Exit.REFUSED: "a model was refused: it does not do what its manifest says, or a variant loses too much",
}

EPILOG: Final = "Exit codes: " + "; ".join(f"{code.value} {text}" for code, text in MEANING.items()) + "."


def fail(code: Exit, text: str) -> NoReturn:
    """Say on standard error why, and end with this code."""
    typer.echo(f"fleet: {text}", err=True)
    raise typer.Exit(code.value)
