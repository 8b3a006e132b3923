"""What both command lines show of drift. Pure."""

from collections.abc import Mapping
from typing import Any

from fleet_contract.drift import SketchDrift


def describe_sketch(item: SketchDrift) -> str:
    """One sketch in a few words: its name and the figures that say something."""
    parts = [f"PSI {item.psi:.2f}"] if item.psi is not None else []
    parts += [f"KS {item.ks:.2f}"] if item.ks is not None else []
    parts += [f"{item.missing:.0%} missing"] if item.missing else []
    parts += [f"{item.out_of_range:.0%} out of range"] if item.out_of_range else []
    return f"{item.name} ({', '.join(parts)})"


def describe_drift(drift: Mapping[str, Any] | None) -> str:
    """One line: what has drifted, or that nothing has, or why that is not known; empty where nothing is counted.

    `drift` is `ModelDrift` as decoded from JSON.
    """
    if not drift:
        return ""
    inputs = f"{drift['inputs']} inputs"
    worst = [SketchDrift(**item) for item in drift.get("worst", ())]
    if not worst:
        return f"{inputs}, no baseline to hold them to"
    drifted = [describe_sketch(item) for item in worst if item.drifted]
    if drifted:
        return f"drifted: {', '.join(drifted)}; of {inputs}"
    if not drift.get("judged"):
        return f"{inputs}, too few to judge"
    return f"near the baseline, farthest is {describe_sketch(worst[0])}; of {inputs}"
