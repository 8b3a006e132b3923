"""The TUF repository on disk: reading it, adding a release, raising a floor, changing keys, re-signing what is online.

    repository/metadata/{N}.root.json {N}.targets.json {N}.models.json {N}.config.json {N}.snapshot.json timestamp.json
    repository/targets/models/{model}/{sha256}.{release}.tar
    repository/targets/config/{name}/{sha256}.{revision}.toml

Everything but the timestamp is written once under a name of its own and never changed; the timestamp is written last, durably.
So what counts is what the timestamp leads to, and a publication that a power cut interrupts has simply not happened. A new root
counts at once, so a change of keys is written down whole first (`change.json`) and finished at the next start if it was cut
off.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from securesystemslib.signer import CryptoSigner, Signer
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

from fleet_contract.configuration import CONFIG_ROLE, ConfigurationRevision, configuration_path
from fleet_contract.trust import MODELS_ROLE
from fleet_controller.durable import fsync_folder, move_file_durably, write_file_durably
from fleet_controller.registry.bundles import measure_bundle
from fleet_controller.registry.configuration_role import (
    CONFIG_RENEWAL,
    first_metadata,
    following,
    revisions_of,
    with_revision,
    without_revisions,
)
from fleet_controller.registry.publication import (
    MODELS_LIFETIME,
    PublicationError,
    PublishedRelease,
    check_publication,
    check_revocation,
    floors_of,
    releases_of,
)
from fleet_controller.registry.trust_change import (
    MODELS_PATHS,
    ROOT_LIFETIME,
    ROOT_THRESHOLD,
    TARGETS_LIFETIME,
    TrustChange,
    TrustState,
    check_change,
    delegate,
)

SNAPSHOT_LIFETIME: Final = timedelta(days=30)
SNAPSHOT_RENEWAL: Final = timedelta(days=15)
"""The snapshot is signed again when less than this is left."""
TIMESTAMP_LIFETIME: Final = timedelta(days=7)
"""Re-signed daily: how long a device goes on trusting a controller that has stopped, or one that an attacker holds back."""

CHANGE_FILE: Final = "change.json"

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)
OnlineKeys = Callable[[], Mapping[str, Signer]]
"""The keys that the service holds now, by their ids."""


class SignedChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A change of keys as it travels and is written down: the new signed documents as texts."""

    root: str | None = None
    targets: str | None = None
    models: str | None = None


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
    config: CryptoSigner | None = None,
    now: datetime,
) -> None:
    """Make a new repository; `root` are at least two keys, of which two must sign. Raises FileExistsError.

    Without `config` no configuration can be published until targets delegates to a key for it.
    """
    metadata = folder / "metadata"
    metadata.mkdir(parents=True)
    (folder / "targets").mkdir()
    now = now.replace(microsecond=0)
    role = DelegatedRole(MODELS_ROLE, [models.public_key.keyid], 1, True, paths=list(MODELS_PATHS))
    delegations = Delegations({models.public_key.keyid: models.public_key}, {MODELS_ROLE: role})
    top = Targets(expires=now + TARGETS_LIFETIME, delegations=delegations)
    meta = {"targets.json": MetaFile(1), f"{MODELS_ROLE}.json": MetaFile(1)}
    if config is not None:
        delegate(top, CONFIG_ROLE, add=[config.public_key])
        _write(metadata / f"1.{CONFIG_ROLE}.json", first_metadata(now), [config])
        meta[f"{CONFIG_ROLE}.json"] = MetaFile(1)
    trusted = Root(expires=now + ROOT_LIFETIME, consistent_snapshot=True)
    for signer in root:
        trusted.add_key(signer.public_key, Root.type)
    trusted.roles[Root.type].threshold = ROOT_THRESHOLD
    for name, signer in ((Targets.type, targets), (Snapshot.type, snapshot), (Timestamp.type, timestamp)):
        trusted.add_key(signer.public_key, name)
    _write(metadata / "1.root.json", Metadata(trusted), root)
    _write(metadata / "1.targets.json", Metadata(top), [targets])
    _write(metadata / "1.models.json", Metadata(Targets(expires=now + MODELS_LIFETIME)), [models])
    _write(metadata / "1.snapshot.json", Metadata(Snapshot(expires=now + SNAPSHOT_LIFETIME, meta=meta)), [snapshot])
    _write(metadata / "timestamp.json", Metadata(Timestamp(expires=now + TIMESTAMP_LIFETIME)), [timestamp])
    fsync_folder(folder)


