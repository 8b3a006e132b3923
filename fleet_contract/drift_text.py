"""What both command lines show of drift. Pure; messages come as decoded from JSON."""

from collections.abc import Mapping
from typing import Any


def describe_sketch(sketch: Mapping[str, Any]) -> str:
    """One `SketchDrift` in a few words: its name and the figures that say something."""
    parts = [f"{title} {sketch[key]:.2f}" for key, title in (("psi", "PSI"), ("ks", "KS")) if sketch.get(key) is not None]
    parts += [f"{sketch[key]:.0%} {title}" for key, title in _SHARES if sketch.get(key)]
    return f"{sketch['name']} ({', '.join(parts)})"


_SHARES = (("missing", "missing"), ("out_of_range", "out of range"))


def describe_drift(drift: Mapping[str, Any] | None) -> str:
    """One line of a `ModelDrift`: what has drifted, or that nothing has, or why that is not known; empty without one."""
    if not drift:
        return ""
    inputs = f"{drift['inputs']} inputs"
    worst = drift.get("worst") or ()
    if not worst:
        return f"{inputs}, no baseline to hold them to"
    drifted = [describe_sketch(item) for item in worst if item.get("drifted")]
    if drifted:
        return f"drifted: {', '.join(drifted)}; of {inputs}"
    if not drift.get("judged"):
        return f"{inputs}, too few to judge"
    return f"near the baseline, farthest is {describe_sketch(worst[0])}; of {inputs}"
