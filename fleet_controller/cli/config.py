"""`fleet config`: what devices are told to do, in revisions that are signed and go out in waves."""

import difflib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from fleet_controller.cli.arguments import DryRunOption, Output, OutputOption, parse_duration, parse_pairs
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import EPILOG, Exit, fail
from fleet_controller.cli.output import age, console, print_json, short, show, size, table
from fleet_controller.cli.rollout import OnFailure, render_rollout

app = typer.Typer(help="Configurations of devices: pipelines, thresholds, log level.", no_args_is_help=True, epilog=EPILOG)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The configuration's name.")]
DeviceOption = Annotated[list[str] | None, typer.Option("--device", "-d", help="This device; repeat for more.")]
SelectOption = Annotated[list[str] | None, typer.Option("--select", "-s", help="Devices with this label, key=value.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every device.")]


class Change(StrEnum):
    """How a line of a difference begins."""

    GONE = "-"
    NEW = "+"


@app.command("set", epilog=EPILOG)
def set_revision(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="TOML, with the keys of agent.toml.")],
    over: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A device's agent.toml to check it over, too.")
    ] = None,
    agent: Annotated[str, typer.Option(help="The lowest version of the agent that it is meant for.")] = "",
    contract: Annotated[int, typer.Option(min=1, help="The lowest contract version that it is meant for.")] = 1,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a file as devices do, sign it and keep it as the next revision. No device changes before `assign`.

    Example: fleet config set orchards orchards.toml --over agent.toml
    """
    from fleet_controller.configurations.checking import CheckFailed, find_problems

    try:
        content = file.read_bytes()
        problems = find_problems(content, str(file), over)
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        fail(Exit.FAILED, f"{file}: not UTF-8")
    except OSError as error:
        fail(Exit.FAILED, f"{file}: {error.strerror}")
    except CheckFailed as error:
        fail(Exit.FAILED, str(error))
    if problems:
        fail(Exit.FAILED, "\n".join(problems))
    body = {"content": text, "agent": agent, "contract_low": contract, "dry_run": dry_run}
    show(lambda: Service().post(f"/configurations/{quote(name, safe='')}", body), _render_revision, output)


def _render_revision(revision: dict[str, Any]) -> Any:
    head = f"{revision['name']} revision {revision['revision']}"
    title = f"dry run: {head} would be made" if revision.get("dry_run") else head
    rows = [
        ("digest", short(revision["digest"])),
        ("size", size(revision["size"])),
        ("agent", f"at least {revision['agent']}" if revision["agent"] else "any"),
        ("set by", revision["operator"]),
        ("warning", revision.get("warning")),
    ]
    return table((title, ""), [row for row in rows if row[1] is not None])


@app.command("list", epilog=EPILOG)
def list_all(output: OutputOption = Output.TABLE) -> None:
    """Every revision, and how many devices are to have it and attest that they run it.

    Example: fleet config list
    """
    service = Service()
    show(lambda: service.get("/configurations"), _render_list, output)


def _render_list(revisions: list[dict[str, Any]]) -> Any:
    rows = [
        (
            each["name"],
            each["revision"],
            short(each["digest"]),
            size(each["size"]),
            each["wanted_by"],
            each["run_by"],
            each["operator"],
            age(each["created"]),
        )
        for each in revisions
    ]
    return table(("name", "revision", "digest", "size", "wanted by", "run by", "operator", "set ago"), rows)


@app.command("show", epilog=EPILOG)
def show_one(
    name: NameArgument,
    revision: Annotated[int | None, typer.Argument(metavar="[REVISION]", help="Default is the newest.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """One revision with its text, and the devices that are to have any of this name or run it.

    Example: fleet config show orchards 2
    """
    show(lambda: _get(name, revision), _render_one, output)


def _get(name: str, revision: int | None) -> Any:
    parameters = {} if revision is None else {"revision": revision}
    return Service().get(f"/configurations/{quote(name, safe='')}", **parameters)


def _render_one(revision: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    rows = [
        (
            each["device"],
            _shown(each["wanted"]),
            _shown(each["runs"]),
            each["state"],
            each["reason"],
            ", ".join(each["restart"]),
        )
        for each in revision["devices"]
    ]
    devices = table(("device", "wanted", "runs", "state", "reason", "waits for a restart"), rows)
    return Group(_render_revision(revision), Text(revision["content"]), devices)


def _shown(part: dict[str, Any] | None) -> str | None:
    return None if part is None else f"{part['name']}@{part['revision']}"


@app.command("diff", epilog=EPILOG)
def diff(
    name: NameArgument,
    before: Annotated[int, typer.Argument(metavar="REVISION")],
    after: Annotated[int, typer.Argument(metavar="REVISION")],
    output: OutputOption = Output.TABLE,
) -> None:
    """What differs between two revisions, line by line.

    Example: fleet config diff orchards 1 2
    """
    old, new = (_get(name, number)["content"].splitlines() for number in (before, after))
    lines = list(difflib.unified_diff(old, new, f"{name}@{before}", f"{name}@{after}", lineterm=""))
    if output is Output.JSON:
        changed = [
            {"change": "added" if line[0] == Change.NEW else "removed", "line": line[1:]}
            for line in lines[2:]
            if line[:1] in set(Change)
        ]
        print_json({"name": name, "before": before, "after": after, "changes": changed})
        return
    from rich.text import Text

    for line in lines or ["no difference"]:
        console().print(Text(line), soft_wrap=True)


@app.command("assign", epilog=EPILOG)
def assign(
    what: Annotated[str, typer.Argument(metavar="NAME[@REVISION]", help="Without a revision the newest.")],
    device: DeviceOption = None,
    select: SelectOption = None,
    every: AllOption = False,
    canary: Annotated[str | None, typer.Option(help='First wave: a number, or a share such as "10%"; 0 is one wave.')] = None,
    soak: Annotated[str | None, typer.Option(help="How long a wave must stay healthy, such as 30s or 1h.")] = None,
    timeout: Annotated[str | None, typer.Option(help="How long a device may take to run it.")] = None,
    on_failure: Annotated[OnFailure | None, typer.Option(help="Wait for you, or bring back what was there.")] = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring a revision to devices in waves, as a rollout: the next wave starts when every device attests it and stays healthy.

    `fleet rollout show`, `pause`, `resume`, `abort` and `return` work on it.

    Example: fleet config assign orchards@2 --select site=farm --canary 1 --soak 5min --on-failure return
    """
    name, _, number = what.partition("@")
    if number and not (number.isascii() and number.isdigit()):
        fail(Exit.USAGE, f"{what!r}: write NAME or NAME@REVISION, such as orchards@2")
    body = _selection(device, select, every=every) | {
        "revision": int(number) if number else None,
        "canary": canary,
        "soak": parse_duration(soak) if soak is not None else None,
        "timeout": parse_duration(timeout) if timeout is not None else None,
        "on_failure": on_failure,
        "dry_run": dry_run,
    }
    show(lambda: Service().post(f"/configurations/{quote(name, safe='')}/rollouts", body), render_rollout, output)


