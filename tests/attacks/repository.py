"""A repository of the real registry with all its keys, and what a thief of some of them can make it say."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from fleet_contract.manifest import parse_manifest
from fleet_contract.trust import MODELS_ROLE, Release
from fleet_controller.registry.bundles import measure_bundle
from fleet_controller.registry.publication import BundleFacts, next_release, with_floor, with_release
from fleet_controller.registry.repository import Repository, create_repository
from tests.attacks.bundles import MODEL, entries, pack

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)
STEP: Final = timedelta(days=16)
"""The registry signs the snapshot anew when the clock has moved by so much."""


class Keys:
    """Every key, and a stranger's."""

    def __init__(self) -> None:
        made = [CryptoSigner.generate_ed25519() for _ in range(8)]
        self.root = made[:3]
        self.targets, self.models, self.snapshot, self.timestamp, self.stranger = made[3:]


class Signing:
    """The repository: honest methods first, then those of a thief."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.keys = folder, Keys()
        self._now = datetime.now(UTC)
        keys = self.keys
        create_repository(
            folder,
            root=keys.root,
            targets=keys.targets,
            models=keys.models,
            snapshot=keys.snapshot,
            timestamp=keys.timestamp,
            now=self._now,
        )
        online = {key.public_key.keyid: key for key in (keys.snapshot, keys.timestamp)}
        self.registry = Repository(folder, online=lambda: online, clock=lambda: self._now)
        self._uploads = 0

    def publish(self, version: str) -> int:
        """A sound release by the registry's own rules; returns its number."""
        upload = self._upload(pack(entries(version)))
        current = self.registry.trust().models
        facts = measure_bundle(upload)
        proposed = with_release(current, next_release(current.signed, facts), facts, self._now)
        proposed.sign(self.keys.models)
        return self.registry.publish(proposed.to_bytes(), upload).release.release

    def revoke_below(self, floor: int) -> None:
        """Raise the floor."""
        proposed = with_floor(self.registry.trust().models, MODEL, floor, self._now)
        proposed.sign(self.keys.models)
        self.registry.revoke(proposed.to_bytes())

    def renew(self) -> None:
        """A new snapshot and timestamp of the same documents."""
        self._now += STEP
        self.registry.refresh()

    def sign_again(self) -> None:
        """All documents below root anew, with higher versions than a thief has made the device see meanwhile."""
        versions = {}
        for role, key in ((Targets.type, self.keys.targets), (MODELS_ROLE, self.keys.models)):
            versions[role] = int(self.current(role).partition(".")[0]) + 1
            (self.folder / "metadata" / f"{versions[role]}.{role}.json").write_bytes(self.next_of(role, [key]))
        for part in self.lead_to(versions):
            self.put(part)
        for _ in range(2):
            self.renew()

    def put(self, files: dict[str, bytes]) -> None:
        """Write paths below the repository."""
        for path, data in files.items():
            (self.folder / path).write_bytes(data)

    def copy(self) -> dict[str, bytes]:
        """All metadata as it is now."""
        return {path.name: path.read_bytes() for path in (self.folder / "metadata").iterdir()}

    def current(self, role: str) -> str:
        """The name of the file that the timestamp leads to."""
        if role == Timestamp.type:
            return "timestamp.json"
        snapshot = self.read("timestamp.json", Timestamp).signed.snapshot_meta.version
        if role == Snapshot.type:
            return f"{snapshot}.snapshot.json"
        if role == Root.type:
            return f"{max(int(name.partition('.')[0]) for name in self.copy() if name.endswith('.root.json'))}.root.json"
        return f"{self.read(f'{snapshot}.snapshot.json', Snapshot).signed.meta[f'{role}.json'].version}.{role}.json"

    def read(self, name: str, kind: type[_T]) -> Metadata[_T]:
        """One document."""
        metadata = Metadata[Any].from_bytes((self.folder / "metadata" / name).read_bytes())
        assert isinstance(metadata.signed, kind)
        return metadata

    # ---- with stolen keys -----------------------------------------------------------------------------------------------

    def release_by_thief(self, number: int, bundle: bytes, version: str) -> None:
        """Whoever has the release key signs any bytes; the registry would not take them."""
        manifest = parse_manifest(pack_manifest(version))
        facts = BundleFacts(manifest, len(bundle), sha256(bundle).hexdigest())
        release = Release(model=MODEL, version=version, release=number, floor=0)
        proposed = with_release(self.registry.trust().models, release, facts, self._now)
        proposed.sign(self.keys.models)
        file = self.folder / "targets" / "models" / MODEL / f"{facts.sha256}.{number}.tar"
        file.write_bytes(bundle)
        name = f"{proposed.signed.version}.{MODELS_ROLE}.json"
        (self.folder / "metadata" / name).write_bytes(proposed.to_bytes())
        for part in self.lead_to({MODELS_ROLE: proposed.signed.version}):
            self.put(part)

    def lead_to(
        self, versions: dict[str, int], *, snapshot_version: int | None = None
    ) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """A snapshot that leads to other versions, and a timestamp that leads to it, as the online keys would sign them."""
        snapshot = self.read(self.current(Snapshot.type), Snapshot)
        for role, version in versions.items():
            snapshot.signed.meta[f"{role}.json"] = MetaFile(version)
        snapshot.signed.version += 1
        timestamp = self.read("timestamp.json", Timestamp)
        timestamp.signed.version += 1
        timestamp.signed.snapshot_meta = MetaFile(snapshot_version or snapshot.signed.version)
        name = f"metadata/{snapshot.signed.version}.snapshot.json"
        return {name: signed(snapshot, [self.keys.snapshot])}, {
            "metadata/timestamp.json": signed(timestamp, [self.keys.timestamp])
        }

    def next_of(self, role: str, signers: Sequence[CryptoSigner], change: Callable[[Any], object] | None = None) -> bytes:
        """The next version of a document, signed by these."""
        kind: type[Any] = {Root.type: Root, Snapshot.type: Snapshot, Timestamp.type: Timestamp}.get(role, Targets)
        metadata = self.read(self.current(role), kind)
        metadata.signed.version += 1
        if change is not None:
            change(metadata.signed)
        return signed(metadata, signers)

    def _upload(self, data: bytes) -> Path:
        self._uploads += 1
        path = self.folder / f"upload{self._uploads}"
        path.write_bytes(data)
        return path


def signed(metadata: Metadata[Any], signers: Sequence[CryptoSigner]) -> bytes:
    """The document, with these signatures and no others."""
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def pack_manifest(version: str) -> bytes:
    """The manifest of a sound bundle."""
    return entries(version)[0][1]
