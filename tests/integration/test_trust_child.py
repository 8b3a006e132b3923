"""The trust child as a process, over a real TUF repository and a real HTTP server."""

import io
import json
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from edge_agent.loop import Loop
from edge_agent.updates.process import TrustProcesses
from edge_agent.updates.trust.job import Done, Job, encode
from fleet_contract.reasons import Reason
from fleet_contract.trust import METADATA_PATH, MODELS_ROLE, TARGETS_PATH, Release, target_path
from fleet_controller.registry.bundles import measure_bundle
from fleet_controller.registry.publication import next_release, with_release
from fleet_controller.registry.repository import Repository, create_repository

TOKEN = "a-device-token"
MANIFEST = """
schema = 1
name = "{name}"
version = "{version}"
task = "regression"
runtime = "onnx"
file = "model.onnx"
golden = "golden.json"
kind = "window"
licence = "CC0-1.0"
inputs = [{{ name = "t" }}]
features = [{{ op = "last", input = "t" }}]
input_tensor = {{ name = "x", dtype = "float32", shape = [-1, 1] }}
output_tensor = {{ name = "y", dtype = "float32", shape = [-1, 1], unit = "1" }}
"""


def make_bundle(name: str = "frost", version: str = "1.0.0", size: int = 200_000, extra: str | None = None) -> bytes:
    entries = {
        "model.toml": MANIFEST.format(name=name, version=version).encode(),
        "model.onnx": bytes(range(256)) * (size // 256),
        "golden.json": b'[{"window": {"t": [1.0]}, "scores": [0.5]}]',
    }
    if extra is not None:
        entries[extra] = b"x"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.USTAR_FORMAT) as tar:
        for entry, data in entries.items():
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Signing:
    """A repository with all its keys, in a folder that a server offers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "metadata").mkdir(parents=True)
        self.keys = {
            role: CryptoSigner.generate_ed25519() for role in ("root", "targets", "snapshot", "timestamp", MODELS_ROLE)
        }
        self.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        root = Root(expires=self.expires, consistent_snapshot=True)
        for role in ("root", "targets", "snapshot", "timestamp"):
            root.add_key(self.keys[role].public_key, role)
        key = self.keys[MODELS_ROLE].public_key
        role = DelegatedRole(MODELS_ROLE, [key.keyid], 1, True, paths=["models/*/*"])
        self.models = Targets(expires=self.expires)
        self.snapshot = Snapshot(expires=self.expires, meta={"targets.json": MetaFile(1), "models.json": MetaFile(1)})
        self.timestamp = Timestamp(expires=self.expires)
        self.root = self.write("1.root.json", root, "root")
        self.write(
            "1.targets.json",
            Targets(expires=self.expires, delegations=Delegations({key.keyid: key}, {MODELS_ROLE: role})),
            "targets",
        )

    def write(self, name: str, signed: Any, role: str) -> bytes:
        metadata = Metadata(signed)
        metadata.sign(self.keys[role])
        data = metadata.to_bytes()
        (self.folder / "metadata" / name).write_bytes(data)
        return data

    def rotate(self, role: str) -> None:
        root = Metadata[Root].from_bytes(self.root).signed
        root.revoke_key(self.keys[role].public_key.keyid, role)
        self.keys[role] = CryptoSigner.generate_ed25519()
        root.add_key(self.keys[role].public_key, role)
        root.version += 1
        self.root = self.write(f"{root.version}.root.json", root, "root")

    def add(self, release: Release, bundle: bytes) -> Path:
        path = target_path(release.model, release.release)
        target = TargetFile.from_data(path, bundle, ["sha256"])
        target.unrecognized_fields["custom"] = msgspec.to_builtins(release)
        self.models.targets[path] = target
        file = self.folder / "targets" / target.get_prefixed_paths()[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bundle)
        return file

    def publish(self) -> None:
        self.snapshot.version += 1
        self.models.version += 1
        self.timestamp.version += 1
        self.snapshot.meta["models.json"] = MetaFile(self.models.version)
        self.write(f"{self.models.version}.models.json", self.models, MODELS_ROLE)
        self.write(f"{self.snapshot.version}.snapshot.json", self.snapshot, "snapshot")
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.write("timestamp.json", self.timestamp, "timestamp")


class Server:
    """Offers a folder to whoever has the token; notes what was asked for."""

    def __init__(self, folder: Path) -> None:
        outer = self
        self.requests: list[tuple[str, str | None]] = []
        self.cut_after: int | None = None
        self.add_bytes = b""
        self.ranges = True

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("Range")))
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self.send_error(401)
                    return
                file = folder / self.path.removeprefix("/artifacts/")
                if not file.is_file():
                    self.send_error(404)
                    return
                data, start, status = file.read_bytes(), 0, 200
                if self.path.startswith(TARGETS_PATH):
                    data += outer.add_bytes
                    wanted = self.headers.get("Range")
                    if wanted is not None and outer.ranges:
                        start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
                self.send_response(status)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                end = len(data)
                if self.path.startswith(TARGETS_PATH) and outer.cut_after is not None:
                    end = start + outer.cut_after
                self.wfile.write(data[start:end])
                self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="artifacts")
        self._thread.start()

    def close(self) -> None:
        """Harmless when it is closed already."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


