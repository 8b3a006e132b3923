"""The pages of the state machines, generated from their tables: `python -m edge_agent.diagrams [--check] FOLDER`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from edge_agent.configuring import machine as configuration
from edge_agent.transitions import Transition
from edge_agent.updates import machine as updates


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One machine and the file that shows it."""

    file: str
    title: str
    source: str
    initial: StrEnum
    transitions: Sequence[Transition[Any, Any]]
    resume: Mapping[Any, StrEnum]
    final: frozenset[Any]

    def render(self) -> str:
        """The whole page: a Mermaid diagram and the table of where a restart goes on."""
        lines = [
            f"# {self.title}",
            "",
            f"Generated from `{self.source}` by `python -m edge_agent.diagrams docs`; a test checks that it is current.",
            "",
            *("```mermaid", "stateDiagram-v2", f"    [*] --> {self.initial}"),
            *(f"    {item.state} --> {item.target}: {item.event}" for item in self.transitions),
            *(f"    {state} --> [*]" for state in self.resume if state in self.final),
            *("```", "", "| stopped while | a restart goes on in |", "|---|---|"),
            *(f"| {state} | {target} |" for state, target in self.resume.items()),
        ]
        return "\n".join(lines) + "\n"


PAGES: Final = (
    Page(
        file="update-machine.md",
        title="The update machine",
        source="edge_agent/updates/machine.py",
        initial=updates.INITIAL,
        transitions=updates.TRANSITIONS,
        resume=updates.RESUME,
        final=updates.FINAL,
    ),
    Page(
        file="configuration-machine.md",
        title="The machine of configuration",
        source="edge_agent/configuring/machine.py",
        initial=configuration.INITIAL,
        transitions=configuration.TRANSITIONS,
        resume=configuration.RESUME,
        final=configuration.FINAL,
    ),
)


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` compare them; returns the exit status."""
    folders = [item for item in arguments if item != "--check"]
    if len(folders) != 1:
        sys.stderr.write("usage: python -m edge_agent.diagrams [--check] FOLDER\n")
        return 2
    status = 0
    for page in PAGES:
        path = Path(folders[0]) / page.file
        if "--check" not in arguments:
            path.write_text(page.render(), encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != page.render():
            sys.stderr.write(f"{path} is not current: run python -m edge_agent.diagrams {folders[0]}\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
