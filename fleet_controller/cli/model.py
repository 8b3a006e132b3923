"""`fleet model`: build and verify bundles here; look at what is published. Signing and publishing is in `release.py`."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from fleet_controller.cli import accuracy, drift, release
from fleet_controller.cli.arguments import Output, OutputOption
from fleet_controller.cli.baseline import baseline
from fleet_controller.cli.build import BUILD_EPILOG, build, facts_view, print_facts
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import EPILOG, Exit, fail
from fleet_controller.cli.optimize import OPTIMIZE_EPILOG, optimize
from fleet_controller.cli.output import age, short, show, size, table

app = typer.Typer(help="Model bundles and their signed releases.", no_args_is_help=True, epilog=EPILOG)

app.command("build", epilog=BUILD_EPILOG)(build)
app.command("baseline", epilog=EPILOG)(baseline)
app.command("optimize", epilog=OPTIMIZE_EPILOG)(optimize)


@app.command("verify", epilog=EPILOG)
def verify(bundle: release.BundleArgument, output: OutputOption = Output.TABLE) -> None:
    """Check a bundle as the controller and the devices do, without running the model.

    Example: fleet model verify frost-1.0.0.tar
    """
    print_facts(facts_view(bundle, release.measure(bundle)), output)


@app.command("list", epilog=EPILOG)
def list_all(output: OutputOption = Output.TABLE) -> None:
    """Every published release.

    Example: fleet model list
    """
    service = Service()
    show(lambda: service.get("/models"), _render_list, output)


def _render_list(releases: list[dict[str, Any]]) -> Any:
    rows = [
        (
            each["model"],
            each["release"],
            each["version"],
            ", ".join(item["variant"] for item in each["variants"] if item["variant"]) or each["manifest"].get("runtime"),
            size(each["size"]),
            short(each["digest"]),
            "revoked" if each["revoked"] else None,
            age(each["created"]),
        )
        for each in releases
    ]
    return table(("model", "release", "version", "variants", "size", "digest", "", "published ago"), rows)


@app.command("show", epilog=EPILOG)
def show_one(
    name: Annotated[str, typer.Argument(metavar="MODEL")],
    number: Annotated[int | None, typer.Option("--release", help="A release number; default is the newest.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """One model: its releases, and the manifest of one of them.

    Example: fleet model show frost --release 2
    """
    service = Service()

    def fetch() -> Any:
        rows = service.get(f"/models/{quote(name, safe='')}")
        if number is None:
            return rows
        rows = [row for row in rows if row["release"] == number]
        return rows or fail(Exit.NOT_FOUND, f"{name} has no release {number}")

    show(fetch, _render_one, output)


def _render_one(releases: list[dict[str, Any]]) -> Any:
    from rich.console import Group

    newest = releases[-1]
    manifest = newest["manifest"]
    facts = [
        (key, manifest.get(key))
        for key in ("description", "task", "runtime", "window", "licence", "metrics_data", "trained_on")
    ]
    facts += [("inputs", ", ".join(f"{each['name']} {each.get('unit') or ''}".strip() for each in manifest.get("inputs", ())))]
    facts += [("labels", ", ".join(manifest.get("labels", ())))]
    facts += [(key, value) for key, value in manifest.get("metrics", {}).items()]
    deltas = [
        f"from release {each['from']}{' ' + each['variant'] if each['variant'] else ''}: {size(each['bytes'])}"
        for each in newest["deltas"]
    ]
    facts += [("deltas", ", ".join(deltas))]
    title = (f"{newest['model']} {newest['version']} (release {newest['release']})", "")
    parts = [_render_list(releases), table(title, [row for row in facts if row[1] not in (None, "")])]
    if len(newest["variants"]) > 1:
        columns = ("variant", "runs on", "size", "memory", "latency", "digest")
        parts.append(table(columns, [_variant_row(each) for each in newest["variants"]]))
    return Group(*parts)


def _variant_row(variant: dict[str, Any]) -> tuple[str | None, ...]:
    facts = variant["facts"] or {}
    lowest, highest = facts.get("runtime_min"), facts.get("runtime_max")
    versions = f" {lowest or ''}…{highest or ''}" if lowest or highest else ""
    accelerators = f" with {' or '.join(facts['accelerators'])}" if facts.get("accelerators") else ""
    latency = facts.get("latency_us")
    return (
        variant["variant"],
        f"{facts.get('runtime', '')}{versions}{accelerators}",
        size(variant["size"]),
        size(facts.get("memory_bytes") or None),
        f"{latency / 1000:g} ms on {facts.get('latency_device')}" if latency else None,
        short(variant["digest"]),
    )


for command in (release.add, release.sign, release.publish, release.revoke):
    app.command(command.__name__, epilog=EPILOG)(command)
app.command("drift", epilog=EPILOG)(drift.show_drift)
app.command("accuracy", epilog=EPILOG)(accuracy.show_accuracy)
