"""`fleet model add`, `sign`, `publish` and `revoke`: releases signed here. The release key never leaves this machine."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_controller.cli.arguments import DryRunOption, Output, OutputOption
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import Exit, fail
from fleet_controller.cli.output import print_json
from fleet_controller.cli.trust_file import (
    OutOption,
    PassphraseOption,
    PinOption,
    TrustOption,
    fetch_trust,
    read_state,
    write_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Signer
    from tuf.api.metadata import Metadata, Targets

    from fleet_controller.registry.keys import Secrets
    from fleet_controller.registry.publication import BundleFacts

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", exists=True, dir_okay=False, help="The bundle, a .tar.")]
BundlesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="BUNDLE...", exists=True, dir_okay=False, help="A .tar; or all variants of one release."),
]
KeyOption = Annotated[
    str, typer.Option(metavar="KEY", help="The release key: a file, or hsm:ID?label=TOKEN. It never leaves this machine.")
]
FloorOption = Annotated[int | None, typer.Option(min=0, help="Revoke every release of this model below this number, for good.")]
UPLOAD_SECONDS = 600.0


def measure(bundle: Path) -> "BundleFacts":
    """What a bundle's bytes are, or the end of the command."""
    from fleet_contract.bundle import BundleError
    from fleet_controller.registry.bundles import measure_bundle

    try:
        return measure_bundle(bundle)
    except BundleError as error:
        fail(Exit.FAILED, f"{bundle}: {error} ({error.reason})")
    except OSError as error:
        fail(Exit.FAILED, f"{bundle}: {error.strerror}")


