"""The units: how exposed a service is by systemd's own measure, and whether they start commands that exist."""

import re
import shlex
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from typer.main import get_command

from edge_agent.cli import _parser
from fleet_controller.cli.app import app

UNITS = Path(__file__).parents[3] / "systemd"
DAEMONS = ("edge-agent.service", "fleet-controller.service")


def command_line(unit: str) -> list[str]:
    found = re.search(r"(?m)^ExecStart=(.+)$", (UNITS / unit).read_text())
    assert found is not None
    return shlex.split(found[1])


@pytest.mark.parametrize("unit", DAEMONS)
def test_a_daemon_is_hardly_exposed(unit: str) -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told.stdout)
    assert level is not None, told.stdout + told.stderr
    assert float(level[1]) <= 1.5


@pytest.mark.parametrize("unit", sorted(UNITS.iterdir()), ids=lambda path: path.name)
def test_systemd_finds_no_fault_in_a_unit(unit: Path) -> None:
    told = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    # What it starts is not installed here, and neither are the services that it names.
    faults = [line for line in told.stderr.splitlines() if unit.name in line and "is not executable" not in line]
    assert faults == []


def test_the_agent_is_started_with_options_that_it_has() -> None:
    program, *arguments = command_line("edge-agent.service")
    assert Path(program).name == "edge-agent"
    options = _parser().parse_args(arguments)
    assert (options.command, options.config) == ("run", "/etc/edge-agent/agent.toml")


def test_the_controller_is_started_with_options_that_it_has() -> None:
    program, *arguments = command_line("fleet-controller.service")
    assert Path(program).name == "fleet"
    group = get_command(app)
    context = group.make_context("fleet", list(arguments))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    assert (name, command is not None) == ("serve", True)
    parsed = command.make_context("serve", rest, parent=context)
    assert parsed.params == {"config": Path("/etc/fleet-controller/controller.toml")}


@pytest.mark.parametrize("unit", DAEMONS)
def test_a_daemon_runs_as_the_user_that_the_installer_makes(unit: str) -> None:
    text = ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    text.optionxform = str  # type: ignore[assignment,method-assign]
    text.read(UNITS / unit)
    name = unit.removesuffix(".service")
    assert (text["Service"]["User"], text["Service"]["Group"], text["Service"]["StateDirectory"]) == (name, name, name)
    assert f"user={name} " in (UNITS.parent / "deploy" / "install.sh").read_text()


def test_the_watchdog_is_asked_for_and_told_by_the_main_process() -> None:
    text = (UNITS / "edge-agent.service").read_text()
    assert re.search(r"(?m)^Type=notify$", text)
    assert re.search(r"(?m)^WatchdogSec=\d+$", text)


def test_the_agents_workers_may_close_their_sandbox() -> None:
    lines = (UNITS / "edge-agent.service").read_text().splitlines()
    allowed = {call for line in lines if line.startswith("SystemCallFilter=") for call in line.partition("=")[2].split()}
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= allowed
