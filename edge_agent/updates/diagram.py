"""The page `docs/update-machine.md`, generated from the table: `python -m edge_agent.updates.diagram [--check] FILE`."""

import sys
from pathlib import Path

from edge_agent.updates.machine import FINAL, INITIAL, RESUME, TRANSITIONS

_HEAD = """# The update machine

Generated from `edge_agent/updates/machine.py` by `python -m edge_agent.updates.diagram docs/update-machine.md`; a test checks
that it is current.

"""


def render() -> str:
    """The whole page: a Mermaid diagram and the table of where a restart goes on."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {INITIAL}"]
    lines += [f"    {item.state} --> {item.target}: {item.event}" for item in TRANSITIONS]
    lines += [f"    {state} --> [*]" for state in RESUME if state in FINAL]
    lines += ["```", "", "| stopped while | a restart goes on in |", "|---|---|"]
    lines += [f"| {state} | {target} |" for state, target in RESUME.items()]
    return _HEAD + "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` compare it; returns the exit status."""
    files = [item for item in arguments if item != "--check"]
    if len(files) != 1:
        sys.stderr.write("usage: python -m edge_agent.updates.diagram [--check] FILE\n")
        return 2
    path = Path(files[0])
    if "--check" not in arguments:
        path.write_text(render(), encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == render():
        return 0
    sys.stderr.write(f"{path} is not current: run python -m edge_agent.updates.diagram {path}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
