"""Drift: how far what a model is given, and what it answers, has moved from its baseline. Pure, without numpy.

Both sides are counts in the baseline's bins, so sketches of any time and any number of devices are merged by adding.

* Population Stability Index: the sum over the bins of `(a - e) * ln(a / e)`, `a` and `e` being the bin's shares now and in the
  baseline. Rule of thumb (Siddiqi, "Credit Risk Scorecards", 2006): below 0.1 no change, above 0.25 a large one. A bin that is
  empty on one side counts as half an input there; one that is empty on both counts for nothing.
* What PSI reaches by chance: about `(1/n + 1/m)` times a chi-squared of as many degrees of freedom as there are bins less one
  (Yurdakul, "Statistical Properties of Population Stability Index", 2018); here the value that one in a thousand exceeds.
* Kolmogorov-Smirnov, two samples: the largest distance of the two distribution functions, looked at between the bins only.
  The real distance is never smaller, so what the binned one calls a drift is one (it is conservative). Its limit is
  `c(alpha) * sqrt((n + m) / (n * m))`, with `c(alpha) = sqrt(-ln(alpha / 2) / 2)` (Smirnov 1948).
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from fleet_contract.baseline import MOST_CATEGORIES, UNKNOWN, CategoryBaseline, NumberBaseline

BINS: Final = 10
PSI_LARGE: Final = 0.25
ALPHA: Final = 0.001
_Z: Final = 3.0902
"""Of the normal distribution, at 1 - ALPHA."""
MOST_SHOWN: Final = 8
OTHER: Final = "other"


class SketchDrift(Struct, frozen=True, kw_only=True):
    """How far one sketch has moved."""

    name: str
    """Such as `input.temp_min` or `output.label`; docs/drift.md lists them."""
    psi: float | None = None
    """Population Stability Index; null where nothing was counted."""
    ks: float | None = None
    """Kolmogorov-Smirnov distance, 0 to 1; null for words."""
    missing: float = 0.0
    """Share of missing values."""
    out_of_range: float = 0.0
    """Share of the values that are there."""
    drifted: bool = False
    """Whether a limit is passed."""


class ModelDrift(Struct, frozen=True, kw_only=True):
    """What a model was given and what it answered, beside its baseline."""

    inputs: int
    """Newest inputs that the figures are of."""
    total: int
    """Inputs that were counted since the release was loaded."""
    judged: bool = False
    """Whether these are enough to say anything, and there is a baseline to hold them to."""
    worst: tuple[SketchDrift, ...] = ()
    """Those that have moved most, at most 8."""
    labels: dict[str, float] = {}
    """Share of each label among the best ones, the 8 most frequent."""
    confidence: float | None = None
    """Median of the highest score, to within a bin; null for a model without labels."""
    bins: str | None = None
    """Which baseline the counts are of: the CRC-32 of it as JSON, in hex. Only counts of the same one may be added up."""
    numbers: dict[str, tuple[int, ...]] = {}
    """Counts of this interval alone, to be added up: below the range, each bin, above it, missing. At most 16 sketches."""
    categories: dict[str, dict[str, int]] = {}
    """The same for words."""


class Limits(Struct, frozen=True, kw_only=True):
    """What counts as drifted."""

    psi: float = PSI_LARGE
    missing: float = 0.1
    """Share of missing values, on top of the baseline's."""
    out_of_range: float = 0.1
    """Share of values out of range, on top of the baseline's."""


# ---- counting


def to_cells(baseline: NumberBaseline) -> list[float]:
    """Bounds for `bisect_left`: the position of a number among them is the position of its count."""
    return [math.nextafter(baseline.low, -math.inf), *baseline.cuts, baseline.high]


def count_numbers(values: Iterable[float | None], baseline: NumberBaseline) -> tuple[int, ...]:
    """Counts of `values` in the bins of a baseline; None and NaN are missing."""
    cells = to_cells(baseline)
    counts = [0] * len(baseline.counts)
    for value in values:
        counts[-1 if value is None or math.isnan(value) else bisect_left(cells, value)] += 1
    return tuple(counts)


