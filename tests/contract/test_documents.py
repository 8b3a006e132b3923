"""What the documents say of files and commands is there: links lead somewhere, commands and options exist."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from edge_agent.cli import _parser
from fleet_controller.cli.app import app
from fleet_controller.cli.exits import Exit

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    path for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "adr", ROOT / "deploy") for path in sorted(folder.glob("*.md"))
]

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", path.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(path: Path, program: str) -> list[list[str]]:
    """The words of each call of `program` in the document's shell blocks."""
    found = []
    for block in re.findall(r"(?s)```sh\n(.*?)```", path.read_text()):
        for line in re.split(r"\n|[|;]|&&", block.replace("\\\n", " ")):
            words = shlex.split(line, comments=True)
            while words and (words[0] == "sudo" or re.match(r"[A-Z_]+=", words[0])):
                words = words[3:] if words[1:2] == ["-u"] else words[1:]
            if words and Path(words[0]).name == program:
                found.append(words[1:])
    return found


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name) if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_document
def test_commands_of_fleet_are_there_with_their_options(document: Path) -> None:
    for words in command_lines(document, "fleet"):
        command: Any = get_command(app)
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word in words:
            if hasattr(command, "commands") and not word.startswith("-") and word in command.commands:
                command = command.commands[word]
                known |= {option for parameter in command.params for option in parameter.opts}
            elif word.startswith("-"):
                assert word.partition("=")[0] in known, f"fleet {shlex.join(words)}: {word}"
        assert not hasattr(command, "commands") or "--help" in words, f"fleet {shlex.join(words)}: no such command"


@every_document
def test_commands_of_the_agent_are_there_with_their_options(document: Path) -> None:
    for words in command_lines(document, "edge-agent"):
        if "--help" not in words:
            _parser().parse_args(words)  # ends the test if a word is unknown


def test_the_operations_guide_lists_every_exit_code_of_fleet() -> None:
    table = (ROOT / "docs" / "operations.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"(?m)^\| (\d) \|", table)} == {code.value for code in Exit}


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    decisions = sorted(path.name for path in folder.glob("0*.md"))
    assert [name for name in decisions if f"]({name})" not in index] == []
    assert [int(name[:4]) for name in decisions] == list(range(1, len(decisions) + 1))
