"""Which variants are refused, and what is remarked on the others. Pure."""

from dataclasses import dataclass
from typing import Final

from fleet_contract.evaluation import Evaluation
from fleet_controller.variants.figures import Likeness, Quality
from fleet_controller.variants.graph_facts import GraphFacts

GAIN: Final = 0.95
"""A variant is smaller or faster when it needs at most this share of the source's bytes or time; less is noise."""
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows."""

    max_loss: float = 0.01
    """Of accuracy or R², against the source on the same data."""
    min_cosine: float | None = None
    """Of the mean cosine to the source's scores."""
    require_gain: bool = False
    """Refuse a variant that is neither smaller nor faster."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One model file with all that was measured of it."""

    file_bytes: int
    facts: GraphFacts
    evaluation: Evaluation
    quality: Quality | None
    likeness: Likeness | None
    """To the source; None for the source itself, or where there was nothing to compare."""


def refusals(source: Measured, variant: Measured, limits: Limits) -> list[str]:
    """Why the variant may not be used; empty if it may."""
    ran = variant.evaluation
    found = []
    if ran.golden is not None:
        found.append(f"{ran.golden[1]} ({ran.golden[0]}){_advice(ran.golden_difference)}")
    if len(ran.faults) > len(source.evaluation.faults):
        position, reason, text = ran.faults[0]
        found.append(f"{len(ran.faults)} samples of the data got no scores, the first is number {position}: {text} ({reason})")
    if source.quality is not None and variant.quality is not None:
        loss = source.quality.value - variant.quality.value
        if not loss <= limits.max_loss + _ROUNDING:
            found.append(
                f"{variant.quality.name} falls from {source.quality.value:.4f} to {variant.quality.value:.4f} on "
                f"{variant.quality.samples} samples, by {loss:.4f}; allowed is --max-loss {limits.max_loss:g}"
            )
    if limits.min_cosine is not None and variant.likeness is not None and variant.likeness.cosine_mean is not None:
        cosine = variant.likeness.cosine_mean
        if not cosine >= limits.min_cosine:
            found.append(f"mean cosine to the source's scores is {cosine:.4f}; needed is --min-cosine {limits.min_cosine:g}")
    if limits.require_gain and not has_gain(source, variant):
        found.append("it is neither smaller nor faster than the source (--require-gain)")
    return found


def _advice(difference: float | None) -> str:
    if difference is None:
        return ""
    return f"; the largest difference of all samples is {difference:.3g}, which `--tolerance` would have to allow"


def has_gain(source: Measured, variant: Measured) -> bool:
    """Whether the variant is smaller or faster."""
    return _is_smaller(source, variant) or _is_faster(source, variant)


def remarks(source: Measured, variant: Measured) -> list[str]:
    """What an operator should know of a variant that could be run."""
    found = []
    smaller, faster = _is_smaller(source, variant), _is_faster(source, variant)
    if not smaller and not faster:
        found.append("no gain: neither smaller nor faster")
    elif not smaller:
        found.append("not smaller")
    elif not faster:
        found.append("not faster here")
    narrow, before = variant.facts.narrow_share, source.facts.narrow_share
    if narrow > before and variant.facts.narrow_heavy <= source.facts.narrow_heavy:
        found.append("stored narrow, but the runtime computes with float32 here")
    elif narrow > before and variant.facts.narrow_heavy < variant.facts.heavy:
        left = variant.facts.heavy - variant.facts.narrow_heavy
        found.append(f"{left} of {variant.facts.heavy} heavy operators still compute with float32")
    return found


def _is_smaller(source: Measured, variant: Measured) -> bool:
    return variant.file_bytes <= source.file_bytes * GAIN


def _is_faster(source: Measured, variant: Measured) -> bool:
    return variant.evaluation.latency_p50 <= source.evaluation.latency_p50 * GAIN
