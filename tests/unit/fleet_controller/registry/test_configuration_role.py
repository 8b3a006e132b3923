"""The online `config` role over a real repository on disk."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, Targets

from fleet_contract.configuration import CONFIG_ROLE, MAX_CONFIGURATION_BYTES, ConfigurationRevision
from fleet_controller.registry.publication import PublicationError
from fleet_controller.registry.repository import Repository, SignedChange, create_repository
from fleet_controller.registry.trust_change import propose, sign

START = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = b'log_level = "debug"\n'


@dataclass
class Case:
    """A repository, its online keys and its targets key; `now` may be moved."""

    repository: Repository
    online: dict[str, Signer]
    targets: CryptoSigner
    now: datetime = START

    def rotate(self, old: list[str], new: CryptoSigner, *, held: bool = True) -> None:
        if held:
            self.online[new.public_key.keyid] = new
        state = self.repository.trust()
        change = propose(state, CONFIG_ROLE, remove=old, add=[new.public_key], now=self.now)
        sign(state, change, [self.targets])
        assert change.targets is not None
        self.repository.change_trust(SignedChange(targets=change.targets.to_bytes().decode()))

    def config(self) -> Metadata[Targets]:
        newest = max(
            (self.repository.folder / "metadata").glob(f"*.{CONFIG_ROLE}.json"),
            key=lambda file: int(file.name.partition(".")[0]),
        )
        return Metadata[Targets].from_bytes(newest.read_bytes())


def make(tmp_path: Path, *, with_config: bool) -> Case:
    keys = {name: CryptoSigner.generate_ed25519() for name in ("targets", "models", "snapshot", "timestamp")}
    config = CryptoSigner.generate_ed25519() if with_config else None
    create_repository(
        tmp_path / "repository",
        root=[CryptoSigner.generate_ed25519() for _ in range(3)],
        **keys,
        config=config,
        now=START,
    )
    online: dict[str, Signer] = {key.public_key.keyid: key for key in (keys["snapshot"], keys["timestamp"])}
    if config is not None:
        online[config.public_key.keyid] = config
    case = Case(Repository(tmp_path / "repository", online=lambda: online), online, keys["targets"])
    case.repository = Repository(tmp_path / "repository", online=lambda: online, clock=lambda: case.now)
    return case


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return make(tmp_path, with_config=True)


def revision(number: int, name: str = "farm") -> ConfigurationRevision:
    return ConfigurationRevision(name=name, revision=number)


def test_a_revision_is_signed_and_its_bytes_lie_under_their_hash(case: Case) -> None:
    digest = case.repository.publish_configuration(revision(1), TEXT)
    assert digest == f"sha256:{hashlib.sha256(TEXT).hexdigest()}"
    assert case.repository.configurations() == [revision(1)]
    case.repository.trust().targets.signed.verify_delegate(CONFIG_ROLE, case.config().signed_bytes, case.config().signatures)
    file = case.repository.folder / "targets" / "config" / "farm" / f"{digest.removeprefix('sha256:')}.1.toml"
    assert file.read_bytes() == TEXT


def test_a_published_revision_stays_as_it_is(case: Case) -> None:
    case.repository.publish_configuration(revision(1), TEXT)
    with pytest.raises(PublicationError, match="stays as it is"):
        case.repository.publish_configuration(revision(1), b"")
    assert case.config().signed.version == 2


def test_more_bytes_than_a_device_takes_are_refused(case: Case) -> None:
    with pytest.raises(PublicationError, match="bytes"):
        case.repository.publish_configuration(revision(1), b"#" * (MAX_CONFIGURATION_BYTES + 1))
    assert case.repository.configurations() == []


def test_a_removed_revision_is_named_no_more_and_its_file_is_gone(case: Case) -> None:
    case.repository.publish_configuration(revision(1), TEXT)
    case.repository.publish_configuration(revision(2), TEXT + b"# 2\n")
    case.repository.remove_configurations([("farm", 1)])
    assert case.repository.configurations() == [revision(2)]
    assert len(list((case.repository.folder / "targets" / "config").rglob("*.toml"))) == 1


def test_it_is_signed_again_before_it_expires(case: Case) -> None:
    before = case.repository.expiries()[CONFIG_ROLE]
    case.repository.refresh()
    assert case.repository.expiries()[CONFIG_ROLE] == before
    case.now = START + timedelta(days=20)
    case.repository.refresh()
    assert case.repository.expiries()[CONFIG_ROLE] == case.now + timedelta(days=30)


def test_a_repository_of_an_earlier_release_gets_the_role_by_a_change_of_keys(tmp_path: Path) -> None:
    old = make(tmp_path, with_config=False)
    with pytest.raises(PublicationError, match="keys rotate config"):
        old.repository.publish_configuration(revision(1), TEXT)
    old.repository.refresh()
    assert CONFIG_ROLE not in old.repository.expiries()
    old.rotate([], CryptoSigner.generate_ed25519())
    old.repository.publish_configuration(revision(1), TEXT)
    assert old.repository.configurations() == [revision(1)]


def test_after_a_change_of_its_key_everything_is_signed_with_the_new_one(case: Case) -> None:
    case.repository.publish_configuration(revision(1), TEXT)
    (old,) = case.repository.trust().key_ids(CONFIG_ROLE)
    new = CryptoSigner.generate_ed25519()
    case.rotate([old], new)
    assert set(case.config().signatures) == {new.public_key.keyid}
    assert case.repository.configurations() == [revision(1)]
    assert case.repository.trust().key_ids(CONFIG_ROLE) == [new.public_key.keyid]


def test_a_key_that_the_service_does_not_hold_is_refused_and_nothing_changes(case: Case) -> None:
    before = case.repository.trust().key_ids(CONFIG_ROLE)
    with pytest.raises(PublicationError, match="does not hold"):
        case.rotate(before, CryptoSigner.generate_ed25519(), held=False)
    assert case.repository.trust().key_ids(CONFIG_ROLE) == before
