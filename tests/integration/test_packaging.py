"""The wheel, built from a copy of the tree and installed in an environment of its own: what it brings, and what it must not."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (
    "pyproject.toml",
    "LICENSE",
    "NOTICE",
    "LICENSES",
    "README.md",
    "deploy",
    "edge_agent",
    "fleet_contract",
    "fleet_controller",
)
CONTROLLER_ONLY = ("alembic", "apscheduler", "httpx", "litestar", "rich", "sqlalchemy", "starlette", "typer", "uvicorn")

pytestmark = pytest.mark.timeout(300)  # pip fetches from an index


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no leftover of an earlier build gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        item = ROOT / name
        if item.is_dir():
            shutil.copytree(item, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif item.exists():
            shutil.copyfile(item, source / name)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, source, cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds what a device installs, and nothing else."""
    home = tmp_path_factory.mktemp("device")
    run(sys.executable, "-m", "venv", home, cwd=home)
    pip = (home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    run(*pip, f"{wheel}[agent,onnx]", cwd=home)
    return home / "bin"


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, bytes]:
    """Name to content of each file in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_every_data_file_of_the_packages(contents: dict[str, bytes]) -> None:
    tracked = run("git", "ls-files", "edge_agent", "fleet_contract", "fleet_controller", cwd=ROOT).splitlines()
    assert len(tracked) > 100
    assert sorted(set(tracked) - set(contents)) == []


def test_a_linked_file_arrives_as_a_file(contents: dict[str, bytes]) -> None:
    for name in ("fleet.conf", "fleet.acl", "site.conf"):
        assert contents[f"fleet_controller/demo/mosquitto/{name}"] == (ROOT / "deploy" / "mosquitto" / name).read_bytes()


def test_the_wheel_says_that_it_is_typed(contents: dict[str, bytes]) -> None:
    assert {"edge_agent/py.typed", "fleet_contract/py.typed", "fleet_controller/py.typed"} <= set(contents)


def test_the_wheel_carries_its_own_licence_and_those_of_its_data(contents: dict[str, bytes]) -> None:
    licences = {name.partition("/licenses/")[2] for name in contents if "/licenses/" in name}
    wanted = {"LICENSE", "NOTICE"} | {f"LICENSES/{path.name}" for path in (ROOT / "LICENSES").iterdir()}
    assert licences == wanted


def test_the_wheel_holds_neither_tests_nor_tools(contents: dict[str, bytes]) -> None:
    top = {name.partition("/")[0] for name in contents}
    assert {name for name in top if not name.endswith(".dist-info")} == {"edge_agent", "fleet_contract", "fleet_controller"}


def test_a_device_gets_nothing_of_the_controller(device: Path) -> None:
    code = f"import importlib.util; print([n for n in {CONTROLLER_ONLY!r} if importlib.util.find_spec(n)])"
    assert run(device / "python", "-c", code, cwd=device).strip() == "[]"


def test_fleet_on_a_device_says_in_one_line_what_is_missing(device: Path, tmp_path: Path) -> None:
    done = subprocess.run([device / "fleet", "device", "list"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "smallhold[controller]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_agent_works_on_a_device(device: Path, tmp_path: Path) -> None:
    version = json.loads(run(device / "edge-agent", "version", "-o", "json", cwd=tmp_path))
    assert version["version"] in run(device / "python", "-m", "pip", "list", "--format=json", cwd=tmp_path)
    config = tmp_path / "agent.toml"
    shutil.copy(ROOT / "configs" / "agent.example.toml", config)
    assert "good" in run(device / "edge-agent", "check", "--config", config, cwd=tmp_path)


def test_a_device_scores_with_the_runtime_that_it_installed(device: Path, tmp_path: Path) -> None:
    from fleet_controller.demo.sensors import sensor_events
    from fleet_controller.registry.bundles import build_bundle

    bundle = tmp_path / "reports.tar"
    build_bundle(ROOT / "fleet_controller" / "demo" / "models" / "reports" / "1.0.0", bundle)
    topic, payload = next(sensor_events("reports", "north"))
    (tmp_path / "events.jsonl").write_text(json.dumps({"topic": topic, "payload": payload, "time": payload["time"]}))
    config = ROOT / "configs" / "pipelines" / "reports.toml"
    arguments = ("replay", "--config", config, "--pipeline", "reports", "--bundle", bundle, tmp_path / "events.jsonl")
    result = json.loads(run(device / "edge-agent", *arguments, cwd=tmp_path))
    assert (result["model"]["name"], result["events"]["ids"]) == ("reports", [payload["id"]])