def _write(path: Path, metadata: Metadata[_T], signers: Sequence[Signer]) -> None:
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    write_file_durably(path, metadata.to_bytes())


class Repository:
    """An existing repository. Its methods may be called from any thread of the one process that serves it.

    Without online keys it can be read but not published to. `clock` gives the time in UTC.
    """

    def __init__(
        self,
        folder: Path,
        *,
        online: OnlineKeys = dict,
        clock: Callable[[], datetime] = _utc_now,
        try_bundle: Callable[[Path], object] = lambda _bundle: None,
    ) -> None:
        """`try_bundle` raises BundleError for a bundle that is signed and still not to be published."""
        self.folder = folder
        self._metadata = folder / "metadata"
        self._targets = folder / "targets"
        self._online = online
        self._clock = clock
        self._try_bundle = try_bundle
        self._lock = threading.Lock()

    def root(self) -> bytes:
        """The newest root, which a new device starts its trust from."""
        numbers = self._root_versions()
        if not numbers:
            raise PublicationError(f"{self._metadata}: no signing repository there; `fleet init` makes one")
        return self.root_of(max(numbers))

    def root_of(self, version: int) -> bytes:
        """One version of the root; raises PublicationError."""
        if version not in self._root_versions():
            raise PublicationError(f"there is no version {version} of root")
        return (self._metadata / f"{version}.root.json").read_bytes()

    def _root_versions(self) -> list[int]:
        return [int(path.name.partition(".")[0]) for path in self._metadata.glob("[0-9]*.root.json")]

    def releases(self) -> list[PublishedRelease]:
        """All published releases, by model and number."""
        return releases_of(self._read(self._models_path(self._snapshot()), Targets).signed)

    def floors(self) -> dict[str, int]:
        """Model to its floor: every release below it is revoked."""
        return floors_of(self._read(self._models_path(self._snapshot()), Targets).signed)

    def trust(self) -> TrustState:
        """What the offline keys have signed."""
        return self._trust(self._snapshot())

    def _trust(self, snapshot: Metadata[Snapshot]) -> TrustState:
        root = Metadata[Root].from_bytes(self.root())
        return TrustState(root, self._top(snapshot), self._read(self._models_path(snapshot), Targets))

    def _top(self, snapshot: Metadata[Snapshot]) -> Metadata[Targets]:
        return self._read(self._metadata / f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets)

    def target_file(self, release: PublishedRelease) -> Path:
        """Where the bundle of a release lies."""
        return self._targets / self._prefixed(release)

    def expiries(self) -> dict[str, datetime]:
        """Role to the time after which devices stop believing its metadata."""
        snapshot = self._snapshot()
        state = self._trust(snapshot)
        config = self._config(snapshot)
        return {
            **({} if config is None else {CONFIG_ROLE: config.signed.expires}),
            Root.type: state.root.signed.expires,
            Targets.type: state.targets.signed.expires,
            MODELS_ROLE: state.models.signed.expires,
            Snapshot.type: snapshot.signed.expires,
            Timestamp.type: self._read(self._metadata / "timestamp.json", Timestamp).signed.expires,
        }

    def publish(self, signed: bytes, *bundles: Path) -> PublishedRelease:
        """Check and take in one release: its bundle, or one for each variant. Returns the target of the first.

        `bundles` are uploaded files on the repository's file system; they are moved in. Raises BundleError or PublicationError,
        and OSError; the repository is unchanged then.
        """
        with self._lock:
            snapshot = self._snapshot()
            state = self._trust(snapshot)
            proposed = _parse(signed, Targets)
            facts = [measure_bundle(bundle) for bundle in bundles]
            releases = check_publication(state.targets.signed, state.models, proposed, facts, self._clock())
            for bundle in bundles:
                self._try_bundle(bundle)
            for bundle, release in zip(bundles, releases, strict=True):
                target = self.target_file(release)
                target.parent.mkdir(parents=True, exist_ok=True)
                for parent in (target.parent.parent, self._targets):
                    fsync_folder(parent)
                bundle.chmod(0o644)
                move_file_durably(bundle, target)
            self._put_models(snapshot, proposed, signed)
            return releases[0]

    def revoke(self, signed: bytes) -> tuple[str, int]:
        """Take in a raised floor; returns the model and its floor. Raises PublicationError and OSError."""
        with self._lock:
            snapshot = self._snapshot()
            state = self._trust(snapshot)
            proposed = _parse(signed, Targets)
            revoked = check_revocation(state.targets.signed, state.models, proposed, self._clock())
            self._put_models(snapshot, proposed, signed)
            return revoked

    def _put_models(self, snapshot: Metadata[Snapshot], proposed: Metadata[Targets], signed: bytes) -> None:
        write_file_durably(self._metadata / f"{proposed.signed.version}.{MODELS_ROLE}.json", signed)
        snapshot.signed.meta[f"{MODELS_ROLE}.json"] = MetaFile(proposed.signed.version)
        self._sign_online(snapshot, renew_snapshot=True)

    def configurations(self) -> list[ConfigurationRevision]:
        """All signed revisions of configurations, by name and number."""
        config = self._config(self._snapshot())
        return [] if config is None else revisions_of(config.signed)

    def publish_configuration(self, signed: ConfigurationRevision, data: bytes) -> str:
        """Sign one revision with the online key; returns its digest. Raises PublicationError and OSError."""
        with self._lock:
            snapshot = self._snapshot()
            proposed, target = with_revision(self._config_or_refuse(snapshot), signed, data, self._clock())
            file = self._targets / target.get_prefixed_paths()[0]
            file.parent.mkdir(parents=True, exist_ok=True)
            for parent in (file.parent.parent, self._targets):
                fsync_folder(parent)
            write_file_durably(file, data)
            self._put_config(snapshot, proposed)
            self._sign_online(snapshot, renew_snapshot=True)
            return f"sha256:{target.hashes['sha256']}"

    def read_configuration(self, name: str, revision: int) -> tuple[bytes, str]:
        """The bytes of a signed revision and their digest. Raises PublicationError and OSError."""
        config = self._config_or_refuse(self._snapshot())
        target = config.signed.targets.get(configuration_path(name, revision))
        if target is None:
            raise PublicationError(f"there is no revision {revision} of {name}")
        return (self._targets / target.get_prefixed_paths()[0]).read_bytes(), f"sha256:{target.hashes['sha256']}"

    def remove_configurations(self, gone: Sequence[tuple[str, int]]) -> None:
        """Sign metadata that does not name these revisions any more; their files go last. Raises PublicationError, OSError."""
        with self._lock:
            snapshot = self._snapshot()
            current = self._config_or_refuse(snapshot)
            proposed = without_revisions(current, gone, self._clock())
            self._put_config(snapshot, proposed)
            self._sign_online(snapshot, renew_snapshot=True)
            for path, target in current.signed.targets.items():
                if path not in proposed.signed.targets:
                    (self._targets / target.get_prefixed_paths()[0]).unlink(missing_ok=True)

    def change_trust(self, signed: SignedChange) -> TrustState:
        """Take in a change of keys; raises PublicationError and OSError, and nothing is changed then."""
        with self._lock:
            state = check_change(self._trust(self._snapshot()), _parse_change(signed), self._online().keys(), self._clock())
            self._online_signers(state.root)
            write_file_durably(self.folder / CHANGE_FILE, msgspec.json.encode(signed))
            self._finish_change(signed)
            return state

    def resume(self) -> bool:
        """Finish a change of keys that was cut off; False if there was none. For the service's start."""
        with self._lock:
            path = self.folder / CHANGE_FILE
            if not path.exists():
                return False
            try:
                signed = msgspec.json.decode(path.read_bytes(), type=SignedChange)
            except msgspec.DecodeError as error:
                raise PublicationError(f"{path}: {error}") from error
            self._finish_change(signed)
            return True

    def _finish_change(self, signed: SignedChange) -> None:
        """Doing it twice is harmless: the same documents get the same names."""
        change = _parse_change(signed)
        snapshot = self._snapshot()
        for name, metadata, text in (
            ("targets", change.targets, signed.targets),
            (MODELS_ROLE, change.models, signed.models),
        ):
            if metadata is not None and text is not None:
                write_file_durably(self._metadata / f"{metadata.signed.version}.{name}.json", text.encode())
                snapshot.signed.meta[f"{name}.json"] = MetaFile(metadata.signed.version)
        if change.root is not None and signed.root is not None:
            write_file_durably(self._metadata / f"{change.root.signed.version}.root.json", signed.root.encode())
        if change.targets is not None:
            self._follow_delegation(snapshot, change.targets.signed)
        self._sign_online(snapshot, renew_snapshot=True)
        (self.folder / CHANGE_FILE).unlink(missing_ok=True)
        fsync_folder(self.folder)

    def refresh(self) -> None:
        """Sign the timestamp again, and the snapshot when it is getting old. For a daily schedule."""
        with self._lock:
            snapshot = self._snapshot()
            config, now = self._config(snapshot), self._clock()
            renew = config is not None and config.signed.expires - now < CONFIG_RENEWAL
            if config is not None and renew:
                self._put_config(snapshot, following(config, now))
            self._sign_online(snapshot, renew_snapshot=renew or snapshot.signed.expires - now < SNAPSHOT_RENEWAL)

    def _follow_delegation(self, snapshot: Metadata[Snapshot], targets: Targets) -> None:
        """Sign the `config` metadata anew where targets gives the role another key, or has only now begun to delegate to it."""
        if targets.delegations is None or CONFIG_ROLE not in (targets.delegations.roles or {}):
            return
        config = self._config(snapshot)
        if config is None:
            self._put_config(snapshot, first_metadata(self._clock()), targets)
            return
        try:
            targets.verify_delegate(CONFIG_ROLE, config.signed_bytes, config.signatures)
        except RepositoryError:
            self._put_config(snapshot, following(config, self._clock()), targets)

    def _put_config(self, snapshot: Metadata[Snapshot], proposed: Metadata[Targets], targets: Targets | None = None) -> None:
        """Sign and write metadata of the role; the snapshot names it, and is the caller's to sign."""
        delegations = (targets or self._top(snapshot).signed).delegations
        role = (delegations.roles or {}).get(CONFIG_ROLE) if delegations is not None else None
        held = self._online()
        signers = [] if role is None else [held[key_id] for key_id in role.keyids if key_id in held]
        if not signers:
            raise PublicationError("the config key is not open, or not the one that targets names; see `fleet keys list`")
        _write(self._metadata / f"{proposed.signed.version}.{CONFIG_ROLE}.json", proposed, signers)
        snapshot.signed.meta[f"{CONFIG_ROLE}.json"] = MetaFile(proposed.signed.version)

    def _config(self, snapshot: Metadata[Snapshot]) -> Metadata[Targets] | None:
        meta = snapshot.signed.meta.get(f"{CONFIG_ROLE}.json")
        return None if meta is None else self._read(self._metadata / f"{meta.version}.{CONFIG_ROLE}.json", Targets)

    def _config_or_refuse(self, snapshot: Metadata[Snapshot]) -> Metadata[Targets]:
        config = self._config(snapshot)
        if config is None:
            raise PublicationError(
                "this repository has no config role yet: `fleet keys rotate config --state-dir … --sign targets.pem` adds it"
            )
        return config

    def _sign_online(self, snapshot: Metadata[Snapshot], *, renew_snapshot: bool) -> None:
        snapshot_signers, timestamp_signers = self._online_signers(Metadata[Root].from_bytes(self.root()))
        now = self._clock().replace(microsecond=0)
        if renew_snapshot:
            snapshot.signed.version += 1
            snapshot.signed.expires = now + SNAPSHOT_LIFETIME
            _write(self._metadata / f"{snapshot.signed.version}.snapshot.json", snapshot, snapshot_signers)
        timestamp = self._read(self._metadata / "timestamp.json", Timestamp)
        timestamp.signed.version += 1
        timestamp.signed.expires = now + TIMESTAMP_LIFETIME
        timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        _write(self._metadata / "timestamp.json", timestamp, timestamp_signers)

    def _online_signers(self, root: Metadata[Root]) -> tuple[list[Signer], list[Signer]]:
        """Those that the root names for snapshot and timestamp; raises PublicationError if one of the two has none."""
        held = self._online()
        named = [
            [held[key_id] for key_id in root.signed.roles[role].keyids if key_id in held]
            for role in (Snapshot.type, Timestamp.type)
        ]
        if not all(named):
            raise PublicationError("the online keys are not open, or not those that root names, so nothing can be signed")
        return named[0], named[1]

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
        folder, _, name = release.path.rpartition("/")
        return f"{folder}/{release.sha256}.{name}"


def _parse(data: bytes, kind: type[_T]) -> Metadata[_T]:
    try:
        metadata = Metadata[_T].from_bytes(data)
    except RepositoryError as error:
        raise PublicationError(f"the metadata does not parse: {error}") from error
    if not isinstance(metadata.signed, kind):
        raise PublicationError(f"the metadata is not of the type {kind.type}")
    return metadata


def _parse_change(signed: SignedChange) -> TrustChange:
    return TrustChange(
        root=None if signed.root is None else _parse(signed.root.encode(), Root),
        targets=None if signed.targets is None else _parse(signed.targets.encode(), Targets),
        models=None if signed.models is None else _parse(signed.models.encode(), Targets),
    )
