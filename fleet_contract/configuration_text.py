"""What both command lines show of a device's configuration, and of an agent that is too old. Pure."""

from collections.abc import Mapping
from typing import Any

from fleet_contract.version import CONTRACT_LOW


def describe_configuration(report: Mapping[str, Any] | None) -> str:
    """One line: what is in use, and where the newest change stands; empty where there never was one.

    `report` is `ConfigurationReport` as decoded from JSON.
    """
    if report is None:
        return ""
    used = f"{report['running_name']}@{report['running_revision']}" if report["running_name"] else "the own file alone"
    newest = f"{report['name']}@{report['revision']}" if report["name"] else "the own file alone"
    parts = [f"{used}, {report['state']}" if newest == used else f"{used}; {newest} is {report['state']}"]
    if report.get("reason"):
        parts.append(f"{report['reason']}: {report.get('detail') or ''}".rstrip(": "))
    if report.get("restart"):
        parts.append(f"waits for a restart: {', '.join(report['restart'])}")
    return "; ".join(parts)


def describe_agent(birth: Mapping[str, Any]) -> str | None:
    """The agent's version, and whether it is older than the contract asks; None where it is not known."""
    version: str | None = birth.get("agent_version")
    if version is not None and birth.get("contract_high", CONTRACT_LOW) < CONTRACT_LOW:
        return f"{version}, too old: it speaks contract versions up to {birth['contract_high']}, {CONTRACT_LOW} is asked"
    return version
