"""`fleet device`: add, list, show, label, command, logs, forget."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from fleet_controller.cli import deadletter
from fleet_controller.cli.arguments import (
    DryRunOption,
    Output,
    OutputOption,
    WatchOption,
    parse_duration,
    parse_pairs,
    parse_values,
)
from fleet_controller.cli.asking import ask
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import EPILOG, Exit, fail
from fleet_controller.cli.output import age, console, print_json, short, show, size, table

app = typer.Typer(help="The devices of the fleet.", no_args_is_help=True, epilog=EPILOG)
app.add_typer(deadletter.app, name="deadletter")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The device id.")]
_CREDENTIALS: Final = ("broker-password", "token", "root.json", "agent.toml")


@app.command("add", epilog=EPILOG)
def add(
    name: NameArgument,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="key=value; repeat for more.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the credentials; default ./NAME.")] = None,
    path_on_device: Annotated[
        str | None, typer.Option(help="Where the folder will lie on the device; default: where it lies here.")
    ] = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Add a device and write its credentials, which the controller does not keep, to a folder.

    The folder holds broker-password, token, root.json (the root of trust) and agent.toml, which the device's own
    configuration starts from. Copy it to the device, then delete it here.

    Example: fleet device add barn-1 --label site=farm --path-on-device /etc/smallhold
    """
    labels = parse_pairs(label or (), "label")
    folder = (out or Path(name)).absolute()
    taken = [file for file in _CREDENTIALS if (folder / file).exists()]
    if taken:
        fail(Exit.FAILED, f"{folder / taken[0]} exists and is not overwritten; choose another folder with --out")
    service = Service()
    if not dry_run:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            fail(Exit.FAILED, f"{folder}: {error.strerror}")
    answer = service.post("/devices", {"device": name, "labels": labels, "dry_run": dry_run})
    if dry_run:
        if output is Output.JSON:
            print_json(answer)
        else:
            typer.echo(f"would add {name} and write its credentials to {folder}")
        return
    _write_credentials(folder, path_on_device or str(folder), answer)
    if answer["warning"]:
        typer.echo(f"fleet: {answer['warning']}", err=True)
    if output is Output.JSON:
        print_json({"device": name, "labels": labels, "folder": str(folder), "warning": answer["warning"]})
    else:
        typer.echo(f"{name} is added. Its credentials are in {folder}; copy them to the device, then delete them here.")


def _write_credentials(folder: Path, on_device: str, answer: dict[str, Any]) -> None:
    contents = {
        "broker-password": answer["broker_password"] + "\n",
        "token": answer["token"] + "\n",
        "root.json": answer["root"],
        "agent.toml": _agent_toml(on_device.rstrip("/"), answer),
    }
    for name, content in contents.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)


def _agent_toml(folder: str, answer: dict[str, Any]) -> str:
    # A TOML basic string has JSON's escapes.
    text = json.dumps
    lines = [
        f"# Written by `fleet device add {answer['device']}`. Add [site] and [[pipelines]].",
        f"device = {text(answer['device'])}",
        "",
        "[mqtt]",
        f"host = {text(answer['broker_host'])}",
        f"port = {answer['broker_port']}",
        f"username = {text(answer['device'])}",
        f"password_file = {text(folder + '/broker-password')}",
        f"tls = {'true' if answer['broker_tls'] else 'false'}",
        "",
        "[updates]",
        f"url = {text(answer['url'])}",
        f"token_file = {text(folder + '/token')}",
        f"root_file = {text(folder + '/root.json')}",
    ]
    return "\n".join(lines) + "\n"