def make_number_baseline(
    values: Sequence[float | None], *, bins: int = BINS, low: float | None = None, high: float | None = None
) -> NumberBaseline | None:
    """Bins that hold about as many of `values` each; None where there is no number among them.

    `low` and `high` are the maker's range; otherwise the least and the largest value.
    """
    known = sorted(value for value in values if value is not None and math.isfinite(value))
    if not known:
        return None
    low, high = known[0] if low is None else low, known[-1] if high is None else high
    quantiles = {known[len(known) * part // bins] for part in range(1, bins)}
    if known.count(low) * bins >= len(known):
        quantiles.add(low)  # a bin of its own for a value that is as frequent as a whole bin
    cuts = tuple(sorted(cut for cut in quantiles if low <= cut < high))
    bare = NumberBaseline(low=low, high=high, cuts=cuts, counts=(0,) * (len(cuts) + 4))
    return NumberBaseline(low=low, high=high, cuts=cuts, counts=count_numbers(values, bare))


def make_category_baseline(words: Iterable[str]) -> CategoryBaseline:
    """The most frequent words, and how many others there were."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return CategoryBaseline(counts=dict(ordered[:MOST_CATEGORIES]), other=sum(count for _, count in ordered[MOST_CATEGORIES:]))


def merge_counts(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Both together; raises ValueError if they are of different bins."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def merge_words(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Both together."""
    return {word: one.get(word, 0) + other.get(word, 0) for word in [*one, *(word for word in other if word not in one)]}


# ---- figures


def psi(expected: Sequence[int], actual: Sequence[int]) -> float | None:
    """Population Stability Index of counts in the same bins; None where one side has none."""
    n, m = sum(expected), sum(actual)
    if not n or not m:
        return None
    total = 0.0
    for e, a in zip(expected, actual, strict=True):
        if e or a:
            share, now = (e or 0.5) / n, (a or 0.5) / m
            total += (now - share) * math.log(now / share)
    return total


def psi_by_chance(expected: Sequence[int], actual: Sequence[int]) -> float:
    """What PSI of two samples of one distribution exceeds once in a thousand times; 0 where one side has none.

    The chi-squared quantile is Wilson and Hilferty's approximation (1931).
    """
    n, m = sum(expected), sum(actual)
    freedom = sum(1 for e, a in zip(expected, actual, strict=True) if e or a) - 1
    if not n or not m or freedom < 1:
        return 0.0
    step = 2 / (9 * freedom)
    return (1 / n + 1 / m) * float(freedom * (1 - step + _Z * math.sqrt(step)) ** 3)


def clear_psi(expected: Sequence[int], actual: Sequence[int]) -> float | None:
    """PSI, or 0 where it is no more than chance gives with so few inputs; None where one side has none."""
    value = psi(expected, actual)
    return None if value is None else value if value > psi_by_chance(expected, actual) else 0.0


def ks(expected: Sequence[int], actual: Sequence[int]) -> float | None:
    """Largest distance of the two distribution functions, at the bounds of the bins; None where one side has none."""
    n, m = sum(expected), sum(actual)
    if not n or not m:
        return None
    largest, left, right = 0.0, 0, 0
    for e, a in zip(expected, actual, strict=True):
        left, right = left + e, right + a
        largest = max(largest, abs(left / n - right / m))
    return largest


def ks_limit(n: int, m: int, alpha: float = ALPHA) -> float:
    """The distance that samples of `n` and `m` of one distribution exceed with the probability `alpha`."""
    return math.sqrt(-math.log(alpha / 2) / 2) * math.sqrt((n + m) / (n * m))


def judge_numbers(name: str, baseline: NumberBaseline, counts: Sequence[int], limits: Limits) -> SketchDrift:
    """How far numbers have moved. Drifted: PSI above its limit and KS above its own, or too many are missing or outside."""
    expected, actual = baseline.counts[:-1], counts[:-1]
    index, distance = psi(expected, actual), ks(expected, actual)
    there, before = sum(actual), sum(expected)
    missing, outside = _share(counts[-1], there + counts[-1]), _share(actual[0] + actual[-1], there)
    moved = index is not None and index > max(limits.psi, psi_by_chance(expected, actual))
    moved = moved and distance is not None and distance > ks_limit(before, there)
    if name == UNKNOWN:
        moved = moved and has_grown(baseline, counts)  # fewer unknown words are nothing to tell of
    usual_missing = _share(baseline.counts[-1], before + baseline.counts[-1])
    usual_outside = _share(expected[0] + expected[-1], before)
    return SketchDrift(
        name=name,
        psi=_rounded(index),
        ks=_rounded(distance),
        missing=round(missing, 4),
        out_of_range=round(outside, 4),
        drifted=moved or missing > usual_missing + limits.missing or outside > usual_outside + limits.out_of_range,
    )


def judge_words(name: str, baseline: CategoryBaseline, counts: Mapping[str, int], limits: Limits) -> SketchDrift:
    """How far words have moved. `out_of_range` is the share of those that the baseline does not have."""
    expected, actual = align_words(baseline, counts)
    index = psi(expected, actual)
    outside, usual = _share(actual[-1], sum(actual)), _share(expected[-1], sum(expected))
    moved = index is not None and index > max(limits.psi, psi_by_chance(expected, actual))
    return SketchDrift(
        name=name,
        psi=_rounded(index),
        out_of_range=round(outside, 4),
        drifted=moved or outside > usual + limits.out_of_range,
    )


def align_words(baseline: CategoryBaseline, counts: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Counts of the baseline and of `counts` in the same order, all that the baseline does not name together at the end."""
    known = list(baseline.counts)
    actual = [counts.get(word, 0) for word in known]
    return [*baseline.counts.values(), baseline.other], [*actual, sum(counts.values()) - sum(actual)]


def has_grown(baseline: NumberBaseline, counts: Sequence[int]) -> bool:
    """Whether the median lies higher than in the baseline; a bin higher, or it is the same."""
    now, before = median_bound(baseline, counts), median_bound(baseline, baseline.counts)
    return now is not None and before is not None and now > before


def median_bound(baseline: NumberBaseline, counts: Sequence[int]) -> float | None:
    """The middle of the bin that holds the median of `counts`; None where nothing was counted."""
    bounds = (baseline.low, baseline.low, *baseline.cuts, baseline.high, baseline.high)
    left = sum(counts[:-1]) / 2
    if not left:
        return None
    for position, count in enumerate(counts[:-1]):
        left -= count
        if left <= 0:
            return round((bounds[position] + bounds[position + 1]) / 2, 4)
    return baseline.high


def worst_first(figures: Iterable[SketchDrift], most: int = MOST_SHOWN) -> tuple[SketchDrift, ...]:
    """Those that have drifted first, then by PSI."""
    return tuple(sorted(figures, key=lambda item: (not item.drifted, -(item.psi or 0.0), item.name))[:most])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
