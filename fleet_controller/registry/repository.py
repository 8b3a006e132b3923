"""The TUF repository on disk: reading it, adding a release, re-signing what is online.

    repository/metadata/{N}.root.json {N}.targets.json {N}.models.json {N}.snapshot.json timestamp.json
    repository/targets/models/{model}/{sha256}.{release}.tar

Everything but the timestamp is written once under a name of its own and never changed; the timestamp is written last, durably.
So what counts is what the timestamp leads to, and a publication that a power cut interrupts has simply not happened.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from fleet_contract.trust import MODELS_ROLE, target_path
from fleet_controller.durable import fsync_folder, move_file_durably, write_file_durably
from fleet_controller.registry.bundles import measure_bundle
from fleet_controller.registry.publication import (
    MODELS_LIFETIME,
    PublicationError,
    PublishedRelease,
    check_publication,
    releases_of,
)

ROOT_THRESHOLD: Final = 2
ROOT_LIFETIME: Final = timedelta(days=3 * 365)
TARGETS_LIFETIME: Final = timedelta(days=3 * 365)
SNAPSHOT_LIFETIME: Final = timedelta(days=30)
SNAPSHOT_RENEWAL: Final = timedelta(days=15)
"""The snapshot is signed again when less than this is left."""
TIMESTAMP_LIFETIME: Final = timedelta(days=7)
"""Re-signed daily: how long a device goes on trusting a controller that has stopped, or one that an attacker holds back."""

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def create_repository(
    folder: Path,
    *,
    root: Sequence[CryptoSigner],
    targets: CryptoSigner,
    models: CryptoSigner,
    snapshot: CryptoSigner,
    timestamp: CryptoSigner,
    now: datetime,
) -> None:
    """Make a new repository; `root` are at least two keys, of which two must sign. Raises FileExistsError."""
    metadata = folder / "metadata"
    metadata.mkdir(parents=True)
    (folder / "targets").mkdir()
    now = now.replace(microsecond=0)
    role = DelegatedRole(MODELS_ROLE, [models.public_key.keyid], 1, True, paths=["models/*/*"])
    delegations = Delegations({models.public_key.keyid: models.public_key}, {MODELS_ROLE: role})
    top = Targets(expires=now + TARGETS_LIFETIME, delegations=delegations)
    trusted = Root(expires=now + ROOT_LIFETIME, consistent_snapshot=True)
    for signer in root:
        trusted.add_key(signer.public_key, Root.type)
    trusted.roles[Root.type].threshold = ROOT_THRESHOLD
    for name, signer in ((Targets.type, targets), (Snapshot.type, snapshot), (Timestamp.type, timestamp)):
        trusted.add_key(signer.public_key, name)
    _write(metadata / "1.root.json", Metadata(trusted), root)
    _write(metadata / "1.targets.json", Metadata(top), [targets])
    _write(metadata / "1.models.json", Metadata(Targets(expires=now + MODELS_LIFETIME)), [models])
    meta = {"targets.json": MetaFile(1), f"{MODELS_ROLE}.json": MetaFile(1)}
    _write(metadata / "1.snapshot.json", Metadata(Snapshot(expires=now + SNAPSHOT_LIFETIME, meta=meta)), [snapshot])
    _write(metadata / "timestamp.json", Metadata(Timestamp(expires=now + TIMESTAMP_LIFETIME)), [timestamp])
    fsync_folder(folder)


def _write(path: Path, metadata: Metadata[_T], signers: Sequence[CryptoSigner]) -> None:
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    write_file_durably(path, metadata.to_bytes())


class Repository:
    """An existing repository. Its methods may be called from any thread of the one process that serves it.

    Without the two online signers it can be read but not published to. `clock` gives the time in UTC.
    """

    def __init__(
        self,
        folder: Path,
        *,
        snapshot: CryptoSigner | None = None,
        timestamp: CryptoSigner | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.folder = folder
        self._metadata = folder / "metadata"
        self._targets = folder / "targets"
        self._signers = (snapshot, timestamp) if snapshot and timestamp else None
        self._clock = clock
        self._lock = threading.Lock()

    def root(self) -> bytes:
        """The newest root, which a new device starts its trust from."""
        numbers = [int(path.name.partition(".")[0]) for path in self._metadata.glob("[0-9]*.root.json")]
        if not numbers:
            raise PublicationError(f"{self._metadata}: no signing repository there; `fleet init` makes one")
        return (self._metadata / f"{max(numbers)}.root.json").read_bytes()

    def models_metadata(self) -> bytes:
        """The current signed `models` metadata: what the operator adds the next release to."""
        return self._models_path(self._snapshot()).read_bytes()

    def releases(self) -> list[PublishedRelease]:
        """All published releases, by model and number."""
        return releases_of(self._read(self._models_path(self._snapshot()), Targets).signed)

    def target_file(self, release: PublishedRelease) -> Path:
        """Where the bundle of a release lies."""
        return self._targets / self._prefixed(release)

    def expiries(self) -> dict[str, datetime]:
        """Role to the time after which devices stop believing its metadata."""
        snapshot = self._snapshot()
        top = self._read(self._metadata / f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets)
        return {
            Root.type: Metadata[Root].from_bytes(self.root()).signed.expires,
            Targets.type: top.signed.expires,
            MODELS_ROLE: self._read(self._models_path(snapshot), Targets).signed.expires,
            Snapshot.type: snapshot.signed.expires,
            Timestamp.type: self._read(self._metadata / "timestamp.json", Timestamp).signed.expires,
        }

    def publish(self, signed: bytes, bundle: Path) -> PublishedRelease:
        """Check and take in one release. `bundle` is the uploaded file, on the repository's file system; it is moved in.

        Raises BundleError or PublicationError, and OSError; the repository is unchanged then.
        """
        with self._lock:
            snapshot = self._snapshot()
            top = self._read(self._metadata / f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets)
            current = self._read(self._models_path(snapshot), Targets)
            try:
                proposed = Metadata[Targets].from_bytes(signed)
            except RepositoryError as error:
                raise PublicationError(f"the metadata does not parse: {error}") from error
            if not isinstance(proposed.signed, Targets):
                raise PublicationError("the metadata is not of the type targets")
            release = check_publication(top.signed, current, proposed, measure_bundle(bundle), self._clock())
            target = self.target_file(release)
            target.parent.mkdir(parents=True, exist_ok=True)
            for parent in (target.parent.parent, self._targets):
                fsync_folder(parent)
            bundle.chmod(0o644)
            move_file_durably(bundle, target)
            write_file_durably(self._metadata / f"{proposed.signed.version}.{MODELS_ROLE}.json", signed)
            snapshot.signed.meta[f"{MODELS_ROLE}.json"] = MetaFile(proposed.signed.version)
            self._sign_online(snapshot, renew_snapshot=True)
            return release

    def refresh(self) -> None:
        """Sign the timestamp again, and the snapshot when it is getting old. For a daily schedule."""
        with self._lock:
            snapshot = self._snapshot()
            self._sign_online(snapshot, renew_snapshot=snapshot.signed.expires - self._clock() < SNAPSHOT_RENEWAL)

    def _sign_online(self, snapshot: Metadata[Snapshot], *, renew_snapshot: bool) -> None:
        if self._signers is None:
            raise PublicationError("the online keys are not open, so nothing can be signed")
        snapshot_signer, timestamp_signer = self._signers
        now = self._clock().replace(microsecond=0)
        if renew_snapshot:
            snapshot.signed.version += 1
            snapshot.signed.expires = now + SNAPSHOT_LIFETIME
            _write(self._metadata / f"{snapshot.signed.version}.snapshot.json", snapshot, [snapshot_signer])
        timestamp = self._read(self._metadata / "timestamp.json", Timestamp)
        timestamp.signed.version += 1
        timestamp.signed.expires = now + TIMESTAMP_LIFETIME
        timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        _write(self._metadata / "timestamp.json", timestamp, [timestamp_signer])

    def _snapshot(self) -> Metadata[Snapshot]:
        timestamp = self._read(self._metadata / "timestamp.json", Timestamp)
        return self._read(self._metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)

    def _models_path(self, snapshot: Metadata[Snapshot]) -> Path:
        return self._metadata / f"{snapshot.signed.meta[f'{MODELS_ROLE}.json'].version}.{MODELS_ROLE}.json"

    def _read(self, path: Path, kind: type[_T]) -> Metadata[_T]:
        try:
            metadata = Metadata[_T].from_bytes(path.read_bytes())
        except (OSError, RepositoryError) as error:
            raise PublicationError(f"{path}: {error}") from error
        if not isinstance(metadata.signed, kind):
            raise PublicationError(f"{path}: not metadata of the type {kind.type}")
        return metadata

    @staticmethod
    def _prefixed(release: PublishedRelease) -> str:
        folder, _, name = target_path(release.release.model, release.release.release).rpartition("/")
        return f"{folder}/{release.sha256}.{name}"
