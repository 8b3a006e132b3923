import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom fleet_controller.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'litestar', 'httpx', 'tuf', 'cryptography', 'pydantic', 'alembic', 'uvicorn', 'msgspec'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_init_refuses_a_folder_that_is_not_empty(served) -> None:
    before = (served.state_dir / "controller.toml").read_bytes()
    done = served.fleet("init", "--state-dir", served.state_dir)
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert (served.state_dir / "controller.toml").read_bytes() == before


def test_serve_without_a_founded_state_folder_says_what_to_do(served, tmp_path: Path) -> None:
    config = tmp_path / "controller.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n[http]\nport = 0\n')
    done = served.fleet("serve", "--config", config)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "`fleet init` makes one" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["controller.toml"]
    config.write_text('state_dirr = "x"\n')
    done = served.fleet("serve", "--config", config)
    assert (done.returncode, "did you mean 'state_dir'" in done.stderr) == (2, True)


def test_device_add_writes_private_files_and_a_fragment_that_parses(served, tmp_path: Path) -> None:
    out = tmp_path / "credentials"
    made = served.fleet_json("device", "add", "barn-1", "--label", "site=farm", "--out", out, "--path-on-device", "/etc/sh")
    assert made["folder"] == str(out)
    assert {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()} == dict.fromkeys(
        ("broker-password", "token", "root.json", "agent.toml"), 0o600
    )
    fragment = tomllib.loads((out / "agent.toml").read_text())
    assert fragment["device"] == fragment["mqtt"]["username"] == "barn-1"
    assert fragment["mqtt"]["password_file"] == "/etc/sh/broker-password"
    assert fragment["updates"] == {"url": served.url, "token_file": "/etc/sh/token", "root_file": "/etc/sh/root.json"}
    again = served.fleet("device", "add", "barn-1", "--out", out)
    assert (again.returncode, "not overwritten" in again.stderr) == (1, True)


def test_a_dry_run_adds_no_device_and_no_folder(served, tmp_path: Path) -> None:
    out = tmp_path / "none"
    assert served.fleet("device", "add", "ghost", "--out", out, "--dry-run").returncode == 0
    assert not out.exists()
    assert served.fleet("device", "show", "ghost").returncode == 3


def test_labels_are_set_taken_away_and_selected(served, tmp_path: Path) -> None:
    served.fleet_json("device", "add", "tower", "--out", tmp_path / "t", "--label", "site=city,stage=one")
    assert served.fleet_json("device", "label", "tower", "stage-", "kind=pole")["labels"] == {"site": "city", "kind": "pole"}
    assert [each["device"] for each in served.fleet_json("device", "list", "--select", "kind=pole")] == ["tower"]
    table = served.fleet("device", "list")
    assert table.returncode == 0
    assert "tower" in table.stdout
    assert "never seen" in table.stdout
    assert served.fleet("device", "show", "tower").returncode == 0
    assert served.fleet("health").returncode == 0


def test_a_model_is_built_verified_signed_here_and_published(served, model_folder: Callable[..., Path], tmp_path: Path) -> None:
    bundle = tmp_path / "cli.tar"
    built = served.fleet_json("model", "build", model_folder("cli-model"), "--out", bundle, "--no-run")
    assert served.fleet_json("model", "verify", bundle)["digest"] == built["digest"]
    planned = served.fleet_json("model", "add", bundle, "--key", served.release_key, "--dry-run")
    assert (planned["release"], planned["dry_run"]) == (1, True)
    assert served.fleet("model", "show", "cli-model").returncode == 3
    added = served.fleet_json("model", "add", bundle, "--key", served.release_key)
    assert (added["release"], added["digest"]) == (1, built["digest"])
    shown = served.fleet_json("model", "show", "cli-model")
    assert [(each["release"], each["version"]) for each in shown] == [(1, "1.0.0")]
    assert "cli-model" in served.fleet("model", "list").stdout
    assert served.fleet("model", "show", "cli-model").returncode == 0
    wrong_key = served.fleet("model", "add", bundle, "--key", served.release_key.with_name("targets.pem"))
    assert (wrong_key.returncode, "not signed with the release key" in wrong_key.stderr) == (1, True)
    bundle.write_bytes(bundle.read_bytes()[:700])
    assert served.fleet("model", "verify", bundle).returncode == 1


def test_a_rollout_is_planned_started_steered_and_shown(served, model_folder: Callable[..., Path], tmp_path: Path) -> None:
    bundle = tmp_path / "rolled.tar"
    served.fleet_json("model", "build", model_folder("rolled"), "--out", bundle, "--no-run")
    served.fleet_json("model", "add", bundle, "--key", served.release_key)
    for name in ("wave-a", "wave-b", "wave-c"):
        served.fleet_json("device", "add", name, "--out", tmp_path / name, "--label", "group=waves")
    options = ("rollout", "start", "rolled", "--select", "group=waves", "--canary", "1", "--soak", "30s")
    planned = served.fleet_json(*options, "--dry-run")
    assert [each["wave"] for each in planned["members"]] == [0, 1, 1]
    assert planned["plan"]["soak"] == 30
    assert not any(each["model"] == "rolled" for each in served.fleet_json("rollout", "list"))
    started = served.fleet_json(*options, "--on-failure", "return")
    number = started["id"]
    table = served.fleet("rollout", "show", number)
    assert table.returncode == 0
    assert all(name in table.stdout for name in ("wave-a", "wave-b", "wave-c"))
    assert served.fleet_json("rollout", "pause", number)["state"] == "paused"
    assert served.fleet("rollout", "pause", number).returncode == 1
    watched = served.fleet("rollout", "show", number, "--watch", "-o", "json")
    assert json.loads(watched.stdout)["state"] == "paused"
    assert served.fleet_json("rollout", "resume", number)["state"] == "running"
    assert served.fleet("rollout", "start", "rolled", "--device", "wave-a").returncode == 1
    assert served.fleet_json("rollout", "return", number)["state"] == "returned"
    assert served.fleet("rollout", "show", 9999).returncode == 3
    assert served.fleet("rollout", "start", "rolled").returncode == 2
    assert served.fleet("rollout", "start", "rolled", "--all", "--soak", "soon").returncode == 2


def test_forgetting_asks_first_and_ends_the_device(served, tmp_path: Path) -> None:
    served.fleet_json("device", "add", "gone", "--out", tmp_path / "gone")
    assert served.fleet("device", "forget", "gone", text="n\n").returncode == 1
    assert served.fleet("device", "show", "gone").returncode == 0
    assert served.fleet("device", "forget", "gone", "--yes").returncode == 0
    assert served.fleet("device", "show", "gone").returncode == 3


@pytest.mark.parametrize(
    ("token", "url", "code"), [("wrong", None, 5), (None, "http://127.0.0.1:1", 4), (None, "not a url", 2), ("", None, 5)]
)
def test_each_way_to_miss_the_service_has_its_exit_code(served, tmp_path: Path, token, url, code: int) -> None:
    file = tmp_path / "token"
    file.write_text(served.token if token is None else token)
    done = served.fleet("--token-file", file, "--url", url or served.url, "device", "list")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (code, 1), done.stderr
