"""What both command lines show of an update's evidence. Pure."""

from collections.abc import Mapping
from typing import Any


def describe_evidence(evidence: Mapping[str, Any] | None) -> str:
    """One line: inputs, errors, latency and confidence, each beside the incumbent's; empty without evidence.

    `evidence` is `Evidence` as decoded from JSON.
    """
    if not evidence:
        return ""
    candidate, incumbent = evidence["candidate"], evidence.get("incumbent") or {}
    parts = [f"{candidate.get('inferences', 0)} inputs"]
    if evidence.get("compared"):
        parts.append(f"{evidence.get('agreed', 0) / evidence['compared']:.0%} agree")
    if candidate.get("errors"):
        parts.append(f"{candidate['errors']} without scores")
    if candidate.get("crashes"):
        parts.append(f"{candidate['crashes']} crashes")
    for key, name, unit in (("p95_ms", "p95", " ms"), ("confidence", "confidence", ""), ("drift", "drift", "")):
        if candidate.get(key) is not None:
            before = f" (was {incumbent[key]:.3g})" if incumbent.get(key) is not None else ""
            parts.append(f"{name} {candidate[key]:.3g}{unit}{before}")
    return ", ".join(parts)
