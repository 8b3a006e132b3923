"""The bundles on this device: each kept as the one tar that was signed, never unpacked.

The worker hashes the whole tar and takes the model's bytes out of it in the same pass, so the digest that the device attests
was computed over the bytes that run. Layout: `{root}/{model}/{SHA-256 in hex}.tar`; `{root}/incoming` is where downloads are
made, on the same file system, so that storing one is a rename.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.durable import fsync_folder, move_file_durably
from fleet_contract.baseline import Baseline
from fleet_contract.bundle import MAX_BUNDLE_BYTES, BundleEntry, BundleError, BundleIndex, read_bundle
from fleet_contract.manifest import GoldenSample, Manifest
from fleet_contract.reasons import Reason
from fleet_contract.topics import check_name

PREFIX = "sha256:"
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A stored bundle. Its structure was checked; its hash is checked by each worker that loads it."""

    path: Path
    digest: str
    """`sha256:` and hex."""
    manifest: Manifest
    golden: tuple[GoldenSample, ...]
    entry: BundleEntry
    """Where the model file lies in the tar."""
    tokenizer: BundleEntry | None = None
    """Where the tokenizer lies, if the model has one."""
    baseline: Baseline | None = None
    """What drift is measured against."""


def hex_of(digest: str) -> str:
    """The hex part of `sha256:...` (the prefix may be missing); raises ValueError."""
    text = digest.removeprefix(PREFIX)
    if not _HEX.fullmatch(text):
        raise ValueError(f"digest {digest!r}: sha256: and 64 hex digits")
    return text


def open_bundle_file(path: Path) -> Bundle:
    """The bundle in a file anywhere; raises BundleError and OSError."""
    with path.open("rb") as file:
        index = read_bundle(file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # absolute, because a worker runs elsewhere
    return _bundle(path.absolute(), digest, index)


def _bundle(path: Path, digest: str, index: BundleIndex) -> Bundle:
    manifest = index.manifest
    tokenizer = None if manifest.tokenizer is None else index.entries[manifest.tokenizer]
    return Bundle(path, PREFIX + digest, manifest, index.golden, index.entries[manifest.file], tokenizer, index.baseline)


class BundleStore:
    """The folder of bundles, `state_dir/models`."""

    def __init__(self, root: Path, max_bytes: int = MAX_BUNDLE_BYTES) -> None:
        self._root = root
        self._max_bytes = max_bytes

    def incoming(self) -> Path:
        """The folder to download into; made when it is missing. Raises OSError."""
        folder = self._root / "incoming"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def add(self, file: Path, digest: str) -> Bundle:
        """Check a downloaded tar and move it in, durably. `digest` is what the verifier computed over its bytes.

        `file` must lie on the same file system (see `incoming`) and be synced already if it is large: syncing waits for the
        disk. A bundle that is stored already is replaced by the same bytes. Raises BundleError, ValueError and OSError; then
        `file` is still where it was.
        """
        name = hex_of(digest)
        bundle = self._read(file, digest)
        folder = self._root / check_name(bundle.manifest.name, "model")
        folder.mkdir(parents=True, exist_ok=True)
        fsync_folder(self._root)
        target = folder / f"{name}.tar"
        move_file_durably(file, target)
        return replace(bundle, path=target)

    def open(self, model: str, digest: str) -> Bundle:
        """A stored bundle; raises BundleError, also when it is not there."""
        path = self._root / check_name(model, "model") / f"{hex_of(digest)}.tar"
        bundle = self._read(path, digest)
        if bundle.manifest.name != model:
            raise BundleError(Reason.MANIFEST_INVALID, f"the bundle is of model {bundle.manifest.name!r}, not {model!r}")
        return bundle

    def list(self) -> list[tuple[str, str]]:
        """(model, digest) of everything stored."""
        return sorted(
            (path.parent.name, PREFIX + path.stem) for path in self._root.glob("*/*.tar") if _HEX.fullmatch(path.stem)
        )

    def remove_unused(self, keep: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Delete every bundle that is not in `keep`, as (model, digest); returns what was deleted. Raises OSError."""
        wanted = {(model, PREFIX + hex_of(digest)) for model, digest in keep}
        gone = tuple(item for item in self.list() if item not in wanted)
        for model, digest in gone:
            (self._root / model / f"{hex_of(digest)}.tar").unlink(missing_ok=True)
        for model in {model for model, _ in gone}:
            fsync_folder(self._root / model)
        return gone

    def _read(self, path: Path, digest: str) -> Bundle:
        try:
            with path.open("rb") as file:
                index = read_bundle(file, max_bytes=self._max_bytes)
        except FileNotFoundError as error:
            raise BundleError(Reason.BUNDLE_INVALID, f"bundle {path.name} is not in the store") from error
        return _bundle(path, hex_of(digest), index)
