"""The main cases of the public tuf-conformance suite, played against our client: what it trusts, asks for and keeps."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from tests.attacks.repository import signed
from tests.attacks.server import Server

CLIENT = Path(__file__).parent / "tuf_client"
TOP = ("root", "timestamp", "snapshot", "targets")


class Simulator:
    """A small repository in memory; every document is served as it is when it is asked for."""

    def __init__(self, server: Server) -> None:
        self.server = server
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        self.keys = {role: CryptoSigner.generate_ed25519() for role in (*TOP, "delegated")}
        self.root = Root(expires=expires, consistent_snapshot=True)
        for role in TOP:
            self.root.add_key(self.keys[role].public_key, role)
        self.timestamp = Timestamp(expires=expires)
        self.snapshot = Snapshot(expires=expires)
        self.targets = Targets(expires=expires)
        self.delegated: Targets | None = None
        self.roots: dict[str, bytes] = {}
        self.publish_root()
        self.first_root = self.roots["1.root.json"]
        self.serve()

    def publish_root(self) -> None:
        """Add the root as it is to those that are served."""
        self.roots[f"{self.root.version}.root.json"] = signed(Metadata(self.root), [self.keys["root"]])

    def delegate(self, paths: list[str]) -> Targets:
        """A role below targets."""
        key = self.keys["delegated"].public_key
        role = DelegatedRole("delegated", [key.keyid], 1, True, paths=paths)
        self.targets.delegations = Delegations({key.keyid: key}, {"delegated": role})
        self.targets.version += 1
        self.delegated = Targets(expires=self.targets.expires)
        return self.delegated

    def add(self, role: Targets, name: str, data: bytes) -> None:
        """A target and its file."""
        target = TargetFile.from_data(name, data, ["sha256"])
        role.targets[name] = target
        role.version += 1
        path = target.get_prefixed_paths()[0] if self.root.consistent_snapshot else name
        self.server.instead[f"targets/{path}"] = data

    def serve(self) -> None:
        """Bring snapshot and timestamp up to date and serve everything."""
        self.snapshot.version += 1
        self.timestamp.version += 1
        self.snapshot.meta = {"targets.json": MetaFile(self.targets.version)}
        documents: dict[str, Any] = {"targets": self.targets}
        if self.delegated is not None:
            self.snapshot.meta["delegated.json"] = MetaFile(self.delegated.version)
            documents["delegated"] = self.delegated
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        documents["snapshot"] = self.snapshot
        files = dict(self.roots)
        for name, document in documents.items():
            prefix = f"{document.version}." if self.root.consistent_snapshot else ""
            files[f"{prefix}{name}.json"] = signed(Metadata(document), [self.keys[name]])
        files["timestamp.json"] = signed(Metadata(self.timestamp), [self.keys["timestamp"]])
        self.server.frozen = files


class Client:
    """Runs the executable as the suite does."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.metadata, self.targets = folder / "metadata", folder / "targets"
        self.targets.mkdir()
        self._server = simulator.server
        self._trusted = folder / "initial_root.json"
        self._trusted.write_bytes(simulator.first_root)

    def _call(self, *words: str, time: str | None = None) -> int:
        self._server.requests.clear()
        fake = ["faketime", time] if time is not None else []
        command = [*fake, sys.executable, str(CLIENT), "--metadata-dir", str(self.metadata), *words]
        return subprocess.run(command, capture_output=True, check=False, env=dict(os.environ)).returncode

    def init(self) -> int:
        return self._call("init", str(self._trusted))

    def refresh(self, time: str | None = None) -> int:
        return self._call("--metadata-url", f"{self._server.url}/artifacts/metadata", "refresh", time=time)

    def download(self, name: str) -> int:
        url = f"{self._server.url}/artifacts"
        options = ("--target-name", name, "--target-base-url", f"{url}/targets", "--target-dir", str(self.targets))
        return self._call("--metadata-url", f"{url}/metadata", *options, "download")

    def asked(self) -> list[str]:
        """What the last command asked the server for."""
        return [name.removeprefix("metadata/") for name in self._server.requests]

    def versions(self) -> dict[str, int]:
        """What it trusts."""
        return {path.stem: Metadata[Any].from_file(str(path)).signed.version for path in self.metadata.glob("*.json")}


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    server = Server(tmp_path / "nothing")
    yield Simulator(server)
    server.close()


@pytest.fixture
def client(tmp_path: Path, simulator: Simulator) -> Client:
    made = Client(tmp_path, simulator)
    assert made.init() == 0
    return made


def test_init_keeps_the_root_and_asks_for_nothing(client: Client, simulator: Simulator) -> None:
    assert (client.metadata / "root.json").read_bytes() == simulator.first_root
    assert client.asked() == []