class Device:
    """Runs the child with a device's folders."""

    def __init__(self, folder: Path, root: bytes, server: Server) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "root.json").write_bytes(root)
        self.server = server

    def job(self, **changes: Any) -> Job:
        job = Job(
            metadata_url=self.server.url + METADATA_PATH,
            targets_url=self.server.url + TARGETS_PATH,
            metadata_dir=str(self.folder / "metadata"),
            download_dir=str(self.folder / "download"),
            root_file=str(self.folder / "root.json"),
            token=TOKEN,
            model="frost",
            release=1,
            reference_time=time.time(),
            max_bytes=10_000_000,
            timeout=5.0,
        )
        return msgspec.structs.replace(job, **changes)

    def run(self, **changes: Any) -> list[dict[str, Any]]:
        ended = subprocess.run(
            [sys.executable, "-m", "edge_agent.updates.trust_child"],
            input=encode(self.job(**changes)),
            stdout=subprocess.PIPE,
            check=False,
        )
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        assert ended.returncode == (0 if lines[-1]["line"] == "done" else 1)
        self.received = lines[-1]["received"]
        return lines

    def refused(self, **changes: Any) -> tuple[str, bool]:
        last = self.run(**changes)[-1]
        assert last["line"] == "error", last
        assert last["detail"]
        return last["reason"], last["temporary"]

    def downloads(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "download").iterdir() if path.name != ".lock")


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    signing = Signing(tmp_path / "repository")
    signing.add(Release(model="frost", version="1.0.0", release=1, floor=0), make_bundle())
    signing.publish()
    return signing


@pytest.fixture
def server(signing: Signing) -> Iterator[Server]:
    server = Server(signing.folder)
    yield server
    server.close()


@pytest.fixture
def device(tmp_path: Path, signing: Signing, server: Server) -> Device:
    return Device(tmp_path / "device", signing.root, server)


def bundle_file(signing: Signing) -> Path:
    return next((signing.folder / "targets" / "models" / "frost").iterdir())


def test_a_good_release_is_fetched_and_verified_and_nothing_lies_outside_the_two_folders(
    device: Device, signing: Signing, tmp_path: Path
) -> None:
    lines = device.run()
    done = lines[-1]
    assert [line["line"] for line in lines if line["line"] != "progress"] == ["metadata", "verified", "fetched", "done"]
    assert Path(done["path"]).read_bytes() == bundle_file(signing).read_bytes()
    assert done["version"] == "1.0.0"
    assert device.downloads() == [f"{done['digest'].removeprefix('sha256:')}.tar"]
    assert {path.name for path in device.folder.iterdir()} == {"root.json", "metadata", "download"}
    assert {path.name for path in tmp_path.iterdir()} == {"device", "repository"}


def test_what_a_killed_child_left_half_written_is_removed(device: Device) -> None:
    metadata = device.folder / "metadata"
    metadata.mkdir()
    (metadata / "tmp4x_0k2").write_bytes(b"half")
    device.run()
    assert {path.name for path in metadata.iterdir()} == {
        "root.json", "root_history", "timestamp.json", "snapshot.json", "targets.json", "models.json",
    }  # fmt: skip


