"""Releases of a device as an update would have left them: bundles in their store, and a ledger that names them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from edge_agent.inference.bundle_store import Bundle, BundleStore
from edge_agent.journal.batch import Batch
from edge_agent.journal.store import Store
from edge_agent.settings import StoreSettings
from edge_agent.updates.ledger import Installed, Ledger
from edge_agent.updates.store import LEDGER_KEY
from fleet_contract.messages import DesiredModel
from tests.faults.programs import until

TRIED: Final = 1
"""The release that is kept from earlier and is desired later."""
INCUMBENT: Final = 2


@dataclass(frozen=True, slots=True)
class Release:
    """A model file of two features, `a` and `b`, and the golden samples that come with it."""

    runtime: str
    file: bytes
    golden: Sequence[tuple[float, float, float]] = ((1.0, 2.0, 3.0),)
    """(a, b, the expected score)."""
    dtype: str = "float32"
    """Of the file's tensors."""
    memory_bytes: int = 0
    """That the manifest asks for."""
    baseline: bytes | None = None
    """What drift is measured against."""


def write_bundle(store: BundleStore, model: str, release: Release, version: str = "1.0.0") -> Bundle:
    """Put a release's bundle into the store."""
    manifest = (
        f'schema = 1\nname = "{model}"\nversion = "{version}"\ntask = "regression"\nruntime = "{release.runtime}"\n'
        'file = "model.bin"\ngolden = "golden.json"\nkind = "window"\nlicence = "CC0-1.0"\n'
        'inputs = [{ name = "a" }, { name = "b" }]\n'
        'features = [{ op = "last", input = "a" }, { op = "last", input = "b" }]\n'
        + ('baseline = "baseline.json"\n' if release.baseline is not None else "")
        + f"requirements = {{ memory_bytes = {release.memory_bytes} }}\n"
        f'input_tensor = {{ name = "features", dtype = "{release.dtype}", shape = [-1, 2] }}\n'
        f'output_tensor = {{ name = "scores", dtype = "{release.dtype}", shape = [-1, 1], unit = "1" }}\n'
    )
    golden: list[Mapping[str, Any]] = [
        {"window": {"a": [a], "b": [b]}, "scores": [score], "tolerance": 0.01} for a, b, score in release.golden
    ]
    path = store.incoming() / f"{model}.tar"
    entries = {"model.toml": manifest.encode(), "model.bin": release.file, "golden.json": json.dumps(golden).encode()}
    if release.baseline is not None:
        entries["baseline.json"] = release.baseline
    with tarfile.open(path, "w") as tar:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return store.add(path, "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest())


def write_root(path: Path) -> None:
    """The trusted root of a repository that nobody ever reaches."""
    key = CryptoSigner.generate_ed25519()
    root = Root(expires=datetime.now(UTC).replace(microsecond=0) + timedelta(days=30), consistent_snapshot=True)
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(key.public_key, role)
    metadata = Metadata(root)
    metadata.sign(key)
    path.write_bytes(metadata.to_bytes())


def install(
    state: Path, incumbents: Mapping[str, Release], kept: Mapping[str, Release], *, kept_is_proven: bool = True
) -> None:
    """Make `incumbents` active and desired, as release 2; `kept` are on the device from earlier, as release 1.

    A kept one that is not proven has to shadow before it may answer.
    """
    store = BundleStore(state / "models")

    def installed(model: str, release: Release, number: int, proven: bool = True) -> Installed:
        digest, since = write_bundle(store, model, release).digest, "2022-01-01T00:00:00Z"
        return Installed(model=model, release=number, version="1.0.0", digest=digest, since=since, proven=proven)

    ledger = Ledger(
        revision=1,
        desired={model: DesiredModel(model=model, release=INCUMBENT) for model in incumbents},
        active={model: installed(model, release, INCUMBENT) for model, release in incumbents.items()},
        previous={model: installed(model, release, TRIED, kept_is_proven) for model, release in kept.items()},
    )
    done: list[Exception | None] = []
    database = Store(state / "agent.db", StoreSettings(), lambda call, *arguments: call(*arguments))
    database.submit(Batch(values={LEDGER_KEY: msgspec.msgpack.encode(ledger)}), done.append)
    until(lambda: bool(done), "the ledger is stored", 10.0)
    assert done == [None]
    assert database.close(10.0)