def add(
    bundles: BundlesArgument,
    key: KeyOption,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
    floor: FloorOption = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign a bundle with the release key, here, and publish it as the model's next release.

    Several bundles of one name and version, each with a key `variant` of its own, become one release: each device picks among
    them.

    Example: fleet model add frost-1.0.0.tar --key /media/usb/release.pem

    Example: fleet model add leak-2.0.0.tar variants/leak-2.0.0-int8.tar --key /media/usb/release.pem
    """
    from fleet_controller.registry.keys import Secrets

    measured = [measure(bundle) for bundle in bundles]
    body, view = _sign_release(measured, fetch_trust(None), key, Secrets(passphrase_file, pin_file), floor)
    if not dry_run:
        view = _publish(Service(timeout=UPLOAD_SECONDS), body, bundles)
    _tell("would publish" if dry_run else "published", view, output, dry_run=dry_run)


def sign(
    bundles: BundlesArgument,
    key: KeyOption,
    trust: TrustOption,
    out: Annotated[Path, typer.Option(help="Write the signed release here, for `fleet model publish`.")],
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
    floor: FloorOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign a bundle on a machine without a network, over what `fleet keys fetch` wrote elsewhere. Nothing is sent.

    Example: fleet model sign frost-1.0.0.tar --trust trust.json --key release.pem --out frost-1.0.0.signed.json
    """
    from fleet_controller.registry.keys import Secrets

    measured = [measure(bundle) for bundle in bundles]
    body, view = _sign_release(measured, fetch_trust(trust), key, Secrets(passphrase_file, pin_file), floor)
    write_text(out, json.dumps(body, indent=2) + "\n")
    _tell("signed", view, output, dry_run=False)


def publish(
    signed: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `sign` or `revoke --out` wrote.")],
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BUNDLE...", exists=True, dir_okay=False, help="What was signed; none for a revocation."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Publish what was signed on another machine.

    Example: fleet model publish frost-1.0.0.signed.json frost-1.0.0.tar
    """
    try:
        body = json.loads(signed.read_bytes())
        metadata, sha256 = str(body["metadata"]), body.get("sha256")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        fail(Exit.FAILED, f"{signed}: {getattr(error, 'strerror', None) or 'not a signed release or revocation'}")
    service = Service(timeout=UPLOAD_SECONDS)
    if sha256 is None:
        _tell_revoked(service.post("/revocations", {"metadata": metadata}), "revoked", output, dry_run=False)
        return
    if not bundles:
        fail(Exit.USAGE, f"{signed} is a release: name its bundle too")
    hashes = [sha256] if isinstance(sha256, str) else list(sha256)
    given = {measure(bundle).sha256: bundle for bundle in bundles}
    for digest, bundle in given.items():
        if digest not in hashes:
            fail(Exit.FAILED, f"{bundle} is not the bundle that was signed: that one has sha256 {', '.join(hashes)}")
    missing = [digest for digest in hashes if digest not in given]
    if missing:
        fail(Exit.USAGE, f"{signed} has {len(hashes)} variants: name the bundle of sha256 {missing[0]} too")
    ordered = [given[digest] for digest in hashes]
    _tell("published", _publish(service, {"metadata": metadata, "sha256": sha256}, ordered), output, dry_run=False)


def revoke(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    release: Annotated[int, typer.Argument(min=1, help="This release and every lower one are revoked, for good.")],
    key: KeyOption,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
    trust: TrustOption = None,
    out: OutOption = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Raise a model's floor above a release. No device installs it again, or goes back to it, whoever asks for it.

    A device that runs it goes on until a rollout gives it another one.

    Example: fleet model revoke frost 3 --key /media/usb/release.pem
    """
    from fleet_controller.registry.keys import Secrets
    from fleet_controller.registry.publication import PublicationError, with_floor

    current = read_state(fetch_trust(trust)).models
    try:
        proposed = with_floor(current, model, release + 1, datetime.now(UTC))
    except PublicationError as error:
        fail(Exit.FAILED, str(error))
    _sign(proposed, key, Secrets(passphrase_file, pin_file))
    view = {"model": model, "floor": release + 1}
    body = {"metadata": proposed.to_bytes().decode()}
    if out is not None and not dry_run:
        write_text(out, json.dumps(body, indent=2) + "\n")
    elif not dry_run:
        view = Service().post("/revocations", body)
    verb = "would revoke" if dry_run else "revoked" if out is None else "signed: revokes"
    _tell_revoked(view, verb, output, dry_run=dry_run)


def _sign_release(
    bundles: "Sequence[BundleFacts]", trust: dict[str, Any], key: str, secrets: "Secrets", floor: int | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The body that publishes the bundles as the next release, and what it says for people."""
    from fleet_controller.registry.publication import PublicationError, next_releases, with_releases

    current = read_state(trust).models
    try:
        releases = next_releases(current.signed, bundles, floor)
    except PublicationError as error:
        fail(Exit.FAILED, str(error))
    proposed = with_releases(current, releases, bundles, datetime.now(UTC))
    release, facts = releases[0], bundles[0]
    _sign(proposed, key, secrets)
    view = {
        "model": release.model,
        "release": release.release,
        "version": release.version,
        "floor": release.floor,
        "digest": facts.digest,
        "size": facts.length,
        "variants": [
            {"variant": each.variant, "digest": bundle.digest, "size": bundle.length}
            for each, bundle in zip(releases, bundles, strict=True)
        ],
    }
    hashes = [bundle.sha256 for bundle in bundles]
    return {"metadata": proposed.to_bytes().decode(), "sha256": hashes[0] if len(hashes) == 1 else hashes}, view


def _sign(metadata: "Metadata[Targets]", key: str, secrets: "Secrets") -> None:
    from fleet_controller.registry.keys import KeyFileError, open_signer

    try:
        signer: Signer = open_signer(key, secrets)
    except KeyFileError as error:
        fail(Exit.FAILED, str(error))
    try:
        metadata.sign(signer)
    except Exception as error:  # noqa: BLE001  a token's library raises errors of its own while it signs
        fail(Exit.FAILED, f"key {key} cannot sign: {str(error) or type(error).__name__}")


def _publish(service: Service, body: dict[str, Any], bundles: "Sequence[Path]") -> dict[str, Any]:
    hashes = [body["sha256"]] if isinstance(body["sha256"], str) else body["sha256"]
    for sha256, bundle in zip(hashes, bundles, strict=True):
        service.upload(f"/uploads/{sha256}", bundle)
    return dict(service.post("/releases", body))


def _tell(done: str, view: dict[str, Any], output: Output, *, dry_run: bool) -> None:
    if output is Output.JSON:
        print_json(view | {"dry_run": dry_run})
    else:
        what = ", ".join(
            each["digest"] if each["variant"] is None else f"{each['variant']} {each['digest']}" for each in view["variants"]
        )
        typer.echo(f"{done} {view['model']} {view['version']} as release {view['release']}, {what}")


def _tell_revoked(view: dict[str, Any], done: str, output: Output, *, dry_run: bool) -> None:
    if output is Output.JSON:
        print_json(view | {"dry_run": dry_run})
    else:
        typer.echo(f"{done} every release of {view['model']} below {view['floor']}")