def test_a_verified_file_is_not_fetched_again(device: Device, server: Server) -> None:
    device.run()
    server.requests.clear()
    assert device.run()[-1]["line"] == "done"
    assert not [path for path, _ in server.requests if path.startswith(TARGETS_PATH)]


def test_a_bundle_that_is_unpacked_already_needs_the_metadata_alone(device: Device, server: Server) -> None:
    digest = device.run()[1]["digest"]
    server.requests.clear()
    done = device.run(have=digest)[-1]
    assert done.pop("received") < 10_000
    assert done == {"line": "done", "path": None, "digest": digest, "version": "1.0.0"}
    assert not [path for path, _ in server.requests if path.startswith(TARGETS_PATH)]


def test_bytes_changed_after_signing_are_refused_and_removed(device: Device, signing: Signing) -> None:
    file = bundle_file(signing)
    data = bytearray(file.read_bytes())
    data[5000] ^= 1
    file.write_bytes(data)
    assert device.refused() == ("hash_mismatch", False)
    assert device.downloads() == []


def test_more_bytes_than_signed_are_refused(device: Device, server: Server) -> None:
    server.add_bytes = b"more"
    assert device.refused() == ("hash_mismatch", False)
    assert device.downloads() == []


def test_a_cut_download_is_temporary_and_goes_on_where_it_stopped(device: Device, server: Server) -> None:
    server.cut_after = 50_000
    assert device.refused() == ("download_failed", True)
    server.cut_after = None
    server.requests.clear()
    assert device.run()[-1]["line"] == "done"
    assert [wanted for path, wanted in server.requests if path.startswith(TARGETS_PATH)] == ["bytes=50000-"]


def test_a_server_without_ranges_sends_everything_again(device: Device, server: Server) -> None:
    server.cut_after = 50_000
    device.refused()
    server.cut_after, server.ranges = None, False
    assert device.run()[-1]["line"] == "done"


def test_a_damaged_part_file_costs_one_more_attempt(device: Device, server: Server) -> None:
    server.cut_after = 50_000
    device.refused()
    server.cut_after = None
    part = next((device.folder / "download").glob("*.part"))
    part.write_bytes(b"\0" * 50_000)
    assert device.refused() == ("hash_mismatch", True)
    assert device.run()[-1]["line"] == "done"


def test_older_metadata_than_this_device_has_seen_is_a_rollback(device: Device, signing: Signing) -> None:
    old = {path: path.read_bytes() for path in (signing.folder / "metadata").iterdir()}
    signing.publish()
    assert device.run()[-1]["line"] == "done"
    for path, data in old.items():
        path.write_bytes(data)
    assert device.refused() == ("metadata_rollback", False)


def test_the_floor_of_versions_holds_without_the_metadata_folder(device: Device) -> None:
    assert device.refused(timestamp_floor=3) == ("metadata_rollback", False)


def test_a_stolen_timestamp_key_cannot_lock_a_device_out_once_root_has_taken_it_away(device: Device, signing: Signing) -> None:
    signing.timestamp.version = 2**40
    signing.publish()
    valid = device.run()[0]
    seen = {"timestamp_floor": valid["timestamp_version"], "timestamp_keys": valid["timestamp_keys"]}
    signing.timestamp.version = 4
    signing.publish()
    assert device.refused(**seen) == ("metadata_rollback", False)
    signing.rotate("timestamp")
    signing.publish()
    assert device.run(**seen)[-1]["line"] == "done"


def test_stolen_online_keys_cannot_lock_a_device_out_once_root_has_taken_them_away(device: Device, signing: Signing) -> None:
    signing.snapshot.version = signing.timestamp.version = 2**40
    signing.publish()
    valid = device.run()[0]
    seen = {"timestamp_floor": valid["timestamp_version"], "timestamp_keys": valid["timestamp_keys"]}
    signing.snapshot.version = signing.timestamp.version = 4
    signing.publish()
    assert device.refused(**seen) == ("metadata_rollback", False)
    signing.rotate("snapshot")
    signing.rotate("timestamp")
    signing.publish()
    assert device.run(**seen)[-1]["line"] == "done"