@app.command("unassign", epilog=EPILOG)
def unassign(
    device: DeviceOption = None,
    select: SelectOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let devices go back to their own files alone, all at once.

    Example: fleet config unassign --device barn-3
    """
    body = _selection(device, select, every=every) | {"dry_run": dry_run}

    def render(answer: dict[str, Any]) -> Any:
        head = "would be told" if answer["dry_run"] else "told"
        return table((head,), [(name,) for name in answer["devices"]])

    show(lambda: Service().post("/unassignments", body), render, output)


def _selection(device: list[str] | None, select: list[str] | None, *, every: bool) -> dict[str, Any]:
    if sum((bool(device), bool(select), every)) != 1:
        fail(Exit.USAGE, "select devices with --device, --select or --all: exactly one of the three")
    return {"devices": device or [], "labels": parse_pairs(select or (), "label"), "all": every}


@app.command("remove", epilog=EPILOG)
def remove(
    name: NameArgument,
    revision: Annotated[int, typer.Argument(metavar="REVISION")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a revision away for good: no device takes it any more. Refused while a device is to have it or runs it.

    Example: fleet config remove orchards 1
    """
    answer = Service().delete(f"/configurations/{quote(name, safe='')}", revision=revision)
    if output is Output.JSON:
        print_json(answer)
    else:
        typer.echo(f"removed: revision {revision} of {name}")
