"""The signed metadata that a change begins with: from the service, or carried in a file to a machine without a network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_controller.cli.connection import Service
from fleet_controller.cli.exits import Exit, fail

if TYPE_CHECKING:
    from fleet_controller.registry.trust_change import TrustState

PassphraseOption = Annotated[
    Path | None,
    typer.Option(help="Opens key files; else SMALLHOLD_KEY_PASSPHRASE_FILE, else you are asked."),
]
PinOption = Annotated[Path | None, typer.Option(help="Opens the token of an hsm: key; else you are asked.")]
TrustOption = Annotated[
    Path | None, typer.Option(help="What `fleet keys fetch` wrote, on a machine without a network.", dir_okay=False)
]
OutOption = Annotated[Path | None, typer.Option(help="Write what was signed here, to be published later, and send nothing.")]


def fetch_trust(trust: Path | None) -> dict[str, Any]:
    """The signed documents, from the service or from a file that `fleet keys fetch` wrote."""
    if trust is None:
        return dict(Service().get("/trust"))
    try:
        return dict(json.loads(trust.read_bytes()))
    except (OSError, ValueError) as error:
        fail(Exit.FAILED, f"{trust}: {getattr(error, 'strerror', None) or 'not what `fleet keys fetch` writes'}")


def read_state(trust: dict[str, Any]) -> "TrustState":
    """The documents parsed; ends the command when they are none."""
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root, Targets

    from fleet_controller.registry.trust_change import TrustState

    try:
        texts = {name: trust["documents"][name].encode() for name in ("root", "targets", "models")}
        return TrustState(
            Metadata[Root].from_bytes(texts["root"]),
            Metadata[Targets].from_bytes(texts["targets"]),
            Metadata[Targets].from_bytes(texts["models"]),
        )
    except (RepositoryError, KeyError, TypeError, AttributeError) as error:
        fail(Exit.FAILED, f"the signed metadata cannot be read: {error}")


def write_text(path: Path, text: str) -> None:
    """Write a file, or end the command."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(Exit.FAILED, f"{path}: {error.strerror}")
