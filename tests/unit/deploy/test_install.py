"""The installer as a dry run: what it would do, in which order, and what it refuses."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "deploy" / "install.sh"


def install(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def planned(*arguments: str) -> list[list[str]]:
    done = install("--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def step(plan: list[list[str]], *parts: str) -> list[str]:
    """The one step of the plan that holds all of these words."""
    (found,) = [words for words in plan if set(parts) <= set(words)]
    return found


def test_the_agent_gets_a_user_an_environment_a_configuration_and_a_service() -> None:
    plan = planned()
    order = [
        step(plan, "useradd", "edge-agent"),
        step(plan, "-m", "venv", "/opt/smallhold"),
        step(plan, "pip", f"{ROOT}[agent,onnx]"),
        step(plan, "/etc/edge-agent", "0750"),
        step(plan, "/etc/edge-agent/agent.toml", "0640"),
        step(plan, "/etc/systemd/system/edge-agent.service"),
        step(plan, "systemctl", "daemon-reload"),
        step(plan, "systemctl", "try-restart"),
    ]
    assert [plan.index(each) for each in order] == sorted(plan.index(each) for each in order)


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    planned("--prefix", str(tmp_path / "venv"))
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_copied_exist() -> None:
    for role in ("agent", "controller"):
        sources = [words[-2] for words in planned("--role", role) if words[0] == "install" and "-d" not in words]
        assert len(sources) >= 2
        assert all(Path(source).is_file() for source in sources)


def test_a_wheel_is_installed_with_the_chosen_extras(tmp_path: Path) -> None:
    wheel = tmp_path / "smallhold-0.1.0-py3-none-any.whl"
    wheel.touch()
    assert step(planned("--wheel", str(wheel), "--extras", "agent,tflite"), "pip")[-1] == f"{wheel}[agent,tflite]"


@pytest.mark.parametrize(
    ("spec", "requirement"),
    [("smallhold", "smallhold[controller]"), ("smallhold==0.1.0", "smallhold[controller]==0.1.0")],
)
def test_a_package_of_the_index_is_installed_with_the_role_s_extras(spec: str, requirement: str) -> None:
    assert step(planned("--role", "controller", "--package", spec), "pip")[-1] == requirement


def test_another_prefix_reaches_the_unit() -> None:
    plan = planned("--prefix", "/srv/smallhold")
    assert step(plan, "sed", "-i")[2] == "s|/opt/smallhold/|/srv/smallhold/|g"
    assert step(plan, "venv")[-1] == "/srv/smallhold"


def test_an_environment_that_is_there_is_kept(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch(mode=0o755)
    plan = planned("--prefix", str(tmp_path))
    assert [words for words in plan if "venv" in words] == []
    assert step(plan, "pip")[0] == str(python)


def test_the_service_is_started_when_asked_for() -> None:
    plan = planned("--start")
    assert step(plan, "systemctl", "enable")[-1] == "edge-agent.service"
    assert step(plan, "systemctl", "restart")[-1] == "edge-agent.service"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--unknown"], "unknown option --unknown"),
        (["--wheel"], "--wheel needs a value"),
        (["--wheel", "nowhere.whl"], "there is no wheel nowhere.whl"),
        (["--role", "broker"], "--role is agent or controller"),
        (["--extras", "agent; rm"], "--extras is a list"),
        (["--prefix", "opt"], "--prefix is an absolute path"),
    ],
)
def test_wrong_usage_is_said_in_one_line(arguments: list[str], text: str) -> None:
    done = install("--dry-run", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert text in done.stderr


def test_help_names_every_option() -> None:
    text = install("--help").stdout
    options = {"--role", "--wheel", "--package", "--extras", "--python", "--prefix", "--start", "--dry-run"}
    assert {word for word in text.split() if word.startswith("--")} >= options


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = install("--dry-run", "--python", str(old))
    assert done.returncode == 1
    assert "older than 3.11" in done.stderr


def test_the_shell_finds_no_fault() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert os.access(SCRIPT, os.X_OK)
