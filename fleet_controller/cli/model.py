"""`fleet model`: build and verify bundles here; sign and publish them; look at what is published."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from fleet_controller.cli.arguments import DryRunOption, Output, OutputOption
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import EPILOG, Exit, fail
from fleet_controller.cli.optimize import OPTIMIZE_EPILOG, optimize
from fleet_controller.cli.output import age, console, print_json, short, show, size, table

if TYPE_CHECKING:
    from fleet_controller.registry.publication import BundleFacts

app = typer.Typer(help="Model bundles and their signed releases.", no_args_is_help=True, epilog=EPILOG)

app.command("optimize", epilog=OPTIMIZE_EPILOG)(optimize)

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", exists=True, dir_okay=False, help="The bundle, a .tar.")]


def _facts_view(bundle: Path, facts: "BundleFacts") -> dict[str, Any]:
    manifest = facts.manifest
    return {
        "bundle": str(bundle),
        "model": manifest.name,
        "version": manifest.version,
        "runtime": str(manifest.runtime),
        "task": manifest.task,
        "licence": manifest.licence,
        "bytes": facts.length,
        "digest": facts.digest,
    }


def _print_facts(view: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        print_json(view)
    else:
        console().print(table((view["model"], ""), [(key, value) for key, value in view.items() if key != "model"]))


@app.command("build", epilog=EPILOG)
def build(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with model.toml and its files.")],
    out: Annotated[Path | None, typer.Option(help="The bundle to write; default ./NAME-VERSION.tar.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Pack a folder into a bundle and check it. The same files give the same bytes.

    Example: fleet model build models/frost --out frost-1.0.0.tar
    """
    from fleet_contract.bundle import BundleError
    from fleet_contract.manifest import MANIFEST_NAME, ManifestError, parse_manifest
    from fleet_controller.registry.bundles import build_bundle

    try:
        if out is None:
            manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes())
            out = Path(f"{manifest.name}-{manifest.version}.tar")
        facts = build_bundle(folder, out)
    except (BundleError, ManifestError) as error:
        fail(Exit.FAILED, f"{folder}: {error}")
    except OSError as error:
        fail(Exit.FAILED, f"{error.filename}: {error.strerror}")
    _print_facts(_facts_view(out, facts), output)


def _measure(bundle: Path) -> "BundleFacts":
    from fleet_contract.bundle import BundleError
    from fleet_controller.registry.bundles import measure_bundle

    try:
        return measure_bundle(bundle)
    except BundleError as error:
        fail(Exit.FAILED, f"{bundle}: {error} ({error.reason})")
    except OSError as error:
        fail(Exit.FAILED, f"{bundle}: {error.strerror}")


@app.command("verify", epilog=EPILOG)
def verify(bundle: BundleArgument, output: OutputOption = Output.TABLE) -> None:
    """Check a bundle as the controller and the devices do, without running the model.

    Example: fleet model verify frost-1.0.0.tar
    """
    _print_facts(_facts_view(bundle, _measure(bundle)), output)


@app.command("add", epilog=EPILOG)
def add(
    bundle: BundleArgument,
    key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The release key. It never leaves this machine.")],
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Opens the key; else SMALLHOLD_KEY_PASSPHRASE_FILE, else you are asked.")
    ] = None,
    floor: Annotated[
        int | None, typer.Option(min=0, help="Revoke every release of this model below this number, for good.")
    ] = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign a bundle with the release key, here, and publish it as the model's next release.

    Example: fleet model add frost-1.0.0.tar --key /media/usb/release.pem
    """
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Targets

    from fleet_controller.registry.keys import KeyFileError, load_signer, read_passphrase
    from fleet_controller.registry.publication import PublicationError, next_release, with_release

    facts = _measure(bundle)
    service = Service(timeout=600.0)
    try:
        current = Metadata[Targets].from_bytes(service.get("/metadata/models")["metadata"].encode())
        release = next_release(current.signed, facts, floor)
        signer = load_signer(key, read_passphrase(passphrase_file, what="release key"))
    except (RepositoryError, PublicationError, KeyFileError) as error:
        fail(Exit.FAILED, str(error))
    view: dict[str, Any] = {
        "model": release.model,
        "release": release.release,
        "version": release.version,
        "floor": release.floor,
        "digest": facts.digest,
        "size": facts.length,
    }
    if not dry_run:
        proposed = with_release(current, release, facts, datetime.now(UTC))
        proposed.sign(signer)
        service.upload(f"/uploads/{facts.sha256}", bundle)
        view = service.post("/releases", {"metadata": proposed.to_bytes().decode(), "sha256": facts.sha256})
    if output is Output.JSON:
        print_json(view | {"dry_run": dry_run})
    else:
        done = "would publish" if dry_run else "published"
        typer.echo(f"{done} {release.model} {release.version} as release {release.release}, {facts.digest}")


@app.command("list", epilog=EPILOG)
def list_all(output: OutputOption = Output.TABLE) -> None:
    """Every published release.

    Example: fleet model list
    """
    service = Service()
    show(lambda: service.get("/models"), _render_list, output)


def _render_list(releases: list[dict[str, Any]]) -> Any:
    floors: dict[str, int] = {}
    for each in releases:
        floors[each["model"]] = max(each["floor"], floors.get(each["model"], 0))
    rows = [
        (
            each["model"],
            each["release"],
            each["version"],
            each["manifest"]["runtime"],
            size(each["size"]),
            short(each["digest"]),
            "revoked" if each["release"] < floors[each["model"]] else None,
            age(each["created"]),
        )
        for each in releases
    ]
    return table(("model", "release", "version", "runtime", "size", "digest", "", "published ago"), rows)


@app.command("show", epilog=EPILOG)
def show_one(
    name: Annotated[str, typer.Argument(metavar="MODEL")],
    release: Annotated[int | None, typer.Option(help="A release number; default is the newest.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """One model: its releases, and the manifest of one of them.

    Example: fleet model show frost --release 2
    """
    service = Service()

    def fetch() -> Any:
        rows = service.get(f"/models/{quote(name, safe='')}")
        if release is None:
            return rows
        rows = [row for row in rows if row["release"] == release]
        return rows or fail(Exit.NOT_FOUND, f"{name} has no release {release}")

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
    title = (f"{newest['model']} {newest['version']} (release {newest['release']})", "")
    return Group(_render_list(releases), table(title, [row for row in facts if row[1] not in (None, "")]))