@app.command("list", epilog=EPILOG)
def list_all(
    select: Annotated[list[str] | None, typer.Option("--select", "-s", help="Only with this label, key=value.")] = None,
    watch: WatchOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Every device: is it there, what runs on it.

    Example: fleet device list --select site=farm -o json
    """
    wanted = parse_pairs(select or (), "label").items()
    service = Service()
    show(
        lambda: [device for device in service.get("/devices") if wanted <= device["labels"].items()],
        _render_list,
        output,
        watch=watch,
    )


def _render_list(devices: list[dict[str, Any]]) -> Any:
    rows = []
    for device in devices:
        reported = device["reported"] or {}
        rows.append(
            (
                device["device"],
                _state(device),
                ", ".join(f"{model['model']} {model['version']} (r{model['release']})" for model in reported.get("models", ())),
                ", ".join(_update(update) for update in reported.get("updates", ()) if update["state"] != "committed"),
                labels_text(device["labels"]),
                age(device["last_seen"]),
            )
        )
    return table(("device", "state", "models", "updates", "labels", "last seen"), rows)


def labels_text(labels: dict[str, str]) -> str:
    """Labels as they are selected."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _state(device: dict[str, Any]) -> str:
    return "online" if device["online"] else "offline" if device["birth"] else "never seen"


def _update(update: dict[str, Any]) -> str:
    return f"{update['model']} r{update['release']} {update['state']}" + (
        f": {update['reason']}" if update.get("reason") else ""
    )


@app.command("show", epilog=EPILOG)
def show_one(name: NameArgument, watch: WatchOption = False, output: OutputOption = Output.TABLE) -> None:
    """One device: what it is, what runs, how its updates went and why, health, newest notes.

    Example: fleet device show barn-1
    """
    service = Service()
    show(lambda: service.get(f"/devices/{quote(name, safe='')}"), _render_one, output, watch=watch)


def _version(model: dict[str, Any]) -> str:
    return f"{model['version']} {model['variant']}" if model.get("variant") else str(model["version"])


def _written(health: dict[str, Any]) -> str | None:
    total, each = health.get("written_bytes"), health.get("written_bytes_per_event")
    if total is None:
        return None
    return f"{size(total)}, {size(round(each))} per event" if each is not None else size(total)


def _fetched(health: dict[str, Any]) -> str | None:
    got, budget = health.get("update_bytes"), health.get("update_budget_bytes")
    if got is None:
        return None
    return f"{size(got)} this month" + (f" of {size(budget)}" if budget is not None else "")


def _disk(health: dict[str, Any]) -> str | None:
    fault = health.get("store_fault")
    return fault and f"{fault}, so nothing is stored and events wait at the site broker"


def _clock(health: dict[str, Any]) -> str | None:
    behind = health.get("clock_behind_s")
    return None if behind is None else f"not believed: {behind:g} s before the last time seen"


def _render_one(device: dict[str, Any]) -> Any:
    from rich.console import Group

    from fleet_contract.configuration_text import describe_agent, describe_configuration
    from fleet_contract.drift_text import describe_drift
    from fleet_contract.evidence_text import describe_evidence
    from fleet_contract.progress_text import describe_progress
    from fleet_contract.reasons import MEANING
    from fleet_contract.trust_report import describe_trust
    from fleet_contract.variant_text import describe_choice

    meanings = {str(reason): text for reason, text in MEANING.items()}
    birth, reported, health = device["birth"] or {}, device["reported"] or {}, device["health"] or {}
    hardware = birth.get("hardware", {})
    facts = [
        ("state", _state(device)),
        ("labels", labels_text(device["labels"])),
        ("last seen", age(device["last_seen"])),
        ("agent", describe_agent(birth)),
        ("system", birth.get("operating_system")),
        ("machine", " ".join(filter(None, (hardware.get("board"), hardware.get("machine"))))),
        ("memory", size(hardware.get("memory_bytes"))),
        ("desired", ", ".join(f"{each['model']} r{each['release']}" for each in device["desired"]["models"])),
        ("configuration", describe_configuration(reported.get("configuration")) or None),
        *(("trust", phrase) for phrase in describe_trust(reported.get("trust"))),
        ("updates held", ", ".join("all" if item == "*" else item for item in reported.get("holds", ())) or None),
        ("revision", f"{reported.get('revision', 0)} of {device['desired']['revision']}"),
    ]
    if health:
        facts += [
            ("health", f"{age(device['health_received'])} ago"),
            ("cpu", f"{health['cpu_percent']:.0f} %"),
            ("results", f"{health['results_per_minute']:.1f}/min"),
            ("outbox", f"{health['outbox_rows']} rows, {size(health['outbox_bytes'])}"),
            ("disk free", size(health["disk_free_bytes"])),
            ("written", _written(health)),
            ("updates fetched", _fetched(health)),
            ("clock", _clock(health)),
            ("disk", _disk(health)),
        ]
    parts = [table((device["device"], ""), facts)]
    models = [
        (each["model"], _version(each), each["release"], short(each["digest"]), _provider(each), age(each["since"]))
        for each in reported.get("models", ())
    ]
    if models:
        parts.append(table(("model", "version", "release", "digest", "provider", "for"), models, "what runs"))
    updates = [
        (
            each["model"],
            each["release"],
            each["state"],
            each.get("reason"),
            describe_progress(each),
            age(each["since"]),
        )
        for each in reported.get("updates", ())
    ]
    if updates:
        parts.append(table(("model", "release", "state", "reason", "progress", "for"), updates, "updates"))
    # Long texts, which would leave the other columns no room.
    told = [
        (each["model"], text)
        for each in reported.get("updates", ())
        for text in (_explain(each, meanings), describe_choice(each), describe_evidence(each.get("evidence")))
        if text
    ]
    if told:
        parts.append(table(("model", "why, and how it does"), told))
    measured = [
        (
            each["model"],
            each["inferences"],
            each["errors"],
            each.get("p50_ms"),
            each.get("p95_ms"),
            size(each.get("memory_bytes")),
            each.get("mode"),
            _quality(each),
        )
        for each in health.get("models", ())
    ]
    if measured:
        columns = ("model", "inferences", "errors", "p50 ms", "p95 ms", "memory", "mode", "feedback")
        parts.append(table(columns, measured, "health"))
    drift = [(each["model"], describe_drift(each["drift"])) for each in health.get("models", ()) if each.get("drift")]
    if drift:
        parts.append(table(("model", "inputs and answers beside the baseline"), drift, "drift"))
    notes = [(age(each["time"]), each["kind"], each.get("reason"), each["detail"]) for each in device["notes"][:10]]
    if notes:
        parts.append(table(("ago", "kind", "reason", "detail"), notes, "newest notes"))
    return Group(*parts)


def _quality(model: dict[str, Any]) -> str | None:
    """What the device itself knows of how right the release was."""
    labelled, error = model.get("labelled"), model.get("mean_error")
    if not labelled:
        return None
    return f"mean error {error:.4g} of {labelled}" if error is not None else f"{model.get('right')} of {labelled} right"


def _explain(update: dict[str, Any], meanings: dict[str, str]) -> str:
    return " ".join(filter(None, (meanings.get(update.get("reason") or ""), update.get("detail"))))


@app.command("label", epilog=EPILOG)
def label_one(
    name: NameArgument,
    changes: Annotated[list[str], typer.Argument(metavar="KEY=VALUE|KEY-...", help="Set a label, or take one away.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Set labels (key=value) or take them away (key-).

    Example: fleet device label barn-1 site=farm stage-
    """
    labels: dict[str, str | None] = {}
    for change in changes:
        if change.endswith("-") and "=" not in change:
            labels[change[:-1]] = None
        else:
            labels.update(parse_pairs([change], "label"))
    answer = Service().patch(f"/devices/{quote(name, safe='')}", {"labels": labels})
    if output is Output.JSON:
        print_json(answer)
    else:
        typer.echo(f"{name}: {labels_text(answer['labels']) or 'no labels'}")


@app.command("command", epilog=EPILOG)
def command(
    name: NameArgument,
    what: Annotated[
        str,
        typer.Argument(metavar="COMMAND", help="ping, status, restart-model, set-log-level, update-hold, update-release, …"),
    ],
    arg: Annotated[list[str] | None, typer.Option("--arg", "-a", help="key=value; repeat for more.")] = None,
    wait: Annotated[str, typer.Option(help="How long to wait for the answer.")] = "15s",
    output: OutputOption = Output.TABLE,
) -> None:
    """Send a command and print the device's answer. The device executes it at most once.

    Example: fleet device command barn-1 restart-model --arg model=frost

    Example: fleet device command barn-1 update-hold --arg model=frost --arg why="the harvest is on"
    """
    answer = ask(Service(timeout=60.0), name, what, parse_values(arg or ()), parse_duration(wait))
    reply = answer["reply"] or {}
    if output is Output.JSON:
        print_json(answer)
    elif answer["status"] is not None:
        rows = [("status", answer["status"]), ("reason", reply.get("reason")), ("detail", reply.get("detail"))]
        rows += [
            (key, value if isinstance(value, str) else json.dumps(value)) for key, value in reply.get("result", {}).items()
        ]
        console().print(table((name, what), [row for row in rows if row[1] is not None]))
    if answer["status"] is None:
        fail(Exit.NO_ANSWER, f"{name} has not answered yet; the command is valid until {answer['expires']}")
    if answer["status"] != "ok":
        fail(Exit.FAILED, f"{name}: {reply.get('detail') or reply.get('reason')}")


@app.command("logs", epilog=EPILOG)
def logs(
    name: NameArgument,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the newest lines.")] = 100,
    wait: Annotated[str, typer.Option(help="How long to wait for them.")] = "15s",
    output: OutputOption = Output.TABLE,
) -> None:
    """The newest log lines of a device.

    Example: fleet device logs barn-1 -n 50
    """
    import time

    service = Service(timeout=60.0)
    seconds = parse_duration(wait)
    end = time.monotonic() + seconds
    answer = ask(service, name, "collect-logs", {"lines": lines}, seconds)
    if answer["status"] == "error":
        fail(Exit.FAILED, f"{name}: {(answer['reply'] or {}).get('detail')}")
    found = service.get(f"/commands/{answer['correlation']}")
    while not found["complete"] and time.monotonic() < end:
        time.sleep(0.2)
        found = service.get(f"/commands/{answer['correlation']}")
    if output is Output.JSON:
        print_json({"device": name, "lines": found["lines"], "complete": found["complete"]})
    else:
        for line in found["lines"]:
            typer.echo(line)
    if not found["complete"]:
        fail(Exit.NO_ANSWER, f"{name} has not sent all of its lines within {wait}")


@app.command("forget", epilog=EPILOG)
def forget(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a device out of the fleet: its password and token end at once. Its results stay.

    Example: fleet device forget barn-1 --yes
    """
    if not yes and not dry_run:
        typer.confirm(f"Take {name} out of the fleet?", abort=True, err=True)
    answer = Service().delete(f"/devices/{quote(name, safe='')}", dry_run=dry_run)
    if answer.get("warning"):
        typer.echo(f"fleet: {answer['warning']}", err=True)
    if output is Output.JSON:
        print_json(answer)
    else:
        typer.echo(f"{'would forget' if dry_run else 'forgot'} {name}")


def _provider(model: dict[str, Any]) -> str:
    why = model.get("degraded")
    return f"{model['provider']} (degraded: {why})" if why else str(model["provider"])
