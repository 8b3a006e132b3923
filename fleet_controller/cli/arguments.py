"""Command-line arguments that several commands take, and how their texts are read."""

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|)")


class Output(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it until Ctrl-C.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check and show what would happen; change nothing.")]


def parse_duration(text: str) -> float:
    """Seconds from "30s", "10min", "1h" or a bare number; raises typer.BadParameter."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration: write 30s, 10min, 1h or 1d")
    return float(match[1]) * _UNITS[match[2]]


def parse_pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """`key=value` texts; several may stand in one, separated by commas. Raises typer.BadParameter."""
    pairs = {}
    for text in (part for joined in texts for part in joined.split(",")):
        key, separator, value = text.partition("=")
        if not separator or not key.strip() or not value.strip():
            raise typer.BadParameter(f"{what} {text!r}: write key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def parse_values(texts: Sequence[str]) -> dict[str, Any]:
    """`key=value` arguments of a command: a value that is JSON (`5`, `true`) is taken as such, otherwise it is a text."""
    values: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"argument {text!r}: write key=value")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    return values
