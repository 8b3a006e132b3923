"""How one release does on live inputs: errors, time for each input, confidence. What shadowing and probation judge by."""

from collections.abc import Sequence
from typing import Final

from edge_agent.health.sketch import Sketch
from edge_agent.inference.answers import Failure, Scored
from fleet_contract.manifest import Manifest
from fleet_contract.update_report import Figures

NEAR: Final = 0.1
"""Scores without labels agree within this share of the larger one."""
REMEMBERED: Final = 20_000
"""The figures are of the last one to two times so many inputs: an incumbent's first weeks must not hide how it does now."""


class Quality:
    """Of one release since it was loaded, or of its newest inputs where there were many."""

    def __init__(self, manifest: Manifest) -> None:
        self._has_labels = bool(manifest.labels)
        self.crashes = 0
        self._recent, self._older = _Share(), _Share()

    def add(self, results: Sequence[Scored], seconds: float) -> None:
        """One batch: what became of each input, and the time from asking the worker to its answer."""
        recent = self._recent
        recent.latency.add(seconds / len(results), len(results))
        for result in results:
            if isinstance(result, Failure):
                recent.errors += 1
            elif self._has_labels:
                # Of a single label, 0.1 is as sure a no as 0.9 is a yes.
                recent.confidence.add(max(result) if len(result) > 1 else max(result[0], 1 - result[0]))
        recent.inferences += len(results)
        if recent.inferences >= REMEMBERED:
            self._recent, self._older = _Share(), recent

    def add_unanswered(self) -> None:
        """An input that was given up."""
        self._recent.errors += 1
        self._recent.inferences += 1

    def figures(self, memory_bytes: int | None = None) -> Figures:
        """As values that can be told and kept."""
        latency, confidence = Sketch(), Sketch()
        for share in (self._older, self._recent):
            latency.merge(share.latency)
            confidence.merge(share.confidence)
        return Figures(
            inferences=self._older.inferences + self._recent.inferences,
            errors=self._older.errors + self._recent.errors,
            crashes=self.crashes,
            p50_ms=_milliseconds(latency, 0.5),
            p95_ms=_milliseconds(latency, 0.95),
            confidence=_rounded(confidence.quantile(0.5)),
            memory_bytes=memory_bytes,
        )


class _Share:
    __slots__ = ("confidence", "errors", "inferences", "latency")

    def __init__(self) -> None:
        self.inferences = self.errors = 0
        self.latency, self.confidence = Sketch(), Sketch()


def agrees(one: Sequence[float], other: Sequence[float], manifest: Manifest) -> bool:
    """Whether two releases gave the same answer: the same label, the same side of the maker's threshold, or near scores."""
    if len(one) != len(other):
        return False
    if len(manifest.labels) > 1:
        return max(range(len(one)), key=one.__getitem__) == max(range(len(other)), key=other.__getitem__)
    threshold = manifest.decision.threshold
    if threshold is not None and len(one) == 1:
        return (one[0] >= threshold) == (other[0] >= threshold)
    return all(abs(a - b) <= NEAR * max(abs(a), abs(b)) for a, b in zip(one, other, strict=True))


def _milliseconds(sketch: Sketch, share: float) -> float | None:
    seconds = sketch.quantile(share)
    return None if seconds is None else round(seconds * 1000, 4)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