def test_expired_metadata_is_refused_for_now(device: Device, signing: Signing) -> None:
    signing.timestamp.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    signing.publish()
    assert device.refused() == ("metadata_expired", True)


def test_a_clock_that_was_set_back_does_not_bring_expired_metadata_to_life(device: Device, signing: Signing) -> None:
    assert device.refused(reference_time=signing.expires.timestamp() + 60) == ("metadata_expired", True)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", MODELS_ROLE])
def test_a_signature_by_another_key_is_refused(device: Device, signing: Signing, role: str) -> None:
    signing.keys[role] = CryptoSigner.generate_ed25519()
    signing.publish()
    assert device.refused() == ("signature_invalid", False)


def test_metadata_that_does_not_parse_is_refused(device: Device, signing: Signing) -> None:
    (signing.folder / "metadata" / "timestamp.json").write_bytes(b"\x00{")
    assert device.refused() == ("metadata_invalid", False)


def test_endless_metadata_is_refused(device: Device, signing: Signing) -> None:
    (signing.folder / "metadata" / "timestamp.json").write_bytes(b" " * 1_000_000)
    assert device.refused() == ("metadata_too_large", False)


def test_a_release_that_nobody_signed_is_unknown(device: Device) -> None:
    assert device.refused(release=7) == ("release_unknown", False)


def test_a_release_below_the_devices_floor_is_refused(device: Device) -> None:
    assert device.refused(release_floor=2) == ("release_below_floor", False)


def test_a_job_without_a_model_learns_the_floors_of_all_models_and_when_the_metadata_expires(
    device: Device, signing: Signing, server: Server
) -> None:
    signing.add(Release(model="leak", version="1.0.0", release=1, floor=1), make_bundle("leak"))
    signing.models.unrecognized_fields["floors"] = {"frost": 2}
    signing.models.expires -= timedelta(days=3)
    signing.publish()
    valid, done = device.run(model="", release=0)
    assert (valid["floors"], valid["expires"]) == ({"frost": 2, "leak": 1}, signing.models.expires.timestamp())
    assert done["received"] > 0
    assert not [path for path, _ in server.requests if path.startswith(TARGETS_PATH)]


def test_a_floor_signed_with_a_later_release_revokes_the_earlier_one_on_a_device_that_never_had_it(
    device: Device, signing: Signing
) -> None:
    signing.add(Release(model="frost", version="1.1.0", release=2, floor=2), make_bundle(version="1.1.0"))
    signing.publish()
    lines = device.run()
    assert lines[0]["release_floor"] == 2
    assert lines[-1]["reason"] == "release_below_floor"
    assert device.run(release=2)[-1]["line"] == "done"


def test_a_bundle_larger_than_the_device_allows_is_not_fetched(device: Device, server: Server) -> None:
    assert device.refused(max_bytes=1000) == ("bundle_too_large", False)
    assert not [path for path, _ in server.requests if path.startswith(TARGETS_PATH)]


def test_a_signed_file_that_is_no_sound_bundle_is_refused(device: Device, signing: Signing) -> None:
    signing.add(Release(model="frost", version="1.1.0", release=2, floor=0), make_bundle(version="1.1.0", extra="../evil"))
    signing.add(Release(model="frost", version="1.2.0", release=3, floor=0), make_bundle(version="9.9.9"))
    signing.publish()
    assert device.refused(release=2) == ("entry_name", False)
    assert device.refused(release=3) == ("manifest_invalid", False)
    assert device.downloads() == []


def test_facts_that_were_signed_for_another_release_are_refused(device: Device, signing: Signing) -> None:
    path = target_path("frost", 1)
    signing.models.targets[path].unrecognized_fields["custom"] = {"model": "leak", "version": "1.0.0", "release": 1, "floor": 0}
    signing.publish()
    assert device.refused() == ("metadata_invalid", False)


def test_a_wrong_token_is_a_failure_that_a_new_token_file_can_mend(device: Device) -> None:
    assert device.refused(token="wrong") == ("download_failed", True)


def test_a_server_that_is_not_there_is_a_temporary_failure(device: Device, server: Server) -> None:
    server.close()
    assert device.refused() == ("download_failed", True)


