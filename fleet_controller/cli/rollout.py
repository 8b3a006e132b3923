"""`fleet rollout`: start, list, show, pause, resume, abort, return."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from fleet_contract.variant_text import describe_choice
from fleet_controller.cli.arguments import (
    DryRunOption,
    Output,
    OutputOption,
    WatchOption,
    parse_duration,
    parse_pairs,
)
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import EPILOG, Exit, fail
from fleet_controller.cli.output import age, show, table

app = typer.Typer(help="Releases on their way to the devices, in waves.", no_args_is_help=True, epilog=EPILOG)

NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", help="The rollout's number.")]


class OnFailure(StrEnum):
    """What a failed gate does."""

    PAUSE = "pause"
    RETURN = "return"


@app.command("start", epilog=EPILOG)
def start(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    release: Annotated[int | None, typer.Option("--release", "-r", help="Release number; default is the newest.")] = None,
    select: Annotated[list[str] | None, typer.Option("--select", "-s", help="Devices with this label, key=value.")] = None,
    device: Annotated[list[str] | None, typer.Option("--device", "-d", help="This device; repeat for more.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every device.")] = False,
    canary: Annotated[str | None, typer.Option(help='First wave: a number, or a share such as "10%"; 0 is one wave.')] = None,
    soak: Annotated[str | None, typer.Option(help="How long a wave must stay healthy, such as 30s or 1h.")] = None,
    timeout: Annotated[str | None, typer.Option(help="How long a device may take to run the release.")] = None,
    on_failure: Annotated[OnFailure | None, typer.Option(help="Wait for you, or bring the old release back.")] = None,
    shadow: Annotated[
        bool,
        typer.Option("--shadow/--no-shadow", help="Let devices try it on live inputs, unpublished, before they switch."),
    ] = True,
    max_drift: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="PSI that the release's answers may be from its baseline on a device, such as 0.25; default: any."
        ),
    ] = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring a release to devices: a canary first, the rest when every device of the wave attests the digest and stays healthy.

    Example: fleet rollout start frost --release 2 --select site=farm --canary 1 --soak 30s --on-failure return
    """
    if sum((bool(select), bool(device), every)) != 1:
        fail(Exit.USAGE, "select devices with --select, --device or --all: exactly one of the three")
    body = {
        "model": model,
        "release": release,
        "devices": device or [],
        "labels": parse_pairs(select or (), "label"),
        "all": every,
        "canary": canary,
        "soak": parse_duration(soak) if soak is not None else None,
        "timeout": parse_duration(timeout) if timeout is not None else None,
        "on_failure": on_failure,
        "shadow": shadow,
        "max_drift": max_drift,
        "dry_run": dry_run,
    }
    show(lambda: Service().post("/rollouts", body), render_rollout, output)


@app.command("list", epilog=EPILOG)
def list_all(watch: WatchOption = False, output: OutputOption = Output.TABLE) -> None:
    """The newest rollouts.

    Example: fleet rollout list
    """
    service = Service()
    show(lambda: service.get("/rollouts"), _render_list, output, watch=watch)


def _render_list(rollouts: list[dict[str, Any]]) -> Any:
    rows = [
        (
            each["id"],
            each["model"],
            _version(each),
            each["state"],
            f"{each['wave'] + 1} of {each['waves']}",
            each["reason"],
            each["operator"],
            age(each["created"]),
        )
        for each in rollouts
    ]
    return table(("number", "of", "version", "state", "wave", "reason", "operator", "started ago"), rows)


@app.command("show", epilog=EPILOG)
def show_one(number: NumberArgument, watch: WatchOption = False, output: OutputOption = Output.TABLE) -> None:
    """One rollout: each device with its wave, its state, and why. `--watch` ends when the rollout has ended or is paused.

    Example: fleet rollout show 3 --watch
    """
    service = Service()
    show(
        lambda: service.get(f"/rollouts/{number}"),
        render_rollout,
        output,
        watch=watch,
        finished=lambda rollout: rollout["state"] != "running",
    )


def render_rollout(rollout: dict[str, Any]) -> Any:
    """A rollout with its devices, as a table."""
    from rich.console import Group

    plan = rollout["plan"]
    what = f"{rollout['model']} {_version(rollout)}"
    head = f"rollout {rollout['id']}" if rollout["id"] else "dry run: nothing is started"
    skipped = "" if plan["shadow"] else ", no shadow"
    skipped += "" if plan["max_drift"] is None else f", drift up to {plan['max_drift']:g}"
    facts = [
        (rollout["kind"], what),
        ("state", rollout["state"] if rollout["id"] else None),
        ("wave", f"{rollout['wave'] + 1} of {rollout['waves']}"),
        ("plan", f"canary {plan['canary']}, soak {plan['soak']:g} s, on failure {plan['on_failure']}{skipped}"),
        ("reason", rollout["reason"]),
        ("detail", rollout["detail"]),
    ]
    members = [
        (
            each["device"],
            each["wave"] + 1,
            each["state"],
            each["progress"],
            each["reason"],
            " ".join(filter(None, (each["meaning"], each["detail"], describe_choice(each.get("choice") or {})))),
            _before(each),
            f"{each['drift']:.2f}" if each["drift"] is not None else None,
        )
        for each in rollout["members"]
    ]
    return Group(
        table((head, ""), [row for row in facts if row[1] is not None]),
        table(("device", "wave", "state", "update", "reason", "meaning", "before", "drift"), members),
    )


def _version(rollout: dict[str, Any]) -> str:
    if rollout["kind"] == "configuration":
        return f"revision {rollout['release']}"
    return f"{rollout['version']} (r{rollout['release']})"


def _before(member: dict[str, Any]) -> str | None:
    if member["previous"] is None:
        return None
    return f"{member['previous_name']}@{member['previous']}" if member["previous_name"] else f"r{member['previous']}"


def _steer(number: int, action: str, output: Output) -> None:
    show(lambda: Service().post(f"/rollouts/{number}/{action}"), render_rollout, output)


@app.command("pause", epilog=EPILOG)
def pause(number: NumberArgument, output: OutputOption = Output.TABLE) -> None:
    """Start no further wave. Example: fleet rollout pause 3"""
    _steer(number, "pause", output)


@app.command("resume", epilog=EPILOG)
def resume(number: NumberArgument, output: OutputOption = Output.TABLE) -> None:
    """Go on with a paused rollout. Example: fleet rollout resume 3"""
    _steer(number, "resume", output)


@app.command("abort", epilog=EPILOG)
def abort(number: NumberArgument, output: OutputOption = Output.TABLE) -> None:
    """End it; every device keeps what it has. Example: fleet rollout abort 3"""
    _steer(number, "abort", output)


@app.command("return", epilog=EPILOG)
def give_back(number: NumberArgument, output: OutputOption = Output.TABLE) -> None:
    """End it and bring every touched device back to its previous release. Example: fleet rollout return 3"""
    _steer(number, "return", output)
