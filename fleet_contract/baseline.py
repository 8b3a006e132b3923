"""`baseline.json` of a bundle: what the model was given and what it answered when it was made. Drift is measured against it.

Sketches go by name: `input.temp_min` is the newest value of that input in a window, `output.score` the one score of a model
with one output, `output.confidence` the highest score and `output.label` the best label of a model with several,
`text.length` a text's characters, `text.unknown` the share of its words that are not in `words`, `text.script` the script of
most of its letters.
"""

import math
import zlib
from itertools import pairwise
from typing import Final

import msgspec

from fleet_contract.manifest import InputKind, Manifest, ManifestError, Record

SCHEMA: Final = 1
MAX_BASELINE_BYTES: Final = 256 * 1024
MOST_SKETCHES: Final = 64
MOST_CUTS: Final = 20
"""Inner bounds of one sketch, so 21 bins between `low` and `high`."""
MOST_CATEGORIES: Final = 32
MOST_WORDS: Final = 2000
LABEL: Final = "output.label"
CONFIDENCE: Final = "output.confidence"
SCORE: Final = "output.score"
LENGTH: Final = "text.length"
UNKNOWN: Final = "text.unknown"
SCRIPT: Final = "text.script"


class NumberBaseline(Record, frozen=True, kw_only=True):
    """Numbers, counted in bins."""

    low: float
    high: float
    """Below `low` and above `high` is out of range: what the maker says, otherwise the least and the largest number seen."""
    cuts: tuple[float, ...] = ()
    """Inner bounds, ascending. A bin ends with its upper bound: `low <= x <= cuts[0]`, `cuts[0] < x <= cuts[1]`, …"""
    counts: tuple[int, ...]
    """Below `low`, each bin, above `high`, missing."""


class CategoryBaseline(Record, frozen=True, kw_only=True):
    """Words, counted."""

    counts: dict[str, int]
    other: int = 0
    """What is none of them."""


class Baseline(Record, frozen=True, kw_only=True):
    """All sketches of one model."""

    schema: int
    samples: int
    """Inputs that were looked at."""
    data: str = ""
    """Which data, for people."""
    numbers: dict[str, NumberBaseline] = msgspec.field(default_factory=dict)
    categories: dict[str, CategoryBaseline] = msgspec.field(default_factory=dict)
    words: tuple[str, ...] = ()
    """The words that were seen most, in lower case; for `text.unknown`."""


def parse_baseline(data: bytes, manifest: Manifest) -> Baseline:
    """Parse the baseline and check it against the manifest; raises ManifestError naming what is wrong."""
    entry = manifest.baseline
    try:
        baseline = msgspec.json.decode(data, type=Baseline)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"{entry}: {error}") from error
    wrong = _find_fault(baseline, manifest)
    if wrong is not None:
        raise ManifestError(f"{entry}: {wrong}")
    return baseline


def fingerprint(baseline: Baseline) -> str:
    """Which baseline it is, in eight hex digits: counts of the same bins may be added up."""
    return f"{zlib.crc32(msgspec.json.encode(baseline)):08x}"


def number_names(manifest: Manifest) -> tuple[str, ...]:
    """The sketches of numbers that a model can have: outputs, texts, inputs. One of kind tensor has none."""
    if manifest.kind is InputKind.TENSOR:
        return ()
    inputs = tuple(f"input.{item.name}" for item in manifest.inputs)
    texts = (LENGTH, UNKNOWN) if manifest.kind is InputKind.TEXT else ()
    outputs = (CONFIDENCE,) if len(manifest.labels) > 1 else (SCORE,) if manifest.width == 1 else ()
    return (*outputs, *texts, *inputs)


def category_names(manifest: Manifest) -> tuple[str, ...]:
    """The sketches of words that a model can have."""
    if manifest.kind is InputKind.TENSOR:
        return ()
    texts = (SCRIPT,) if manifest.kind is InputKind.TEXT else ()
    return (LABEL, *texts) if len(manifest.labels) > 1 else texts


def _find_fault(baseline: Baseline, manifest: Manifest) -> str | None:
    if baseline.schema != SCHEMA:
        return f"schema: {baseline.schema} is not known, this software reads {SCHEMA}"
    if len(baseline.numbers) + len(baseline.categories) > MOST_SKETCHES:
        return f"more than {MOST_SKETCHES} sketches"
    if len(baseline.words) > MOST_WORDS:
        return f"words: more than {MOST_WORDS}"
    for name in sorted(baseline.numbers.keys() - set(number_names(manifest))):
        return f"numbers: the model has no {name!r}"
    for name in sorted(baseline.categories.keys() - set(category_names(manifest))):
        return f"categories: the model has no {name!r}"
    for name, numbers in baseline.numbers.items():
        wrong = _find_number_fault(numbers)
        if wrong is not None:
            return f"numbers.{name}: {wrong}"
    for name, categories in baseline.categories.items():
        if len(categories.counts) > MOST_CATEGORIES:
            return f"categories.{name}: more than {MOST_CATEGORIES}"
        if min((*categories.counts.values(), categories.other)) < 0:
            return f"categories.{name}: a count below 0"
        if name == LABEL and not categories.counts.keys() <= set(manifest.labels):
            return f"categories.{name}: a label that the manifest does not have"
    return None


def _find_number_fault(numbers: NumberBaseline) -> str | None:
    bounds = (numbers.low, *numbers.cuts, numbers.high)
    if not all(map(math.isfinite, bounds)):
        return "a bound is not finite"
    if len(numbers.cuts) > MOST_CUTS:
        return f"more than {MOST_CUTS} cuts"
    # The first bin may hold `low` alone: where a quantity is mostly zero, that is its most important bin.
    if any(low >= high for low, high in pairwise(bounds[1:])) or numbers.low > bounds[1]:
        return "low, cuts and high are not ascending"
    if len(numbers.counts) != len(numbers.cuts) + 4:
        return f"counts: {len(numbers.counts)}, with {len(numbers.cuts)} cuts there are {len(numbers.cuts) + 4}"
    if min(numbers.counts) < 0:
        return "counts: one below 0"
    return None