def test_a_refresh_asks_in_order_and_a_second_one_for_no_more_than_it_must(client: Client) -> None:
    assert client.refresh() == 0
    assert client.asked() == ["2.root.json", "timestamp.json", "2.snapshot.json", "1.targets.json"]
    assert client.versions() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 1}
    assert client.refresh() == 0
    assert client.asked() == ["2.root.json", "timestamp.json"]


def test_every_root_in_between_is_followed(client: Client, simulator: Simulator) -> None:
    for _ in range(3):
        simulator.root.version += 1
        simulator.publish_root()
    simulator.serve()
    assert client.refresh() == 0
    assert client.versions()["root"] == 4
    assert client.refresh() == 0
    assert client.asked()[0] == "5.root.json"


def _expire(role: str) -> Callable[[Simulator], None]:
    def change(simulator: Simulator) -> None:
        document = getattr(simulator, role)
        document.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        document.version += 1
        if role == "root":
            simulator.publish_root()

    return change


@pytest.mark.parametrize("role", TOP)
def test_expired_metadata_is_refused(client: Client, simulator: Simulator, role: str) -> None:
    assert client.refresh() == 0
    _expire(role)(simulator)
    simulator.serve()
    assert client.refresh() == 1


def test_metadata_that_will_have_expired_is_refused_then(client: Client) -> None:
    assert client.refresh() == 0
    later = (datetime.now(UTC) + timedelta(days=40)).strftime("%Y-%m-%d %H:%M:%S")
    assert client.refresh(time=later) == 1


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_an_older_version_is_refused_and_the_newer_one_stays(client: Client, simulator: Simulator, role: str) -> None:
    simulator.targets.version = 5
    simulator.serve()
    assert client.refresh() == 0
    before = client.versions()
    getattr(simulator, role).version -= 3
    if role == "timestamp":
        simulator.timestamp.version -= 1
    simulator.serve()
    assert client.refresh() == 1
    after = client.versions()
    assert after[role] == before[role]


@pytest.mark.parametrize("role", TOP)
def test_a_document_by_another_key_is_refused(client: Client, simulator: Simulator, role: str) -> None:
    simulator.keys[role] = CryptoSigner.generate_ed25519()
    getattr(simulator, role).version += 1
    if role == "root":
        simulator.publish_root()
    simulator.serve()
    assert client.refresh() == 1
    assert role == "root" or role not in client.versions()


def test_a_key_that_root_took_away_signs_no_more_and_the_new_one_does(client: Client, simulator: Simulator) -> None:
    assert client.refresh() == 0
    old, new = simulator.keys["timestamp"], CryptoSigner.generate_ed25519()
    simulator.root.revoke_key(old.public_key.keyid, "timestamp")
    simulator.root.add_key(new.public_key, "timestamp")
    simulator.root.version += 1
    simulator.publish_root()
    simulator.serve()
    assert client.refresh() == 1
    simulator.keys["timestamp"] = new
    simulator.serve()
    assert client.refresh() == 0


def test_a_repository_without_consistent_snapshots_is_read_by_plain_names(client: Client, simulator: Simulator) -> None:
    simulator.root.consistent_snapshot = False
    simulator.root.version += 1
    simulator.publish_root()
    simulator.add(simulator.targets, "a.txt", b"plain")
    simulator.serve()
    assert client.refresh() == 0
    assert client.asked() == ["2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json"]
    assert client.download("a.txt") == 0
    assert [path.read_bytes() for path in client.targets.iterdir()] == [b"plain"]


def test_a_target_of_a_delegated_role_is_found_by_its_path_alone(client: Client, simulator: Simulator) -> None:
    role = simulator.delegate(["files/*"])
    simulator.add(role, "files/a.txt", b"below")
    simulator.add(role, "elsewhere.txt", b"not the role's to sign")
    simulator.serve()
    assert client.download("elsewhere.txt") == 1
    assert "3.delegated.json" not in client.asked()
    assert client.download("files/a.txt") == 0
    assert "3.delegated.json" in client.asked()


def test_a_download_is_kept_replaced_under_its_name_and_checked(client: Client, simulator: Simulator) -> None:
    simulator.add(simulator.targets, "dir/a.txt", b"one")
    simulator.serve()
    assert client.download("dir/a.txt") == 0
    assert client.download("dir/a.txt") == 0
    assert not [name for name in client.asked() if name.startswith("targets/")]
    simulator.add(simulator.targets, "dir/a.txt", b"two")
    simulator.serve()
    assert client.download("dir/a.txt") == 0
    assert [path.read_bytes() for path in client.targets.iterdir()] == [b"two"]
    simulator.add(simulator.targets, "b.txt", b"good")
    simulator.server.instead.update({name: b"evil" for name in simulator.server.instead if name.endswith("b.txt")})
    simulator.serve()
    assert client.download("b.txt") == 1
    assert len(list(client.targets.iterdir())) == 1
