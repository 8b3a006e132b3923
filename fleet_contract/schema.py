"""Generates the documents of the contract from its types: `python -m fleet_contract.schema [--check] DOCS`.

Writes `schemas/NAME.json` (JSON Schema 2020-12) for every message, and the generated parts of `protocol.md`, which stand
between `<!-- generated: NAME -->` and `<!-- end -->`. With --check nothing is written and what is stale is named.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from fleet_contract.feedback import Feedback
from fleet_contract.messages import MESSAGES as BASE
from fleet_contract.messages import Message
from fleet_contract.reasons import MEANING, Reason
from fleet_contract.version import CONTRACT_HIGH, HISTORY

MESSAGES: Final[tuple[type[Message], ...]] = (*BASE, Feedback)
"""Every top-level message, in the order of the protocol document; families that have a file of their own follow."""


def message_schema(kind: type[Message]) -> dict[str, Any]:
    """The JSON Schema of one message, whole, with its parts under `$defs`."""
    schema = msgspec.json.schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind.__name__} | schema


def _fields_table(kind: type[Message]) -> str:
    rows = ["| field | type | default |", "|---|---|---|"]
    for field in msgspec.structs.fields(kind):
        name = getattr(field.type, "__name__", None) if isinstance(field.type, type) else str(field.type)
        text = re.sub(r"(fleet_contract\.\w+|typing)\.", "", str(name)).replace("|", "\\|")
        value = field.default_factory() if callable(field.default_factory) else field.default
        default = "required" if field.required else f"`{json.dumps(msgspec.to_builtins(value))}`"
        rows.append(f"| `{field.encode_name}` | {text} | {default} |")
    return "\n".join(rows)


def _messages_part() -> str:
    parts = []
    for kind in MESSAGES:
        text = (kind.__doc__ or "").strip().replace("\n    ", "\n")
        parts.append(
            f"### {kind.__name__}\n\n{text}\n\n{_fields_table(kind)}\n\n[JSON Schema](schemas/{kind.__name__.lower()}.json)"
        )
    return "\n\n".join(parts)


def _reasons_part() -> str:
    return "\n".join(["| code | meaning |", "|---|---|", *(f"| `{reason}` | {MEANING[reason]} |" for reason in Reason)])


def _history_part() -> str:
    return "\n".join(
        [f"The current contract version is {CONTRACT_HIGH}.", "", "| version | since and what |", "|---|---|"]
        + [f"| {version} | {text} |" for version, text in HISTORY.items()]
    )


def generate(docs: Path) -> dict[Path, str]:
    """Every generated file's whole text; `protocol.md` is read for what stands around its generated parts."""
    files = {
        docs / "schemas" / f"{kind.__name__.lower()}.json": json.dumps(message_schema(kind), indent=2) + "\n"
        for kind in MESSAGES
    }
    protocol = docs / "protocol.md"
    text = protocol.read_text()
    for name, part in (("messages", _messages_part()), ("reasons", _reasons_part()), ("history", _history_part())):
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{protocol}: the markers of the generated part {name!r} are missing")
        text = pattern.sub(lambda found, part=part: f"{found[1]}{part}{found[2]}", text)  # type: ignore[misc]
    files[protocol] = text
    return files


def main() -> int:
    """Write the documents, or with --check name those that are stale."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    docs = Path(arguments[0] if arguments else "docs")
    files = generate(docs)
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            sys.stderr.write(f"{path} is not what fleet_contract says; run `make schemas`\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    sys.stdout.write(f"{len(files)} documents, {len(stale)} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
