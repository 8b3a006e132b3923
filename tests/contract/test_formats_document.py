"""docs/formats.md is true: it has every format, and its package adds one."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge_agent.ingest.auto_table import TOPICS
from edge_agent.ingest.formats import FORMATS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "formats.md").read_text()


def block(kind: str, name: str = "") -> str:
    """The code block of a kind that says which file it is."""
    start = f"# {name}\n" if name else ""
    found = re.findall(rf"(?s)```{kind}\n({re.escape(start)}.*?)```", DOCUMENT)
    assert len(found) == 1, (kind, name)
    return str(found[0])


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a process in which the document's package is installed."""
    project = tomllib.loads(block("toml", "pyproject.toml"))["project"]
    (tmp_path / "smallhold_ultralight.py").write_text(block("python", "smallhold_ultralight.py"))
    information = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    entries = [
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in names.items())
        for group, names in project["entry-points"].items()
    ]
    (information / "entry_points.txt").write_text("\n".join(entries))
    return {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


def agent(environment: dict[str, str], *arguments: str, payload: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "edge_agent.cli", *arguments]
    return subprocess.run(command, input=payload, capture_output=True, check=False, env=environment)


def test_the_package_of_the_document_adds_a_format(installed: dict[str, str]) -> None:
    call, printed = block("console").strip().split("\n")
    sent, _, command = call.removeprefix("$ ").partition("' | ")
    done = agent(installed, *shlex.split(command)[1:], payload=sent.partition("'")[2].encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{printed}\n"


def test_its_options_and_units_come_from_the_configuration(installed: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    source = block("toml", "agent.toml")
    config.write_text(f'device = "d"\n[mqtt]\n[[pipelines]]\nname = "p"\n[pipelines.window]\nsize = 1\n{source}')
    arguments = ["--config", str(config), "--pipeline", "p", "--topic", "/ul/key/station-7/attrs", "-"]
    done = agent(installed, "decode", *arguments, payload=b"t|21.5|h|40|s|on")
    readings = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(reading["quantity"], reading["value"], reading["unit"]) for reading in readings] == [
        ("temperature", 21.5, "Cel"),
        ("relative_humidity", 40, "%RH"),
        ("s", "on", None),
    ]


@pytest.mark.parametrize(("payload", "reason"), [(b"t", "wrong_shape"), (b"\xff|1", "not_utf8"), (b"x" * 300_000, "too_large")])
def test_it_refuses_what_it_cannot_read(installed: dict[str, str], payload: bytes, reason: str) -> None:
    done = agent(installed, "decode", "--format", "ultralight", "--topic", "t", "-", payload=payload)
    assert (done.returncode, json.loads(done.stdout)["reason"]) == (3, reason)


@pytest.mark.parametrize("body", ["return None", "raise OSError('no')", "return [Reading]", "os.abort"])
def test_a_package_with_a_defect_costs_its_messages_alone(installed: dict[str, str], tmp_path: Path, body: str) -> None:
    module = tmp_path / "smallhold_ultralight.py"
    module.write_text(re.sub(r"(?s)(explain=ignore\):\n).*?(\n\ndef _value)", rf"\g<1>        {body}\g<2>", module.read_text()))
    done = agent(installed, "decode", "--format", "ultralight", "--topic", "t", "-", payload=b"t|1")
    assert (done.returncode, done.stderr) == (3, b"")
    assert json.loads(done.stdout)["reason"] == "wrong_shape"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import no_such_module", "'ultralight' cannot be loaded: No module named 'no_such_module'"),
        ("1 / 0", "'ultralight' cannot be loaded: division by zero"),
        ("x = 1", "'ultralight' cannot be loaded: module 'smallhold_ultralight' has no attribute"),
        ("class UltralightFormat: pass", "'ultralight' cannot be made: TypeError"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(installed: dict[str, str], tmp_path: Path, module: str, said: str) -> None:
    (tmp_path / "smallhold_ultralight.py").write_text(f"{module}\n")
    done = agent(installed, "decode", "--format", "ultralight", "--topic", "t", "-", payload=b"t|1")
    assert done.returncode == 2
    assert said in done.stderr.decode().splitlines()[-1]


def test_without_the_package_the_format_is_unknown_and_the_nearest_is_named() -> None:
    done = agent({**os.environ, "PYTHONPATH": str(ROOT)}, "decode", "--format", "ultralight", "--topic", "t", "-")
    assert done.returncode == 2
    assert b"there is no format 'ultralight'; the nearest is" in done.stderr


def test_every_format_has_a_section() -> None:
    sections = set(re.findall(r"(?m)^## (\w+)$", DOCUMENT))
    assert sections == set(FORMATS)


def test_every_topic_of_auto_stands_in_its_table() -> None:
    table = DOCUMENT.partition("## auto")[2].partition("\n## ")[0]
    rows: Any = set(re.findall(r"(?m)^\| topic .* \| `(\w+)` \|$", table))
    assert rows == {name for name, _ in TOPICS}
