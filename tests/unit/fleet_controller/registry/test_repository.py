import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from fleet_controller.registry.bundles import build_bundle, measure_bundle
from fleet_controller.registry.publication import PublicationError, next_release, next_releases, with_release, with_releases
from fleet_controller.registry.repository import Repository, create_repository

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Case:
    repository: Repository
    release_key: CryptoSigner
    clock: Clock
    folder: Path
    make: Callable[..., Path]

    def bundle(self, name: str = "frost", version: str = "1.0.0", content: bytes = b"weights") -> Path:
        path = self.folder / f"{name}-{version}.tar"
        build_bundle(self.make(name, version, content), path)
        return path

    def sign(self, bundle: Path, *, floor: int | None = None, key: CryptoSigner | None = None) -> Metadata[Targets]:
        current = self.repository.trust().models
        facts = measure_bundle(bundle)
        proposed = with_release(current, next_release(current.signed, facts, floor), facts, self.clock())
        proposed.sign(key or self.release_key)
        return proposed

    def files(self) -> dict[str, bytes]:
        root = self.repository.folder
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def case(tmp_path: Path, model_folder: Callable[..., Path]) -> Case:
    root = [CryptoSigner.generate_ed25519() for _ in range(3)]
    targets, models, snapshot, timestamp = (CryptoSigner.generate_ed25519() for _ in range(4))
    folder = tmp_path / "repository"
    create_repository(folder, root=root, targets=targets, models=models, snapshot=snapshot, timestamp=timestamp, now=NOW)
    clock = Clock()
    online = {key.public_key.keyid: key for key in (snapshot, timestamp)}
    return Case(Repository(folder, online=lambda: online, clock=clock), models, clock, tmp_path, model_folder)


def test_the_root_needs_two_of_three_keys_and_is_signed_by_all(case: Case) -> None:
    root = Metadata[Root].from_bytes(case.repository.root())
    assert root.signed.roles["root"].threshold == 2
    assert len(root.signed.roles["root"].keyids) == 3
    assert root.signed.consistent_snapshot
    root.signed.verify_delegate("root", root.signed_bytes, root.signatures)


def test_releases_of_a_model_count_up_and_models_do_not_share_numbers(case: Case) -> None:
    for name, version in (("frost", "1.0.0"), ("frost", "1.1.0"), ("leak", "1.0.0")):
        bundle = case.bundle(name, version)
        case.repository.publish(case.sign(bundle).to_bytes(), bundle)
    found = [(each.release.model, each.release.release, each.release.version) for each in case.repository.releases()]
    assert found == [("frost", 1, "1.0.0"), ("frost", 2, "1.1.0"), ("leak", 1, "1.0.0")]
    for each in case.repository.releases():
        assert measure_bundle(case.repository.target_file(each)).sha256 == each.sha256


def test_a_publication_signed_with_another_key_is_refused_and_changes_nothing(case: Case) -> None:
    bundle = case.bundle()
    before = case.files()
    signed = case.sign(bundle, key=CryptoSigner.generate_ed25519())
    with pytest.raises(PublicationError, match="not signed with the release key"):
        case.repository.publish(signed.to_bytes(), bundle)
    assert case.files() == before


def test_bytes_that_are_not_the_signed_ones_are_refused(case: Case) -> None:
    signed = case.sign(case.bundle())
    other = case.bundle("frost", "1.0.1", b"other weights")
    with pytest.raises(PublicationError, match="signed facts"):
        case.repository.publish(signed.to_bytes(), other)
    same_version = case.folder / "tampered.tar"
    build_bundle(_changed(case.folder / "frost-1.0.0"), same_version)
    with pytest.raises(PublicationError, match="the uploaded bundle has"):
        case.repository.publish(signed.to_bytes(), same_version)


def _changed(folder: Path) -> Path:
    (folder / "model.onnx").write_bytes(b"tampered")
    return folder


def test_an_old_version_of_the_metadata_cannot_be_published_over_a_newer_one(case: Case) -> None:
    first, second = case.bundle(), case.bundle(version="1.1.0")
    early = case.sign(second)
    case.repository.publish(case.sign(first).to_bytes(), first)
    with pytest.raises(PublicationError, match="another release was published meanwhile"):
        case.repository.publish(early.to_bytes(), second)


def test_a_published_release_cannot_be_changed_or_taken_away(case: Case) -> None:
    first = case.bundle()
    case.repository.publish(case.sign(first).to_bytes(), first)
    second = case.bundle(version="1.1.0")
    for spoil in ("change", "remove"):
        proposed = copy.deepcopy(case.sign(second))
        if spoil == "change":
            proposed.signed.targets["models/frost/1.tar"].length += 1
        else:
            del proposed.signed.targets["models/frost/1.tar"]
        proposed.sign(case.release_key)
        with pytest.raises(PublicationError, match="changed or taken away"):
            case.repository.publish(proposed.to_bytes(), second)


