"""What a device says of the signed metadata that it holds. It stands beside `messages.py`, which puts it into `Reported`."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class TrustReport(Struct, frozen=True, kw_only=True):
    """How fresh a device's signed metadata is, and what it has learned from it. Times are RFC 3339."""

    checked: str | None = None
    """When metadata was last found valid; null before the first time."""
    expires: str | None = None
    """When the first of those documents expires."""
    expired: bool = False
    """Nothing is installed until newer metadata comes; what runs goes on."""
    floors: dict[str, int] = {}
    """Model to the highest floor seen."""
    revoked: dict[str, int] = {}
    """Model to its active release, where that lies below the floor: it goes on answering until desired names another."""
    reason: str | None = None
    """Why the newest attempt to bring the metadata up to date failed; null when it did not."""
    detail: str | None = None


def describe_trust(report: Mapping[str, Any] | None) -> list[str]:
    """A report as it arrived, in a few short phrases for people; nothing where there is none."""
    if not report:
        return []
    checked, expires, reason = report.get("checked"), report.get("expires"), report.get("reason")
    fresh = f"metadata of {checked}" if checked else "no metadata yet"
    if report.get("expired"):
        fresh += f", expired{f' at {expires}' if expires else ''}: nothing is installed"
    elif expires:
        fresh += f", good until {expires}"
    told = [fresh]
    for model, release in report.get("revoked", {}).items():
        told.append(f"{model} release {release} is revoked and goes on until another is desired")
    return told if reason is None else [*told, f"the newest attempt to refresh failed ({reason}): {report.get('detail')}"]
