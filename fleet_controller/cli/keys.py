"""`fleet keys`: who may sign what, and changing that. Offline keys are opened on this machine and never leave it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_controller.cli.arguments import DryRunOption, Output, OutputOption
from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import EPILOG, Exit, fail
from fleet_controller.cli.output import console, print_json, show, table
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

    from fleet_controller.registry.keys import Secrets
    from fleet_controller.registry.trust_change import TrustChange, TrustState

app = typer.Typer(help="The keys that sign releases and metadata.", no_args_is_help=True, epilog=EPILOG)


class Role(StrEnum):
    """What a key signs."""

    ROOT = "root"
    TARGETS = "targets"
    MODELS = "models"
    CONFIG = "config"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"


RoleArgument = Annotated[Role, typer.Argument(help="What the key signs.")]
SignOption = Annotated[
    list[str],
    typer.Option("--sign", metavar="KEY", help="A key that signs the change: a file, or hsm:ID?label=TOKEN. Repeatable."),
]


@app.command("list", epilog=EPILOG)
def list_all(output: OutputOption = Output.TABLE) -> None:
    """Each role with its keys, how many of them must sign, and until when what they signed is believed.

    Example: fleet keys list
    """
    service = Service()
    show(lambda: {key: value for key, value in service.get("/trust").items() if key != "documents"}, _render, output)


def _render(trust: dict[str, Any]) -> Any:
    rows = []
    for role, facts in trust["roles"].items():
        for position, key in enumerate(facts["keys"]):
            first = position == 0
            needed = f"{facts['threshold']} of {len(facts['keys'])}" if first else ""
            where = "online" if facts["online"] else "offline"
            expires = facts["expires"][:10] if first else ""
            rows.append((role if first else "", key["id"], key["scheme"], where, needed, expires))
    return table(("role", "key", "scheme", "kept", "must sign", "valid until"), rows)


@app.command("export-root", epilog=EPILOG)
def export_root(
    out: Annotated[Path | None, typer.Option(help="The file to write; default is standard output.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="One version of root; default is the newest.")] = None,
) -> None:
    """The root of trust that a device starts from (`updates.root_file`).

    Example: fleet keys export-root --out root.json
    """
    text = Service().get("/trust/root", **({} if version is None else {"version": version}))["metadata"]
    if out is None:
        typer.echo(text)
    else:
        write_text(out, text)


@app.command("fetch", epilog=EPILOG)
def fetch(out: Annotated[Path, typer.Option(help="The file to write.")] = Path("trust.json")) -> None:
    """Write down the signed metadata, to carry it to a machine that holds keys and has no network.

    Example: fleet keys fetch --out /media/usb/trust.json
    """
    write_text(out, json.dumps(Service().get("/trust"), indent=2) + "\n")


@app.command("rotate", epilog=EPILOG)
def rotate(
    role: RoleArgument,
    sign: SignOption,
    new: Annotated[
        str | None,
        typer.Option(help="The new key: a file, made if it is not there, or hsm:…; not for config, snapshot, timestamp."),
    ] = None,
    old: Annotated[
        str | None, typer.Option(metavar="KEYID", help="The key that goes; needed where the role has several.")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="The controller's state folder: where a new config, snapshot or timestamp key is made.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
    trust: TrustOption = None,
    out: OutOption = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Replace a key by a new one. Running agents follow at their next update.

    Who signs: for models the targets key and the new one; for targets two root keys and the new one; for root two of the old
    keys and the new one; for snapshot and timestamp two root keys; for config the targets key. A repository of an older release
    of ours has no config key: then `rotate config` makes the first one.

    Example: fleet keys rotate models --sign targets.pem --new release-2.pem
    """
    from fleet_controller.registry.keys import KeyFileError, Secrets
    from fleet_controller.registry.trust_change import ONLINE

    state = read_state(fetch_trust(trust))
    held = state.key_ids(role)
    if old is None and len(held) > 1:
        fail(Exit.USAGE, f"{role} has {len(held)} keys: name the one that goes with --old")
    going = [old or held[0]] if held else []
    try:
        secrets = Secrets(passphrase_file, pin_file)
        if role in ONLINE:
            if state_dir is None or new is not None:
                fail(Exit.USAGE, f"a {role} key is made in the controller's state folder: give --state-dir, without --new")
            coming = _new_online_key(state_dir, role, make=not dry_run)
        elif new is None:
            fail(Exit.USAGE, "name the new key with --new")
        else:
            coming = _new_key(new, secrets, make=not dry_run)
        signers = [*_open(sign, secrets), coming]
    except KeyFileError as error:
        fail(Exit.FAILED, str(error))
    except OSError as error:
        fail(Exit.FAILED, f"{error.filename}: {error.strerror}")
    change = _sign(state, role, going, [coming], signers)
    done = {"role": role.value, "removed": going, "added": [coming.public_key.keyid]}
    _send(change, done, out, dry_run=dry_run, output=output)


