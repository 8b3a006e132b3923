"""What both command lines show of how far an update is. Pure."""

from collections.abc import Mapping
from typing import Any


def describe_progress(update: Mapping[str, Any]) -> str:
    """A few words: bytes while it is fetched, live inputs while it is watched, the time that it waits for.

    `update` is `UpdateReport` as decoded from JSON.
    """
    state = update["state"]
    if state == "waiting" and update.get("until"):
        return f"until {update['until']}"
    if state in ("waiting", "fetching") and update.get("fetched_bytes") and update.get("total_bytes"):
        delta = " as a delta" if update.get("delta") else ""
        tries = f", attempt {update['attempts']}" if update.get("attempts", 0) > 1 else ""
        return f"{update['fetched_bytes'] / 1e6:.1f} of {update['total_bytes'] / 1e6:.1f} MB{delta}{tries}"
    if state in ("shadowing", "probation") and update.get("inputs_wanted"):
        inputs, wanted = update.get("inputs", 0), update["inputs_wanted"]
        return f"{inputs} of {wanted} inputs" if inputs < wanted else f"{inputs} inputs are enough, its time is not over"
    return ""
