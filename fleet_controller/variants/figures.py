"""Figures of scores: how often they are right, and how near two models' scores are to each other. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fleet_contract.evaluation import NO_LABEL, DataSample
from fleet_contract.manifest import Manifest

DEFAULT_THRESHOLD: Final = 0.5
_BLOCK: Final = 1024
"""Samples whose neighbours are looked for at a time: all at once would take memory with the square of their number."""
Scores = Sequence[tuple[float, ...] | None]
"""For each sample; None where the model gave none."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How right the scores are. 1 is perfect.

    `name` is `accuracy` (share of right labels), `r2`, or for a model that embeds `neighbour_accuracy`: the share of samples
    whose nearest other sample has the same label.
    """

    name: str
    value: float
    samples: int
    """That carried a right answer."""
    mae: float | None = None
    """Mean absolute error, of a regression."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How near a variant's scores are to the source's, over all samples that both answered."""

    cosine_mean: float | None
    """None where there is a single score: the cosine of two numbers says nothing."""
    cosine_least: float | None
    largest_difference: float


def quality(manifest: Manifest, samples: Sequence[DataSample], scores: Scores) -> Quality | None:
    """How right the scores are; None when no sample says what is right, or where answers are maps or sequences rather than a
    few scores. A sample without scores is a wrong answer.
    """
    if manifest.width is None:
        return None
    if not manifest.labels:
        return _regression(samples, scores) or _neighbours(samples, scores)
    right = [_right_label(manifest, sample) for sample in samples]
    pairs = [(wanted, given) for wanted, given in zip(right, scores, strict=True) if wanted is not None]
    if not pairs:
        return None
    hits = sum(given is not None and decide(manifest, given) == wanted for wanted, given in pairs)
    return Quality("accuracy", hits / len(pairs), len(pairs))


def decide(manifest: Manifest, scores: Sequence[float]) -> str:
    """The label that a device gives with the bundle's own decision: the threshold where there is one, else the highest."""
    decision = manifest.decision
    single = manifest.labels[0] if len(manifest.labels) == 1 else None
    looked_at = decision.label or single
    if looked_at is not None and (single is not None or decision.threshold is not None):
        threshold = DEFAULT_THRESHOLD if decision.threshold is None else decision.threshold
        if scores[manifest.labels.index(looked_at)] >= threshold:
            return looked_at
        if single is not None:
            return NO_LABEL
        others = [(score, label) for score, label in zip(scores, manifest.labels, strict=True) if label != looked_at]
        return max(others, key=lambda item: item[0])[1]
    return max(zip(scores, manifest.labels, strict=True), key=lambda item: item[0])[1]


def _right_label(manifest: Manifest, sample: DataSample) -> str | None:
    if sample.label is not None:
        return sample.label
    return None if sample.scores is None else decide(manifest, sample.scores)


def _regression(samples: Sequence[DataSample], scores: Scores) -> Quality | None:
    pairs = [(sample.scores, given) for sample, given in zip(samples, scores, strict=True) if sample.scores is not None]
    if len(pairs) < 2:
        return None
    wanted: NDArray[np.float64] = np.array([right for right, _ in pairs])
    mean = wanted.mean(axis=0)
    # A sample without an answer counts as if the mean had been guessed.
    given: NDArray[np.float64] = np.array([mean if answer is None else answer for _, answer in pairs])
    spread = ((wanted - mean) ** 2).sum()
    if spread == 0:
        return None
    r2 = 1 - ((wanted - given) ** 2).sum() / spread
    return Quality("r2", float(r2), len(pairs), float(np.abs(wanted - given).mean()))


def _neighbours(samples: Sequence[DataSample], scores: Scores) -> Quality | None:
    """Each sample against all others; one without scores is a miss."""
    labelled = [(sample.label, given) for sample, given in zip(samples, scores, strict=True) if sample.label is not None]
    answered = [(label, given) for label, given in labelled if given is not None]
    if len({label for label, _ in labelled}) < 2 or len(answered) < 2:
        return None
    labels = np.array([label for label, _ in answered])
    vectors: NDArray[np.float32] = np.array([given for _, given in answered], np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    hits = 0
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf  # itself
        hits += int((labels[block.argmax(axis=1)] == labels[start + rows]).sum())
    return Quality("neighbour_accuracy", hits / len(labelled), len(labelled))


def likeness(source: Scores, variant: Scores) -> Likeness | None:
    """How near the scores are; None when there is no sample that both answered.

    Answers of different sizes, which a model may give, are as far from each other as can be: cosine 0, and the largest score
    as difference.
    """
    pairs = [
        (np.asarray(one, np.float64), np.asarray(other, np.float64))
        for one, other in zip(source, variant, strict=True)
        if one is not None and other is not None
    ]
    if not pairs:
        return None
    largest = max(_difference(one, other) for one, other in pairs)
    if all(one.size == 1 for one, _ in pairs):
        return Likeness(None, None, largest)
    cosines = [_cosine(one, other) for one, other in pairs]
    return Likeness(sum(cosines) / len(cosines), min(cosines), largest)


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    differences = one - other if one.size == other.size else np.concatenate((one, other))
    return float(np.abs(differences).max(initial=0.0))


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if one.size != other.size:
        return 0.0
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else float((one == other).all())