@app.command("revoke", epilog=EPILOG)
def revoke(
    role: RoleArgument,
    key_id: Annotated[str, typer.Argument(metavar="KEYID", help="The key that goes; `fleet keys list` shows it.")],
    sign: SignOption,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
    trust: TrustOption = None,
    out: OutOption = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a key away without a new one in its place, where enough others are left. `rotate` replaces one.

    Example: fleet keys revoke root 3f1c… --sign root-1.pem --sign root-2.pem
    """
    from fleet_controller.registry.keys import Secrets

    _change(role, [key_id], sign, Secrets(passphrase_file, pin_file), trust, out, dry_run=dry_run, output=output)


@app.command("renew", epilog=EPILOG)
def renew(
    role: RoleArgument,
    sign: SignOption,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
    trust: TrustOption = None,
    out: OutOption = None,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign what a role says anew, with a later expiry date and the same keys: for root, targets and models.

    Example: fleet keys renew root --sign root-1.pem --sign root-2.pem
    """
    from fleet_controller.registry.keys import Secrets

    if role in (Role.SNAPSHOT, Role.TIMESTAMP, Role.CONFIG):
        fail(Exit.USAGE, f"the service renews the {role} by itself")
    _change(role, [], sign, Secrets(passphrase_file, pin_file), trust, out, dry_run=dry_run, output=output)


@app.command("publish", epilog=EPILOG)
def publish(
    change: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `--out` wrote.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Send a change that was signed on another machine.

    Example: fleet keys publish /media/usb/change.json
    """
    try:
        body = json.loads(change.read_bytes())
    except (OSError, ValueError) as error:
        fail(Exit.FAILED, f"{change}: {getattr(error, 'strerror', None) or 'not a signed change'}")
    answer = Service().post("/trust", body)
    if output is Output.JSON:
        print_json(answer)
    else:
        typer.echo(f"published: new versions of {', '.join(answer['changed'])}")


def _change(
    role: Role,
    going: Sequence[str],
    sign: Sequence[str],
    secrets: "Secrets",
    trust: Path | None,
    out: Path | None,
    *,
    dry_run: bool,
    output: Output,
) -> None:
    from fleet_controller.registry.keys import KeyFileError

    state = read_state(fetch_trust(trust))
    try:
        signers = _open(sign, secrets)
    except KeyFileError as error:
        fail(Exit.FAILED, str(error))
    change = _sign(state, role, going, [], signers)
    _send(change, {"role": role.value, "removed": list(going), "added": []}, out, dry_run=dry_run, output=output)


def _open(names: Sequence[str], secrets: "Secrets") -> "list[Signer]":
    from fleet_controller.registry.keys import open_signer

    return [open_signer(name, secrets) for name in names]


def _new_key(name: str, secrets: "Secrets", *, make: bool) -> "Signer":
    from securesystemslib.signer import CryptoSigner

    from fleet_controller.registry.keys import create_key_file, is_in_token, open_signer

    if is_in_token(name) or Path(name).exists():
        return open_signer(name, secrets)
    return create_key_file(Path(name), secrets.passphrase) if make else CryptoSigner.generate_ed25519()


def _new_online_key(state_dir: Path, role: Role, *, make: bool) -> "Signer":
    from securesystemslib.signer import CryptoSigner

    from fleet_controller.registry.keys import create_key_file, read_passphrase
    from fleet_controller.state_folder import StateFolder

    folder = StateFolder(state_dir)
    passphrase = read_passphrase(folder.online_passphrase, what="online keys")
    name = f"{role}-{datetime.now(UTC):%Y%m%dT%H%M%S}.pem"
    return create_key_file(folder.online_keys / name, passphrase) if make else CryptoSigner.generate_ed25519()


def _sign(
    state: "TrustState", role: Role, going: "Sequence[str]", coming: "Sequence[Signer]", signers: "Sequence[Signer]"
) -> "TrustChange":
    """The signed change, judged as the service will judge it but for its online keys."""
    from fleet_controller.registry.publication import PublicationError
    from fleet_controller.registry.trust_change import ONLINE, check_change, propose, sign

    now = datetime.now(UTC)
    try:
        change = propose(state, role, remove=going, add=[signer.public_key for signer in coming], now=now)
        sign(state, change, signers)
        after = change.after(state)
        check_change(state, change, [key_id for online in ONLINE for key_id in after.key_ids(online)], now)
    except PublicationError as error:
        fail(Exit.FAILED, str(error))
    except Exception as error:  # noqa: BLE001  a token's library raises errors of its own while it signs
        fail(Exit.FAILED, f"a key cannot sign: {str(error) or type(error).__name__}")
    return change


def _send(change: "TrustChange", done: dict[str, Any], out: Path | None, *, dry_run: bool, output: Output) -> None:
    body = {
        name: metadata.to_bytes().decode()
        for name in ("root", "targets", "models")
        if (metadata := getattr(change, name)) is not None
    }
    if out is not None and not dry_run:
        write_text(out, json.dumps(body, indent=2) + "\n")
    elif not dry_run:
        Service().post("/trust", body)
    if output is Output.JSON:
        print_json(done | {"changed": list(body), "dry_run": dry_run})
        return
    verb = "would change" if dry_run else f"signed into {out}" if out is not None else "changed"
    rows = [("new versions of", ", ".join(body))]
    rows += [("key that goes", key) for key in done["removed"]] + [("key that comes", key) for key in done["added"]]
    console().print(table((f"{done['role']}: {verb}", ""), rows))
