"""What both command lines show of the choice among a release's variants. Pure."""

from collections.abc import Mapping
from typing import Any


def describe_choice(update: Mapping[str, Any]) -> str:
    """One line: what was picked and why, and why not the others; empty where there was no choice.

    `update` is an `UpdateReport` as decoded from JSON.
    """
    variant, others = update.get("variant"), update.get("not_picked") or {}
    if not variant:
        return ""
    parts = [f"variant {variant}: {update.get('picked') or 'no reason told'}"]
    parts += [f"not {name}: {why}" for name, why in sorted(others.items())]
    return "; ".join(parts)
