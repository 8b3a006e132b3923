"""`fleet device deadletter`: what a device could not read: list, show, take in again, drop."""

from typing import Annotated, Any

import typer

from fleet_controller.cli.arguments import Output, OutputOption, parse_duration
from fleet_controller.cli.asking import ask
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import EPILOG, Exit, fail
from fleet_controller.cli.output import age, console, print_json, size, table

app = typer.Typer(help="Messages that a device could not read, and windows that no model could score.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The device id.")]
NumbersArgument = Annotated[list[int] | None, typer.Argument(metavar="NUMBER...", help="Numbers from `list`.")]
AllOption = Annotated[bool, typer.Option("--all", help="All letters that the device has now.")]
WaitOption = Annotated[str, typer.Option(help="How long to wait for the device.")]


@app.command("list", epilog=EPILOG)
def list_all(
    name: NameArgument,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest.")] = 50,
    topic: Annotated[str | None, typer.Option(help="Of this topic only.")] = None,
    reason: Annotated[str | None, typer.Option(help="With this reason code only.")] = None,
    wait: WaitOption = "15s",
    output: OutputOption = Output.TABLE,
) -> None:
    """The newest dead letters of a device, newest first.

    Example: fleet device deadletter list barn-1 --reason not_json
    """
    arguments = {"limit": limit} | {key: value for key, value in (("topic", topic), ("reason", reason)) if value is not None}
    found = _ask(name, "deadletter-list", arguments, wait)
    if output is Output.JSON:
        print_json(found)
        return
    rows = [
        (each["number"], age(each["received"]), each["topic"], each["reason"], size(each["size"]), each["detail"])
        for each in found["letters"]
    ]
    console().print(table(("number", "ago", "topic", "reason", "size", "detail"), rows))
    if found["total"] > len(rows):
        typer.echo(f"{len(rows)} of {found['total']} ({size(found['bytes'])}); more with --limit")


@app.command("show", epilog=EPILOG)
def show_one(
    name: NameArgument,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="From `list`.")],
    wait: WaitOption = "15s",
    output: OutputOption = Output.TABLE,
) -> None:
    """One dead letter with its payload.

    Example: fleet device deadletter show barn-1 17
    """
    letter = _ask(name, "deadletter-show", {"number": number}, wait)
    if output is Output.JSON:
        print_json(letter)
    else:
        console().print(table((name, f"dead letter {number}"), [(key, value) for key, value in letter.items()]))


@app.command("replay", epilog=EPILOG)
def replay(
    name: NameArgument,
    numbers: NumbersArgument = None,
    everything: AllOption = False,
    wait: WaitOption = "30s",
    output: OutputOption = Output.TABLE,
) -> None:
    """Have a device take letters in again, as if their messages had just come: after its configuration was mended.

    What still cannot be read becomes a new letter. A window that could not be scored is no message, and is skipped.

    Example: fleet device deadletter replay barn-1 17 18
    """
    total = {"replayed": 0, "skipped": 0}
    arguments = _which(name, numbers, everything, wait)
    left = bool(arguments)
    while left:
        answer = _ask(name, "deadletter-replay", arguments, wait)
        total = {"replayed": total["replayed"] + answer["replayed"], "skipped": answer["skipped"]}
        left = bool(answer["left"] and answer["replayed"] and everything)
    if output is Output.JSON:
        print_json(total)
    else:
        skipped = f", {total['skipped']} skipped: no messages, or no pipeline reads them" if total["skipped"] else ""
        typer.echo(f"{name}: {total['replayed']} taken in again{skipped}")


@app.command("drop", epilog=EPILOG)
def drop(
    name: NameArgument,
    numbers: NumbersArgument = None,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: WaitOption = "15s",
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete dead letters of a device.

    Example: fleet device deadletter drop barn-1 --all --yes
    """
    arguments = _which(name, numbers, everything, wait)
    if everything and not yes:
        typer.confirm(f"Delete all dead letters of {name}?", abort=True, err=True)
    answer = _ask(name, "deadletter-drop", arguments, wait) if arguments else {"dropped": 0}
    if output is Output.JSON:
        print_json(answer)
    else:
        typer.echo(f"{name}: {answer['dropped']} dropped")


def _which(name: str, numbers: list[int] | None, everything: bool, wait: str) -> dict[str, Any]:
    """The letters that a command line names; empty for none."""
    if everything == bool(numbers):
        raise typer.BadParameter("either numbers or --all are needed")
    if numbers:
        return {"numbers": numbers}
    newest = _ask(name, "deadletter-list", {"limit": 1}, wait)["newest"]
    return {"through": newest} if newest else {}


def _ask(name: str, what: str, arguments: dict[str, Any], wait: str) -> dict[str, Any]:
    """The device's answer; ends the command if there is none, or if it refuses."""
    answer = ask(Service(timeout=60.0), name, what, arguments, parse_duration(wait))
    if answer["status"] is None:
        fail(Exit.NO_ANSWER, f"{name} has not answered within {wait}; the command is valid until {answer['expires']}")
    reply = answer["reply"] or {}
    if answer["status"] != "ok":
        fail(Exit.FAILED, f"{name}: {reply.get('detail') or reply.get('reason')}")
    result: dict[str, Any] = reply["result"]
    return result