def test_a_missing_file_of_a_signed_release_is_a_permanent_failure(device: Device, signing: Signing) -> None:
    bundle_file(signing).unlink()
    assert device.refused() == ("download_failed", False)


def test_the_token_is_never_in_what_the_child_says(device: Device, server: Server) -> None:
    assert TOKEN not in json.dumps(device.run())


def test_a_job_that_cannot_be_read_is_refused_with_its_own_status() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "edge_agent.updates.trust_child"], input=b"{}", capture_output=True, check=False
    )
    assert ended.returncode == 2
    assert b"job" in ended.stderr


def test_a_release_published_by_the_controllers_registry_is_accepted(tmp_path: Path) -> None:
    signers = [CryptoSigner.generate_ed25519() for _ in range(6)]
    top, models, snapshot, timestamp = signers[2:]
    folder = tmp_path / "repository"
    create_repository(
        folder, root=signers[:2], targets=top, models=models, snapshot=snapshot, timestamp=timestamp, now=datetime.now(UTC)
    )
    repository = Repository(folder, online=lambda: {key.public_key.keyid: key for key in (snapshot, timestamp)})
    bundle = tmp_path / "bundle.tar"
    bundle.write_bytes(make_bundle())
    current = repository.trust().models
    facts = measure_bundle(bundle)
    proposed = with_release(current, next_release(current.signed, facts), facts, datetime.now(UTC))
    proposed.sign(models)
    published = repository.publish(proposed.to_bytes(), bundle)
    server = Server(folder)
    try:
        device = Device(tmp_path / "device", repository.root(), server)
        done = device.run()[-1]
    finally:
        server.close()
    assert done["digest"] == published.digest
    assert Path(done["path"]).read_bytes() == repository.target_file(published).read_bytes()


def test_the_daemon_reads_the_childs_lines_on_its_loop(device: Device) -> None:
    loop = Loop()
    lines: list[object] = []
    ends: list[str] = []
    TrustProcesses(loop).start(device.job(), lines.append, ends.append)
    assert loop.run_until(lambda: bool(ends), 30)
    loop.close()
    assert isinstance(lines[-1], Done)
    assert ends == ["the fetching process ended with status 0"]


def test_a_cancelled_child_is_gone_and_says_nothing_more(device: Device) -> None:
    loop = Loop()
    heard: list[object] = []
    child = TrustProcesses(loop).start(device.job(), heard.append, heard.append)
    child.cancel()
    child.cancel()
    assert child._process.returncode is not None
    loop.turn(0.05)
    loop.close()
    assert heard == []


def test_a_child_that_dies_is_told(device: Device) -> None:
    loop = Loop()
    ends: list[str] = []
    child = TrustProcesses(loop).start(device.job(), lambda line: None, ends.append)
    child._process.kill()
    assert loop.run_until(lambda: bool(ends), 30)
    loop.close()
    assert ends == ["the fetching process ended with status -9"]


def test_all_bytes_are_counted_and_a_bundle_beyond_the_budget_is_refused_before_it_is_fetched(
    device: Device, server: Server, signing: Signing
) -> None:
    whole = len(make_bundle())
    device.run()
    assert device.received > whole
    for path in (device.folder / "download").iterdir():
        path.unlink()
    server.requests.clear()
    last = device.run(budget=whole)[-1]
    assert (last["reason"], last["temporary"], last["needed"]) == (Reason.DATA_BUDGET, True, whole)
    assert not [path for path, _ in server.requests if path.startswith(TARGETS_PATH)]
    assert device.run(budget=whole + device.received)[-1]["line"] == "done"


def test_metadata_alone_can_exhaust_the_budget(device: Device) -> None:
    last = device.run(budget=100)[-1]
    assert (last["reason"], last["temporary"]) == (Reason.DATA_BUDGET, True)


def test_a_disk_that_has_no_room_beside_what_is_left_to_others_is_refused_before_it_is_fetched(
    device: Device, server: Server
) -> None:
    last = device.run(keep_free=2**60)[-1]
    assert (last["reason"], last["temporary"]) == (Reason.DISK_FULL, True)
    assert not [path for path, _ in server.requests if path.startswith(TARGETS_PATH)]
