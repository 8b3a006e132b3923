"""What devices have counted of one release, added up, and how far that lies from its baseline. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from fleet_contract.baseline import Baseline
from fleet_contract.drift import Limits, SketchDrift, judge_numbers, judge_words, merge_counts, merge_words, worst_first

FEWEST: Final = 500
"""Inputs without which nothing is called drifted."""


class Interval(Struct, frozen=True):
    """What a health message says of one release since the one before; see `ModelDrift`."""

    bins: str | None = None
    numbers: dict[str, tuple[int, ...]] = {}
    categories: dict[str, dict[str, int]] = {}


@dataclass(slots=True)
class Merged:
    """Counts of some devices and some time, all of the same baseline."""

    baseline: Baseline | None
    """None where the bundle has none, or another one than the devices count by."""
    devices: set[str] = field(default_factory=set)
    numbers: dict[str, Sequence[int]] = field(default_factory=dict)
    categories: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def add(self, device: str, interval: Interval) -> None:
        """Add what a device has counted; counts of other bins, which no honest device sends, are left out."""
        self.devices.add(device)
        known = {} if self.baseline is None else self.baseline.numbers
        for name, counts in interval.numbers.items():
            before = self.numbers.get(name)
            bins = known[name].counts if name in known else counts if before is None else before
            if len(counts) == len(bins):
                self.numbers[name] = counts if before is None else merge_counts(before, counts)
        for name, words in interval.categories.items():
            self.categories[name] = merge_words(self.categories.get(name, {}), words)

    @property
    def inputs(self) -> int:
        """How many inputs were counted, by the sketch that has most of them."""
        counted = [sum(counts) for counts in self.numbers.values()] + [
            sum(words.values()) for words in self.categories.values()
        ]
        return max(counted, default=0)


def find_drift(merged: Merged, limits: Limits) -> tuple[SketchDrift, ...]:
    """Every sketch that baseline and devices have, those that have moved most first; drifted is none with too few inputs."""
    baseline = merged.baseline
    if baseline is None:
        return ()
    numbers = [
        judge_numbers(name, known, merged.numbers[name], limits)
        for name, known in baseline.numbers.items()
        if name in merged.numbers
    ]
    words = [
        judge_words(name, known, merged.categories[name], limits)
        for name, known in baseline.categories.items()
        if name in merged.categories
    ]
    if merged.inputs < FEWEST:
        numbers, words = [_undecided(item) for item in numbers], [_undecided(item) for item in words]
    return worst_first((*numbers, *words), len(numbers) + len(words))


def _undecided(item: SketchDrift) -> SketchDrift:
    return SketchDrift(name=item.name, psi=item.psi, ks=item.ks, missing=item.missing, out_of_range=item.out_of_range)