def test_one_version_never_stands_for_two_contents(case: Case) -> None:
    first = case.bundle()
    case.repository.publish(case.sign(first).to_bytes(), first)
    again = case.folder / "again.tar"
    build_bundle(_changed(case.folder / "frost-1.0.0"), again)
    with pytest.raises(PublicationError, match="give the new bundle a new version"):
        case.sign(again)


def test_a_floor_never_sinks_and_never_lies_above_its_release(case: Case) -> None:
    first = case.bundle()
    case.repository.publish(case.sign(first, floor=1).to_bytes(), first)
    second = case.bundle(version="1.1.0")
    for floor in (0, 3):
        with pytest.raises(PublicationError, match="floor"):
            case.sign(second, floor=floor)
    case.repository.publish(case.sign(second, floor=2).to_bytes(), second)
    assert [each.release.floor for each in case.repository.releases()] == [1, 2]


def test_refreshing_extends_the_timestamp_daily_and_the_snapshot_only_when_it_gets_old(case: Case) -> None:
    before = case.repository.expiries()
    case.clock.now += timedelta(days=1)
    case.repository.refresh()
    after = case.repository.expiries()
    assert after["timestamp"] == before["timestamp"] + timedelta(days=1)
    assert after["snapshot"] == before["snapshot"]
    case.clock.now += timedelta(days=20)
    case.repository.refresh()
    assert case.repository.expiries()["snapshot"] == case.clock.now + timedelta(days=30)


def test_a_publication_cut_off_before_the_timestamp_has_not_happened_and_can_be_made_again(case: Case) -> None:
    bundle = case.bundle()
    signed = case.sign(bundle).to_bytes()
    kept = bundle.read_bytes()
    timestamp = case.repository.folder / "metadata" / "timestamp.json"
    before = timestamp.read_bytes()
    case.repository.publish(signed, bundle)
    timestamp.write_bytes(before)
    assert case.repository.releases() == []
    bundle.write_bytes(kept)
    case.repository.publish(case.sign(bundle).to_bytes(), bundle)
    assert [each.release.release for each in case.repository.releases()] == [1]


@pytest.mark.parametrize("garbage", [b"", b"{}", b"\xff\xfe", b'{"signed": [], "signatures": 1}', b"[" * 100_000])
def test_bytes_that_are_no_metadata_are_refused(case: Case, garbage: bytes) -> None:
    with pytest.raises(PublicationError):
        case.repository.publish(garbage, case.bundle())


def variants(case: Case, *names: str | None, version: str = "1.0.0") -> list[Path]:
    made = []
    for number, name in enumerate(names):
        folder = case.make(f"frost-{number}", version, f"weights {name}".encode())
        text = (folder / "model.toml").read_text().replace(f'"frost-{number}"', '"frost"')
        (folder / "model.toml").write_text(text if name is None else f'variant = "{name}"\n{text}')
        path = case.folder / f"frost-{number}.tar"
        build_bundle(folder, path)
        made.append(path)
    return made


def sign_all(case: Case, bundles: list[Path]) -> Metadata[Targets]:
    current = case.repository.trust().models
    facts = [measure_bundle(bundle) for bundle in bundles]
    proposed = with_releases(current, next_releases(current.signed, facts), facts, case.clock())
    proposed.sign(case.release_key)
    return proposed


def test_variants_are_one_release_with_a_target_each(case: Case) -> None:
    bundles = variants(case, "int8", "fp32")
    case.repository.publish(sign_all(case, bundles).to_bytes(), *bundles)
    found = case.repository.releases()
    assert [item.path for item in found] == ["models/frost/1.fp32.tar", "models/frost/1.int8.tar"]
    assert {item.release.release for item in found} == {1}
    assert all(case.repository.target_file(item).is_file() for item in found)
    assert found[0].release.facts is not None
    assert found[0].release.facts.runtime == "onnx"


@pytest.mark.parametrize("names", [("int8", "int8"), ("int8", None)])
def test_each_of_several_variants_needs_a_name_of_its_own(case: Case, names: tuple[str | None, ...]) -> None:
    with pytest.raises(PublicationError, match="variant"):
        sign_all(case, variants(case, *names))


def test_a_release_with_fewer_bundles_than_were_signed_is_refused(case: Case) -> None:
    bundles = variants(case, "int8", "fp32")
    with pytest.raises(PublicationError, match="2 new targets for 1 uploaded"):
        case.repository.publish(sign_all(case, bundles).to_bytes(), bundles[0])
    assert not case.repository.releases()
    assert bundles[0].exists()


def test_a_version_that_had_two_variants_cannot_come_again_with_one(case: Case) -> None:
    bundles = variants(case, "int8", "fp32")
    copies = [path.read_bytes() for path in bundles]
    case.repository.publish(sign_all(case, bundles).to_bytes(), *bundles)
    bundles[0].write_bytes(copies[0])
    with pytest.raises(PublicationError, match="other bytes"):
        case.sign(bundles[0])
