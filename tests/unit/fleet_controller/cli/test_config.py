"""`fleet config` against the real service, whose broker is away: nothing is lost by that."""

from pathlib import Path
from typing import Any

import pytest

GOOD = """[[pipelines]]
name = "echo"
[pipelines.source]
topic = "farm/+/weather"
[pipelines.decision]
reading = "t"
above = 30.0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orchards.toml"
    path.write_text(GOOD)
    return path


@pytest.fixture(scope="module")
def farm(own_service: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    for device in ("barn-1", "barn-2"):
        out = tmp_path_factory.mktemp(device) / "files"
        assert own_service.fleet("device", "add", device, "--label", "site=farm", "--out", out).returncode == 0
    return own_service


def numbers(service: Any, name: str) -> list[int]:
    return [each["revision"] for each in service.fleet_json("config", "list") if each["name"] == name]


def test_a_file_becomes_revisions_that_can_be_listed_shown_and_compared(own_service: Any, file: Path) -> None:
    first = own_service.fleet_json("config", "set", "orchards", file)
    assert (first["name"], first["revision"], first["warning"]) == ("orchards", 1, None)
    again = own_service.fleet_json("config", "set", "orchards", file)
    assert again["revision"] == 1
    file.write_text(GOOD.replace("30.0", "25.0"))
    assert own_service.fleet_json("config", "set", "orchards", file)["revision"] == 2
    assert numbers(own_service, "orchards") == [1, 2]
    assert own_service.fleet_json("config", "show", "orchards", 1)["content"] == GOOD
    difference = own_service.fleet_json("config", "diff", "orchards", 1, 2)
    assert difference["changes"] == [
        {"change": "removed", "line": "above = 30.0"},
        {"change": "added", "line": "above = 25.0"},
    ]
    assert "+above = 25.0" in own_service.fleet("config", "diff", "orchards", 1, 2).stdout
    assert (own_service.state_dir / "repository" / "metadata" / "3.config.json").is_file()
    audit = own_service.client().get("/api/v1/audit").json()
    assert [line["action"] for line in audit].count("config.set") == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[mqtt]\nhost = "evil.example"\n', "mqtt.host"),
        ('log_levle = "debug"\n', "'log_level'"),
        ('[[pipelines]]\nname = "echo"\n[pipelines.decision]\nabov = 3\n', "'above'"),
        ("nonsense", "not valid TOML"),
        ('[[pipelines]]\nname = "echo"\n[pipelines.source]\ntopic = "sh/v1/#"\n', "sh/v1"),
    ],
)
def test_a_file_that_devices_would_refuse_is_refused_with_file_and_key(
    own_service: Any, file: Path, text: str, named: str
) -> None:
    file.write_text(text)
    done = own_service.fleet("config", "set", "refused", file)
    assert done.returncode == 1
    assert str(file) in done.stderr.replace("\n", "")
    assert named in done.stderr
    assert numbers(own_service, "refused") == []


def test_the_service_checks_by_itself(own_service: Any) -> None:
    body = {"content": '[mqtt]\nhost = "evil.example"\n'}
    answer = own_service.client().post("/api/v1/configurations/orchards", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "configuration_invalid"
    assert "mqtt.host" in answer.json()["detail"]


def test_a_part_of_a_pipeline_is_checked_whole_over_a_devices_own_file(own_service: Any, file: Path, tmp_path: Path) -> None:
    file.write_text('[[pipelines]]\nname = "echo"\n[pipelines.decision]\nabove = 20.0\n')
    assert own_service.fleet("config", "set", "orchards", file, "--dry-run").returncode == 0
    own = tmp_path / "agent.toml"
    own.write_text('device = "barn-1"\nstate_dir = "/nowhere"\n[mqtt]\n[site]\n')
    done = own_service.fleet("config", "set", "orchards", file, "--over", own)
    assert done.returncode == 1
    assert "source" in done.stderr


def test_a_dry_run_signs_nothing(own_service: Any, file: Path) -> None:
    done = own_service.fleet_json("config", "set", "dry", file, "--dry-run")
    assert (done["revision"], done["dry_run"]) == (1, True)
    assert numbers(own_service, "dry") == []


def test_it_is_assigned_in_waves_and_a_device_is_in_one_rollout_of_a_configuration_alone(farm: Any, file: Path) -> None:
    farm.fleet_json("config", "set", "waves", file)
    farm.fleet_json("config", "set", "other", file)
    rollout = farm.fleet_json("config", "assign", "waves@1", "--select", "site=farm", "--canary", "1")
    assert (rollout["kind"], rollout["model"], rollout["release"], rollout["waves"]) == ("configuration", "waves", 1, 2)
    held = farm.fleet("config", "assign", "other", "--device", "barn-2")
    assert held.returncode == 1
    assert "barn-2" in held.stderr
    assert "revision 1" in farm.fleet("rollout", "list").stdout
    assert farm.fleet("config", "remove", "waves", 1).returncode == 1
    assert farm.fleet("rollout", "abort", rollout["id"]).returncode == 0


def test_unassigning_leaves_a_device_with_its_own_file_and_lets_the_revision_be_removed(farm: Any, file: Path) -> None:
    farm.fleet_json("config", "set", "barns", file)
    number = farm.fleet_json("config", "assign", "barns", "--device", "barn-1", "--canary", "0")["id"]
    while farm.fleet_json("device", "show", "barn-1")["desired"]["configuration"] is None:
        pass
    assert farm.fleet_json("config", "show", "barns")["devices"][0]["wanted"] == {"name": "barns", "revision": 1}
    assert farm.fleet("rollout", "abort", number).returncode == 0
    assert farm.fleet("config", "remove", "barns", 1).returncode == 1
    assert farm.fleet_json("config", "unassign", "--select", "site=farm")["devices"] == ["barn-1"]
    assert farm.fleet_json("device", "show", "barn-1")["desired"]["configuration"] is None
    assert farm.fleet("config", "remove", "barns", 1).returncode == 0
    assert farm.fleet("config", "show", "barns").returncode != 0
    assert farm.fleet_json("config", "set", "barns", file)["revision"] == 2


def test_an_unknown_revision_or_selection_is_one_clear_line(own_service: Any, file: Path) -> None:
    assert "fleet config list" in own_service.fleet("config", "assign", "nothing", "--all").stderr
    assert own_service.fleet("config", "assign", "nothing").returncode == 2
    assert own_service.fleet("config", "assign", "nothing@x", "--all").returncode == 2
