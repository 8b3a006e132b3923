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
    from securesystemslib.signer import Signer
    from tuf.api.metadata import Metadata, Targets

    from fleet_controller.registry.keys import Secrets
    from fleet_controller.registry.publication import BundleFacts

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", exists=True, dir_okay=False, help="The bundle, a .tar.")]
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
    bundle: BundleArgument,
    key: KeyOption,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
    floor: FloorOption = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign a bundle with the release key, here, and publish it as the model's next release.

    Example: fleet model add frost-1.0.0.tar --key /media/usb/release.pem
    """
    from fleet_controller.registry.keys import Secrets

    facts = measure(bundle)
    body, view = _sign_release(facts, fetch_trust(None), key, Secrets(passphrase_file, pin_file), floor)
    if not dry_run:
        view = _publish(Service(timeout=UPLOAD_SECONDS), body, bundle)
    _tell("would publish" if dry_run else "published", view, output, dry_run=dry_run)


def sign(
    bundle: BundleArgument,
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

    body, view = _sign_release(measure(bundle), fetch_trust(trust), key, Secrets(passphrase_file, pin_file), floor)
    write_text(out, json.dumps(body, indent=2) + "\n")
    _tell("signed", view, output, dry_run=False)


def publish(
    signed: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `sign` or `revoke --out` wrote.")],
    bundle: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="The bundle that was signed; none for a revocation.")
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
    if bundle is None:
        fail(Exit.USAGE, f"{signed} is a release: name its bundle too")
    if measure(bundle).sha256 != sha256:
        fail(Exit.FAILED, f"{bundle} is not the bundle that was signed: that one has sha256 {sha256}")
    _tell("published", _publish(service, {"metadata": metadata, "sha256": sha256}, bundle), output, dry_run=False)


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
    facts: "BundleFacts", trust: dict[str, Any], key: str, secrets: "Secrets", floor: int | None
) -> tuple[dict[str, str], dict[str, Any]]:
    """The body that publishes the bundle as the next release, and what it says for people."""
    from fleet_controller.registry.publication import PublicationError, next_release, with_release

    current = read_state(trust).models
    try:
        release = next_release(current.signed, facts, floor)
    except PublicationError as error:
        fail(Exit.FAILED, str(error))
    proposed = with_release(current, release, facts, datetime.now(UTC))
    _sign(proposed, key, secrets)
    view = {
        "model": release.model,
        "release": release.release,
        "version": release.version,
        "floor": release.floor,
        "digest": facts.digest,
        "size": facts.length,
    }
    return {"metadata": proposed.to_bytes().decode(), "sha256": facts.sha256}, view


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


def _publish(service: Service, body: dict[str, str], bundle: Path) -> dict[str, Any]:
    service.upload(f"/uploads/{body['sha256']}", bundle)
    return dict(service.post("/releases", body))


def _tell(done: str, view: dict[str, Any], output: Output, *, dry_run: bool) -> None:
    if output is Output.JSON:
        print_json(view | {"dry_run": dry_run})
    else:
        typer.echo(f"{done} {view['model']} {view['version']} as release {view['release']}, {view['digest']}")


def _tell_revoked(view: dict[str, Any], done: str, output: Output, *, dry_run: bool) -> None:
    if output is Output.JSON:
        print_json(view | {"dry_run": dry_run})
    else:
        typer.echo(f"{done} every release of {view['model']} below {view['floor']}")
