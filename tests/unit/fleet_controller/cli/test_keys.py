"""`fleet keys` and `fleet model sign|publish|revoke` as an operator runs them, and the device's own child that follows."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.updates.trust.job import Job, encode
from fleet_contract.trust import METADATA_PATH, TARGETS_PATH

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "12345678"


class Device:
    """The trust child of a device that was enrolled with the first root, and that keeps what it has seen."""

    def __init__(self, service: Any, folder: Path, root: Path) -> None:
        self.service, self.folder, self.root = service, folder, root
        self.timestamp_floor, self.timestamp_keys = 0, ""
        self.release_floors: dict[str, int] = {}

    def fetch(self, model: str, release: int) -> dict[str, Any]:
        """The child's last line."""
        job = Job(
            metadata_url=self.service.url + METADATA_PATH,
            targets_url=self.service.url + TARGETS_PATH,
            metadata_dir=str(self.folder / "metadata"),
            download_dir=str(self.folder / "download"),
            root_file=str(self.root),
            token=self.service.token,
            model=model,
            release=release,
            timestamp_floor=self.timestamp_floor,
            timestamp_keys=self.timestamp_keys,
            release_floor=self.release_floors.get(model, 0),
            reference_time=time.time(),
            max_bytes=10**8,
        )
        command = [sys.executable, "-m", "edge_agent.updates.trust_child"]
        done = subprocess.run(command, input=encode(job), capture_output=True, timeout=60, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for line in lines:
            if line["line"] == "metadata":
                self.timestamp_floor, self.timestamp_keys = line["timestamp_version"], line["timestamp_keys"]
                self.release_floors[model] = line["release_floor"]
        assert lines, done.stderr
        return dict(lines[-1])


@pytest.fixture(scope="module")
def offline(own_service: Any) -> Path:
    return own_service.state_dir / "keys" / "offline"


@pytest.fixture(scope="module")
def device(own_service: Any, tmp_path_factory: pytest.TempPathFactory) -> Device:
    folder = tmp_path_factory.mktemp("device")
    done = own_service.fleet("keys", "export-root", "--out", folder / "root.json")
    assert done.returncode == 0, done.stderr
    return Device(own_service, folder, folder / "root.json")


def keys_of(service: Any, role: str) -> list[str]:
    return [key["id"] for key in service.fleet_json("keys", "list")["roles"][role]["keys"]]


def bundle(service: Any, folder: Path, version: str) -> Path:
    path = folder.parent / f"{folder.name}.tar"
    assert service.fleet("model", "build", folder, "--out", path, "--no-run").returncode == 0
    return path


def test_every_key_is_listed_with_what_it_signs(own_service: Any) -> None:
    roles = own_service.fleet_json("keys", "list")["roles"]
    assert {role: (facts["threshold"], len(facts["keys"]), facts["online"]) for role, facts in roles.items()} == {
        "root": (2, 3, False),
        "targets": (1, 1, False),
        "models": (1, 1, False),
        "config": (1, 1, True),
        "snapshot": (1, 1, True),
        "timestamp": (1, 1, True),
    }
    table = own_service.fleet("keys", "list").stdout
    assert "2 of 3" in table
    assert all(key["id"] in table for facts in roles.values() for key in facts["keys"])


def test_every_kind_of_key_is_rotated_and_a_device_that_was_away_follows(
    own_service: Any, offline: Path, device: Device, model_folder: Callable[..., Path]
) -> None:
    first = bundle(own_service, model_folder("frost", "1.0.0"), "1.0.0")
    assert own_service.fleet("model", "add", first, "--key", offline / "release.pem").returncode == 0
    assert device.fetch("frost", 1)["line"] == "done"
    two_roots = ("--sign", offline / "root-1.pem", "--sign", offline / "root-2.pem")
    steps = [
        ("targets", *two_roots, "--new", offline / "targets-2.pem"),
        ("models", "--sign", offline / "targets-2.pem", "--new", offline / "release-2.pem"),
        ("root", *two_roots, "--old", keys_of(own_service, "root")[2], "--new", offline / "root-4.pem"),
        ("snapshot", *two_roots, "--state-dir", own_service.state_dir),
        ("timestamp", *two_roots, "--state-dir", own_service.state_dir),
    ]
    for step in steps:
        before = keys_of(own_service, step[0])
        dry = own_service.fleet("keys", "rotate", *step, "--dry-run")
        assert dry.returncode == 0, dry.stderr
        assert keys_of(own_service, step[0]) == before
        done = own_service.fleet("keys", "rotate", *step)
        assert done.returncode == 0, done.stderr
        assert len(set(keys_of(own_service, step[0])) - set(before)) == 1
    second = bundle(own_service, model_folder("frost", "2.0.0"), "2.0.0")
    old = own_service.fleet("model", "add", second, "--key", offline / "release.pem")
    assert old.returncode == 1
    assert "not signed with the release key" in old.stderr
    assert own_service.fleet("model", "add", second, "--key", offline / "release-2.pem").returncode == 0
    assert device.fetch("frost", 2)["line"] == "done"


def test_a_release_is_signed_without_a_network_and_published_elsewhere(
    own_service: Any, offline: Path, device: Device, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    trust, signed = tmp_path / "trust.json", tmp_path / "signed.json"
    assert own_service.fleet("keys", "fetch", "--out", trust).returncode == 0
    made = bundle(own_service, model_folder("leak", "1.0.0"), "1.0.0")
    other = bundle(own_service, model_folder("leak", "1.0.1"), "1.0.1")
    arguments = ("--url", "http://127.0.0.1:1", "model", "sign", made, "--trust", trust, "--out", signed)
    key = offline / ("release-2.pem" if (offline / "release-2.pem").exists() else "release.pem")
    done = own_service.fleet(*arguments, "--key", key)
    assert done.returncode == 0, done.stderr
    assert own_service.fleet("model", "publish", signed, other).returncode == 1
    assert own_service.fleet("model", "publish", signed).returncode == 2
    done = own_service.fleet("model", "publish", signed, made)
    assert done.returncode == 0, done.stderr
    assert device.fetch("leak", 1)["line"] == "done"


def test_a_revoked_release_is_refused_by_a_device_that_had_it_and_stays_refused(
    own_service: Any, offline: Path, device: Device, model_folder: Callable[..., Path]
) -> None:
    key = offline / ("release-2.pem" if (offline / "release-2.pem").exists() else "release.pem")
    made = bundle(own_service, model_folder("hail", "1.0.0"), "1.0.0")
    assert own_service.fleet("model", "add", made, "--key", key).returncode == 0
    assert device.fetch("hail", 1)["line"] == "done"
    assert own_service.fleet("model", "revoke", "hail", "2", "--key", key).returncode == 1
    done = own_service.fleet("model", "revoke", "hail", "1", "--key", key)
    assert done.stdout == "revoked every release of hail below 2\n"
    refused = device.fetch("hail", 1)
    assert (refused["line"], refused["reason"], refused["temporary"]) == ("error", "release_below_floor", False)
    assert device.release_floors["hail"] == 2
    assert [row["revoked"] for row in own_service.fleet_json("model", "list") if row["model"] == "hail"] == [True]
    audit = own_service.client().get("/api/v1/audit").json()
    assert "model.revoke" in {entry["action"] for entry in audit}


def test_what_cannot_be_signed_is_told_and_nothing_changes(own_service: Any, offline: Path, tmp_path: Path) -> None:
    before = own_service.fleet_json("keys", "list")
    for arguments, status, text in (
        (("renew", "root", "--sign", offline / "root-1.pem"), 1, "signatures of 2 keys are needed"),
        (("renew", "timestamp", "--sign", offline / "root-1.pem"), 2, "by itself"),
        (("rotate", "root", "--sign", offline / "root-1.pem", "--new", tmp_path / "new.pem"), 2, "--old"),
        (("rotate", "snapshot", "--sign", offline / "root-1.pem"), 2, "--state-dir"),
        (("revoke", "root", "0" * 64, "--sign", offline / "root-1.pem"), 1, "does not sign for root"),
        (("renew", "root", "--sign", tmp_path / "none.pem"), 1, "No such file"),
        (("publish", offline / "root-1.pem"), 1, "not a signed change"),
        (("renew", "root", "--sign", "hsm:1?label=none"), 1, "key hsm:1?label=none: "),
    ):
        done = own_service.fleet("keys", *arguments)
        assert done.returncode == status, (arguments, done.stderr)
        assert text in done.stderr
    assert own_service.fleet_json("keys", "list") == before


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A software token with an ECDSA key: what an operator calls the key."""
    folder = tmp_path / "tokens"
    folder.mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    monkeypatch.setenv("PYKCS11LIB", str(SOFTHSM))
    tool = shutil.which("softhsm2-util")
    assert tool is not None
    command = [tool, "--init-token", "--free", "--label", "release", "--pin", PIN, "--so-pin", PIN]
    subprocess.run(command, check=True, capture_output=True, env=os.environ)
    make = (
        "import os, pkcs11; from pkcs11.util.ec import encode_named_curve_parameters as curve\n"
        "token = pkcs11.lib(os.environ['PYKCS11LIB']).get_token(token_label='release')\n"
        f"with token.open(rw=True, user_pin='{PIN}') as session:\n"
        "    parameters = session.create_domain_parameters(\n"
        "        pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: curve('secp256r1')}, local=True)\n"
        "    parameters.generate_keypair(store=True, id=b'\\x07', label='release')\n"
    )
    subprocess.run([sys.executable, "-c", make], check=True, env=os.environ)
    return "hsm:7?label=release"


def test_a_release_key_in_a_hardware_token_takes_over(
    own_service: Any, offline: Path, device: Device, token: str, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    made = bundle(own_service, model_folder("storm", "1.0.0"), "1.0.0")
    targets = offline / ("targets-2.pem" if (offline / "targets-2.pem").exists() else "targets.pem")
    done = own_service.fleet("keys", "rotate", "models", "--sign", targets, "--new", token, "--pin-file", pin)
    assert done.returncode == 0, done.stderr
    done = own_service.fleet("model", "add", made, "--key", token, "--pin-file", pin)
    assert done.returncode == 0, done.stderr
    fetched = device.fetch("storm", 1)
    assert fetched["line"] == "done", fetched
