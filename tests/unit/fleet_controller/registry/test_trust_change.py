"""Changing keys: who has to sign, what may not change by the way, and that a change that was cut off is finished."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

import fleet_controller.registry.repository as repository_module
from fleet_controller.registry.bundles import build_bundle, measure_bundle
from fleet_controller.registry.publication import PublicationError, next_release, with_floor, with_release
from fleet_controller.registry.repository import CHANGE_FILE, Repository, SignedChange, create_repository
from fleet_controller.registry.trust_change import TrustChange, TrustState, propose, sign

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def new_key() -> CryptoSigner:
    return CryptoSigner.generate_ed25519()


def signed(change: TrustChange) -> SignedChange:
    texts = {name: getattr(change, name) for name in ("root", "targets", "models")}
    return SignedChange(**{name: metadata.to_bytes().decode() for name, metadata in texts.items() if metadata is not None})


@dataclass
class Case:
    """A repository with all its keys, and two releases of `frost` in it."""

    folder: Path
    make: Callable[..., Path]
    root: list[CryptoSigner] = field(default_factory=lambda: [new_key() for _ in range(3)])
    targets: CryptoSigner = field(default_factory=new_key)
    models: CryptoSigner = field(default_factory=new_key)
    online: dict[str, Signer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        snapshot, timestamp = new_key(), new_key()
        self.online = {key.public_key.keyid: key for key in (snapshot, timestamp)}
        create_repository(
            self.folder,
            root=self.root,
            targets=self.targets,
            models=self.models,
            snapshot=snapshot,
            timestamp=timestamp,
            now=NOW,
        )
        self.repository = Repository(self.folder, online=lambda: self.online, clock=lambda: NOW)
        for version in ("1.0.0", "2.0.0"):
            self.publish(version, self.models)

    @property
    def state(self) -> TrustState:
        return self.repository.trust()

    def publish(self, version: str, key: CryptoSigner) -> None:
        bundle = self.folder.parent / f"frost-{version}.tar"
        build_bundle(self.make("frost", version), bundle)
        facts = measure_bundle(bundle)
        current = self.state.models
        proposed = with_release(current, next_release(current.signed, facts), facts, NOW)
        proposed.sign(key)
        self.repository.publish(proposed.to_bytes(), bundle)

    def propose(
        self, role: str, signers: Collection[Signer], *, old: Collection[Signer] = (), new: Collection[Signer] = ()
    ) -> TrustChange:
        removed = [key.public_key.keyid for key in old]
        change = propose(self.state, role, remove=removed, add=[key.public_key for key in new], now=NOW)
        sign(self.state, change, list(signers))
        return change

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def check_chain(self) -> None:
        """What a client does: every document verifies, from the root down, and from each root to the next."""
        roots = sorted(self.folder.glob("metadata/*.root.json"), key=lambda path: int(path.name.partition(".")[0]))
        before = Metadata[Root].from_bytes(roots[0].read_bytes())
        for path in roots[1:]:
            after = Metadata[Root].from_bytes(path.read_bytes())
            for judge in (before, after):
                judge.signed.verify_delegate(Root.type, after.signed_bytes, after.signatures)
            before = after
        folder = self.folder / "metadata"
        timestamp = Metadata[Timestamp].from_bytes((folder / "timestamp.json").read_bytes())
        before.signed.verify_delegate(Timestamp.type, timestamp.signed_bytes, timestamp.signatures)
        name = f"{timestamp.signed.snapshot_meta.version}.snapshot.json"
        snapshot = Metadata[Snapshot].from_bytes((folder / name).read_bytes())
        before.signed.verify_delegate(Snapshot.type, snapshot.signed_bytes, snapshot.signatures)
        state = self.state
        before.signed.verify_delegate(Targets.type, state.targets.signed_bytes, state.targets.signatures)
        state.targets.signed.verify_delegate("models", state.models.signed_bytes, state.models.signatures)


@pytest.fixture
def case(tmp_path: Path, model_folder: Callable[..., Path]) -> Case:
    return Case(tmp_path / "repository", model_folder)


def test_a_new_release_key_takes_over_and_the_old_one_publishes_nothing_more(case: Case) -> None:
    new = new_key()
    case.repository.change_trust(signed(case.propose("models", [case.targets, new], old=[case.models], new=[new])))
    case.check_chain()
    assert [item.release.version for item in case.repository.releases()] == ["1.0.0", "2.0.0"]
    with pytest.raises(PublicationError, match="release key"):
        case.publish("3.0.0", case.models)
    case.publish("4.0.0", new)
    case.check_chain()


def test_targets_root_and_online_keys_are_replaced(case: Case) -> None:
    targets, root, timestamp = new_key(), new_key(), new_key()
    case.repository.change_trust(signed(case.propose("targets", [*case.root[:2], targets], old=[case.targets], new=[targets])))
    case.check_chain()
    case.repository.change_trust(signed(case.propose("root", [*case.root[:2], root], old=[case.root[2]], new=[root])))
    case.check_chain()
    old = case.online[case.state.key_ids("timestamp")[0]]
    case.online[timestamp.public_key.keyid] = timestamp
    case.repository.change_trust(signed(case.propose("timestamp", [case.root[0], root], old=[old], new=[timestamp])))
    case.check_chain()
    assert case.state.key_ids("timestamp") == [timestamp.public_key.keyid]
    assert sorted(case.state.key_ids("root")) == sorted(key.public_key.keyid for key in (case.root[0], case.root[1], root))


def test_renewing_changes_no_key_and_moves_the_expiry_date(case: Case) -> None:
    before = case.state
    case.repository._clock = lambda: NOW + timedelta(days=100)
    for role, signers in (("root", case.root), ("targets", [case.targets]), ("models", [case.models])):
        change = propose(case.state, role, remove=[], add=[], now=NOW + timedelta(days=100))
        sign(case.state, change, signers)
        case.repository.change_trust(signed(change))
        case.check_chain()
    for name in ("root", "targets", "models"):
        assert getattr(case.state, name).signed.expires > getattr(before, name).signed.expires
        assert case.state.key_ids(name) == before.key_ids(name)


def test_a_root_key_goes_without_another_while_enough_are_left(case: Case) -> None:
    case.repository.change_trust(signed(case.propose("root", case.root[:2], old=[case.root[2]])))
    case.check_chain()
    with pytest.raises(PublicationError, match="would have 1 keys and needs 2"):
        case.propose("root", case.root[:2], old=[case.root[1]])
    with pytest.raises(PublicationError, match="would have 0 keys and needs 1"):
        case.propose("timestamp", case.root[:2], old=[case.online[case.state.key_ids("timestamp")[0]]])


def lacking(case: Case) -> dict[str, TrustChange]:
    new = new_key()
    return {
        "one root key instead of two": case.propose("targets", [case.root[0], new], old=[case.targets], new=[new]),
        "the old targets key signs itself in": case.propose("targets", [case.targets, new], old=[case.targets], new=[new]),
        "targets not signed anew": case.propose("targets", case.root, old=[case.targets], new=[new]),
        "releases not signed with the new key": case.propose(
            "models", [case.targets, case.models], old=[case.models], new=[new]
        ),
        "a release key that signs itself in": case.propose("models", [case.models, new], old=[case.models], new=[new]),
        "an online key that the service lacks": case.propose(
            "timestamp", case.root, old=[case.online[case.state.key_ids("timestamp")[0]]], new=[new]
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        "one root key instead of two",
        "the old targets key signs itself in",
        "targets not signed anew",
        "releases not signed with the new key",
        "a release key that signs itself in",
        "an online key that the service lacks",
    ],
)
def test_a_change_that_lacks_a_signature_or_a_key_is_refused_and_changes_nothing(case: Case, name: str) -> None:
    before = case.files()
    with pytest.raises(PublicationError):
        case.repository.change_trust(signed(lacking(case)[name]))
    assert case.files() == before


def _lower_threshold(change: TrustChange) -> None:
    assert change.root is not None
    change.root.signed.roles["root"].threshold = 1


def _skip_version(change: TrustChange) -> None:
    assert change.root is not None
    change.root.signed.version += 1


def _expired(change: TrustChange) -> None:
    assert change.root is not None
    change.root.signed.expires = NOW - timedelta(days=1)


def _no_snapshots(change: TrustChange) -> None:
    assert change.root is not None
    change.root.signed.consistent_snapshot = False


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_lower_threshold, "threshold"),
        (_skip_version, "version 3, but the next is 2"),
        (_expired, "expiry"),
        (_no_snapshots, "consistent snapshots"),
    ],
)
def test_a_root_that_weakens_the_repository_is_refused_although_it_is_signed(
    case: Case, spoil: Callable[[TrustChange], None], text: str
) -> None:
    change = propose(case.state, "root", remove=[], add=[], now=NOW)
    spoil(change)
    sign(case.state, change, case.root)
    with pytest.raises(PublicationError, match=text):
        case.repository.change_trust(signed(change))


def test_targets_delegate_to_the_release_key_alone(case: Case) -> None:
    change = propose(case.state, "targets", remove=[], add=[], now=NOW)
    assert change.targets is not None
    delegations: Any = change.targets.signed.delegations
    delegations.roles["models"].paths = ["*"]
    sign(case.state, change, [case.targets])
    with pytest.raises(PublicationError, match="must stay as it is"):
        case.repository.change_trust(signed(change))


@pytest.mark.parametrize("limit", range(1, 8))
def test_a_change_of_keys_that_was_cut_off_at_any_write_has_not_begun_or_is_finished_at_the_next_start(
    case: Case, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    targets, release = new_key(), new_key()
    change = case.propose("targets", case.root, old=[case.targets], new=[targets])
    both = case.propose("models", [release], old=[case.models], new=[release])
    assert change.targets is not None
    assert both.targets is not None
    # Both at once, because that has the most documents to write.
    change.targets.signed.delegations = both.targets.signed.delegations
    change.models = both.models
    change.targets.sign(targets)
    real = repository_module.write_file_durably
    written: list[Path] = []

    def write(path: Path, data: bytes, **options: Any) -> None:
        written.append(path)
        if len(written) == limit:
            raise KeyboardInterrupt
        real(path, data, **options)

    monkeypatch.setattr(repository_module, "write_file_durably", write)
    try:
        case.repository.change_trust(signed(change))
        assert limit == 7, "there are six writes"
    except KeyboardInterrupt:
        monkeypatch.setattr(repository_module, "write_file_durably", real)
        assert Repository(case.folder, online=lambda: case.online, clock=lambda: NOW).resume() is (limit > 1)
    monkeypatch.setattr(repository_module, "write_file_durably", real)
    case.check_chain()
    assert not (case.folder / CHANGE_FILE).exists()
    assert case.state.key_ids("targets") == [(case.targets if limit == 1 else targets).public_key.keyid]
    case.publish("3.0.0", case.models if limit == 1 else release)


def test_a_raised_floor_revokes_releases_up_to_the_newest_and_never_sinks(case: Case) -> None:
    def revoke(floor: int, key: CryptoSigner = case.models) -> tuple[str, int]:
        proposed = with_floor(case.state.models, "frost", floor, NOW)
        proposed.sign(key)
        return case.repository.revoke(proposed.to_bytes())

    with pytest.raises(PublicationError, match="release key"):
        revoke(2, new_key())
    assert revoke(2) == ("frost", 2)
    assert revoke(3) == ("frost", 3)
    assert case.repository.floors() == {"frost": 3}
    case.check_chain()
    for floor in (2, 3, 5):
        with pytest.raises(PublicationError, match="never sinks"):
            revoke(floor)
    with pytest.raises(PublicationError, match="no release of 'leak'"):
        with_floor(case.state.models, "leak", 1, NOW)
    case.publish("3.0.0", case.models)
    assert case.repository.releases()[-1].release.floor == 3


def test_a_revocation_changes_nothing_but_one_floor(case: Case) -> None:
    proposed = with_floor(case.state.models, "frost", 2, NOW)
    proposed.signed.targets.popitem()
    proposed.sign(case.models)
    with pytest.raises(PublicationError, match="stays as it is"):
        case.repository.revoke(proposed.to_bytes())
    proposed = with_floor(case.state.models, "frost", 2, NOW)
    proposed.signed.unrecognized_fields["other"] = 1
    proposed.sign(case.models)
    with pytest.raises(PublicationError, match="changes nothing else"):
        case.repository.revoke(proposed.to_bytes())
