"""What the trust child believes about a configuration: python-tuf over a real signed repository, without HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata, Targets
from tuf.ngclient.fetcher import FetcherInterface

from edge_agent.updates.trust.configuration import fetch_configuration
from edge_agent.updates.trust.job import Job
from edge_agent.updates.trust.metadata import refresh
from edge_agent.updates.trust.refusal import Refusal, judge
from fleet_contract.configuration import CONFIG_ROLE, MAX_CONFIGURATION_BYTES, ConfigurationRevision, DesiredConfiguration
from fleet_contract.reasons import Reason
from fleet_controller.registry.repository import Repository, create_repository

TEXT = b'log_level = "debug"\n'


class FolderFetcher(FetcherInterface):
    """Gives files of a folder as a server would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.received = 0

    def _fetch(self, url: str) -> Iterator[bytes]:
        file = self._folder / url.removeprefix("https://fleet/")
        if not file.is_file():
            raise DownloadHTTPError("not found", 404)
        data = file.read_bytes()
        self.received += len(data)
        return iter([data])


@dataclass
class Case:
    """A controller's repository and a device's folders."""

    folder: Path
    keys: dict[str, CryptoSigner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("targets", "models", "snapshot", "timestamp", "config")
        self.keys = {name: CryptoSigner.generate_ed25519() for name in names}
        root = [CryptoSigner.generate_ed25519() for _ in range(2)]
        create_repository(self.place, root=root, **self.keys, now=datetime.now(UTC))
        held: dict[str, Signer] = {key.public_key.keyid: key for key in self.keys.values()}
        self.repository = Repository(self.place, online=lambda: held)
        (self.folder / "root.json").write_bytes(self.repository.root())

    @property
    def place(self) -> Path:
        return self.folder / "repository"

    @property
    def served(self) -> Path:
        return self.place

    def publish(self, revision: int, text: bytes = TEXT, **facts: Any) -> None:
        self.repository.publish_configuration(ConfigurationRevision(name="farm", revision=revision, **facts), text)

    def fetch(self, revision: int, served: Path | None = None, **floors: Any) -> bytes:
        """What the child does; raises Refusal."""
        wanted = DesiredConfiguration(name="farm", revision=revision)
        job = Job(
            metadata_url="https://fleet/metadata/",
            targets_url="https://fleet/targets/",
            metadata_dir=str(self.folder / "device" / "metadata"),
            download_dir=str(self.folder / "device" / "download"),
            root_file=str(self.folder / "root.json"),
            token="t",
            model="",
            release=0,
            configuration=wanted,
            reference_time=datetime.now(UTC).timestamp(),
            max_bytes=MAX_CONFIGURATION_BYTES,
            **floors,
        )
        Path(job.download_dir).mkdir(parents=True, exist_ok=True)
        fetcher: Any = FolderFetcher(served or self.served)
        try:
            facts = refresh(job, fetcher)
            done = fetch_configuration(job, wanted, facts, fetcher)
        except Refusal:
            raise
        except Exception as error:
            raise judge(error, "configuration") from error
        assert done.path is not None
        return Path(done.path).read_bytes()

    def newest(self, role: str) -> Path:
        found = (self.place / "metadata").glob(f"*.{role}.json")
        return max(found, key=lambda file: int(file.name.partition(".")[0]))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def refused(case: Case, revision: int, reason: Reason, **floors: Any) -> None:
    with pytest.raises(Refusal) as caught:
        case.fetch(revision, **floors)
    assert caught.value.reason is reason, str(caught.value)
    assert not list((case.folder / "device" / "download").glob("*.toml"))


def test_a_signed_revision_is_fetched(case: Case) -> None:
    case.publish(1)
    assert case.fetch(1) == TEXT


@pytest.mark.parametrize("thief", ["snapshot", "timestamp", "models"])
def test_metadata_of_the_role_that_another_key_has_signed_is_refused(case: Case, thief: str) -> None:
    case.publish(1)
    path = case.newest(CONFIG_ROLE)
    metadata = Metadata[Targets].from_bytes(path.read_bytes())
    metadata.sign(case.keys[thief])
    path.write_bytes(metadata.to_bytes())
    refused(case, 1, Reason.SIGNATURE_INVALID)


def test_the_config_key_signs_no_release(case: Case) -> None:
    """Its delegation covers `config/*/*` alone: a target elsewhere is not looked for in its metadata."""
    case.publish(1)
    path = case.newest(CONFIG_ROLE)
    metadata = Metadata[Targets].from_bytes(path.read_bytes())
    target = metadata.signed.targets["config/farm/1.toml"]
    metadata.signed.targets = {"models/frost/1.tar": target}
    metadata.signatures.clear()
    metadata.sign(case.keys["config"])
    path.write_bytes(metadata.to_bytes())
    job_model = Job(
        metadata_url="https://fleet/metadata/", targets_url="https://fleet/targets/",
        metadata_dir=str(case.folder / "device" / "metadata"), download_dir=str(case.folder / "device" / "download"),
        root_file=str(case.folder / "root.json"), token="t", model="frost", release=1,
        reference_time=datetime.now(UTC).timestamp(), max_bytes=1000,
    )  # fmt: skip
    fetcher: Any = FolderFetcher(case.served)
    assert refresh(job_model, fetcher).target is None


def test_older_metadata_of_the_role_is_refused_although_it_is_well_signed(case: Case, tmp_path: Path) -> None:
    case.publish(1)
    old = {file.name: file.read_bytes() for file in (case.place / "metadata").iterdir()}
    case.publish(2, TEXT + b"# 2\n")
    assert case.fetch(2)
    for name, data in old.items():
        (case.place / "metadata" / name).write_bytes(data)
    for file in (case.folder / "device" / "download").glob("*.toml"):
        file.unlink()
    refused(case, 1, Reason.METADATA_ROLLBACK)


def test_a_timestamp_below_the_devices_own_floor_is_refused(case: Case) -> None:
    case.publish(1)
    refused(case, 1, Reason.METADATA_ROLLBACK, timestamp_floor=99)


def test_a_revision_that_was_taken_away_is_refused(case: Case) -> None:
    case.publish(1)
    case.publish(2, TEXT + b"# 2\n")
    case.repository.remove_configurations([("farm", 1)])
    refused(case, 1, Reason.CONFIGURATION_UNKNOWN)


def test_other_bytes_than_the_signed_ones_are_refused(case: Case) -> None:
    case.publish(1)
    (file,) = (case.place / "targets").rglob("*.toml")
    file.write_bytes(TEXT.replace(b"debug", b"error"))
    refused(case, 1, Reason.HASH_MISMATCH)


def test_endless_bytes_are_not_read_to_their_end(case: Case) -> None:
    case.publish(1)
    (file,) = (case.place / "targets").rglob("*.toml")
    file.write_bytes(TEXT * 100_000)
    refused(case, 1, Reason.HASH_MISMATCH)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"agent": "999.0"}, Reason.AGENT_TOO_OLD),
        ({"contract_low": 999}, Reason.AGENT_TOO_OLD),
        ({"contract_high": 0}, Reason.CONFIGURATION_INVALID),
    ],
)
def test_a_revision_for_another_agent_is_refused_with_its_reason(case: Case, facts: dict[str, Any], reason: Reason) -> None:
    case.publish(1, **facts)
    refused(case, 1, reason)


def test_facts_of_another_revision_are_refused(case: Case) -> None:
    case.publish(1)
    path = case.newest(CONFIG_ROLE)
    metadata = Metadata[Targets].from_bytes(path.read_bytes())
    custom = msgspec.to_builtins(ConfigurationRevision(name="farm", revision=2))
    metadata.signed.targets["config/farm/1.toml"].unrecognized_fields["custom"] = custom
    metadata.signatures.clear()
    metadata.sign(case.keys["config"])
    path.write_bytes(metadata.to_bytes())
    refused(case, 1, Reason.METADATA_INVALID)


def test_expired_metadata_of_the_role_is_refused(case: Case) -> None:
    case.publish(1)
    path = case.newest(CONFIG_ROLE)
    metadata = Metadata[Targets].from_bytes(path.read_bytes())
    metadata.signed.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    metadata.signatures.clear()
    metadata.sign(case.keys["config"])
    path.write_bytes(metadata.to_bytes())
    refused(case, 1, Reason.METADATA_EXPIRED)
