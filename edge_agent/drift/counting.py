"""Counts of what one release is given and what it answers, in the bins of its baseline.

A value costs one `bisect`. Of a batch at most `MOST_OF_A_BATCH` inputs are looked at, spread over it and others each time: the
faster the events come, the less each of them costs. Of texts, which cost five times as much, one in `ONE_TEXT_IN` is read.
"""

import math
from bisect import bisect_left
from collections.abc import Container, Sequence
from typing import Final

import msgspec

from edge_agent.inference.answers import Failure, ModelInput, Scored
from fleet_contract.baseline import (
    CONFIDENCE,
    LABEL,
    LENGTH,
    SCORE,
    SCRIPT,
    UNKNOWN,
    Baseline,
    NumberBaseline,
    category_names,
    fingerprint,
    number_names,
)
from fleet_contract.drift import (
    MOST_SHOWN,
    OTHER,
    Limits,
    ModelDrift,
    SketchDrift,
    align_words,
    clear_psi,
    has_grown,
    judge_numbers,
    judge_words,
    median_bound,
    merge_counts,
    merge_words,
    to_cells,
    worst_first,
)
from fleet_contract.manifest import Manifest
from fleet_contract.text_figures import script_of, unknown_share
from fleet_contract.update_report import Figures

MOST_OF_A_BATCH: Final = 16
ONE_TEXT_IN: Final = 4
MOST_SENT: Final = 16
"""Sketches of numbers whose counts travel, always the same ones: the outputs, texts, and the first inputs of the manifest."""
REMEMBERED: Final = 2000
CALM: Final = 0.8
"""What has drifted is over only below this share of its limits, so that a figure at its limit is not told again and again."""
SHARES: Final = NumberBaseline(low=0.0, high=1.0, cuts=tuple(part / 10 for part in range(1, 10)), counts=(0,) * 13)
"""Bins for the scores of a model with labels that has no baseline."""


class _Share:
    """Counts of some inputs."""

    __slots__ = ("inputs", "numbers", "words")

    def __init__(self, numbers: dict[str, tuple[int, ...]], words: dict[str, dict[str, int]], inputs: int) -> None:
        self.numbers, self.words, self.inputs = numbers, words, inputs

    def __add__(self, other: "_Share") -> "_Share":
        return _Share(
            {name: merge_counts(counts, other.numbers[name]) for name, counts in self.numbers.items()},
            {name: merge_words(counts, other.words[name]) for name, counts in self.words.items()},
            self.inputs + other.inputs,
        )


class Counting:
    """Since the release was loaded. The figures are of its newest inputs, one to two times `remembered` of them."""

    def __init__(self, manifest: Manifest, baseline: Baseline | None, remembered: int = REMEMBERED) -> None:
        self._baseline, self._labels, self._remembered = baseline, manifest.labels, remembered
        known = Baseline(schema=0, samples=0) if baseline is None else baseline
        self._known = known
        self._fingerprint = None if baseline is None else fingerprint(baseline)
        bins: dict[str, NumberBaseline] = {}
        for name in number_names(manifest):
            if name in known.numbers:
                bins[name] = known.numbers[name]
            elif name in (CONFIDENCE, SCORE) and manifest.labels:
                bins[name] = SHARES
        self._bins = bins
        self._cells = {name: to_cells(item) for name, item in bins.items()}
        self._counts = {name: [0] * len(item.counts) for name, item in bins.items()}
        self._words: dict[str, dict[str, int]] = {
            name: {} for name in category_names(manifest) if name == LABEL or name in known.categories
        }
        self._columns = [
            (item.name, self._cells[name], self._counts[name])
            for item in manifest.inputs
            if (name := f"input.{item.name}") in bins
        ]
        output = CONFIDENCE if len(manifest.labels) > 1 else SCORE
        self._output = (self._cells[output], self._counts[output]) if output in bins else None
        self._label = self._words.get(LABEL)
        self._reads_texts = SCRIPT in self._words or LENGTH in bins or UNKNOWN in bins
        self._vocabulary = frozenset(known.words)
        self._inputs = self._turn = 0
        self._older = self._before = self._told = self._take()

    def add(self, items: Sequence[ModelInput], results: Sequence[Scored]) -> None:
        """One batch: what was asked and what was made of it."""
        count = len(items)
        step = 1 if count <= MOST_OF_A_BATCH else -(-count // MOST_OF_A_BATCH)
        # A batch goes round its sensors in order: the same places each time would be the same sensors.
        first, self._turn = self._turn % step, self._turn + 1
        output = self._output
        for at in range(first, count, step):
            item, result = items[at], results[at]
            values = item.values
            for name, cells, counts in self._columns:
                column = values.get(name)
                value = column[-1] if column else None
                if value is None or math.isnan(value):
                    counts[-1] += 1
                else:
                    counts[bisect_left(cells, value)] += 1
            if self._reads_texts and item.text is not None and self._inputs % ONE_TEXT_IN == 0:
                self._add_text(item.text)
            if output is not None and not isinstance(result, Failure):
                best = max(result)
                output[1][bisect_left(output[0], best)] += 1
                if self._label is not None:
                    label = self._labels[result.index(best)]
                    self._label[label] = self._label.get(label, 0) + 1
            self._inputs += 1
        if self._inputs >= self._remembered:
            self._rotate()

    def report(self, limits: Limits, fewest: int, known: Container[str] = ()) -> ModelDrift:
        """How far everything has moved, and the counts since the last report. `known` has drifted already."""
        recent, whole = self._older + self._take(), self._before + self._older + self._take()
        told, self._told = self._told, whole
        judged = self._baseline is not None and recent.inputs >= fewest
        calm = Limits(psi=limits.psi * CALM, missing=limits.missing * CALM, out_of_range=limits.out_of_range * CALM)
        figures = [self._judge(name, recent, calm if name in known else limits) for name in self._judged_names()]
        if not judged:
            figures = [msgspec.structs.replace(item, drifted=False) for item in figures]
        labels = sorted(recent.words.get(LABEL, {}).items(), key=lambda item: (-item[1], item[0]))
        answered = sum(times for _, times in labels)
        numbers = {name: _less(whole.numbers[name], told.numbers[name]) for name in list(self._bins)[:MOST_SENT]}
        return ModelDrift(
            inputs=recent.inputs,
            total=whole.inputs,
            judged=judged,
            worst=worst_first(figures),
            labels={label: round(times / answered, 4) for label, times in labels[:MOST_SHOWN]},
            confidence=median_bound(self._bins[CONFIDENCE], recent.numbers[CONFIDENCE]) if CONFIDENCE in self._bins else None,
            bins=self._fingerprint,
            numbers={name: counts for name, counts in numbers.items() if any(counts)},
            categories={name: self._new_words(name, counts, told) for name, counts in whole.words.items() if counts},
        )

    def clear_drift(self) -> tuple[float | None, float | None]:
        """PSI of the outputs and of the inputs, the largest of each; 0 is what chance may give, None is not known."""
        recent = self._older + self._take()
        outputs: list[float] = []
        inputs: list[float] = []
        for name in self._judged_names():
            if name == UNKNOWN and not has_grown(self._bins[name], recent.numbers[name]):
                continue
            value = clear_psi(*self._align(name, recent))
            if value is not None:
                (outputs if name in (LABEL, CONFIDENCE, SCORE) else inputs).append(value)
        return max(outputs, default=None), max(inputs, default=None)

    def add_to(self, figures: Figures) -> Figures:
        """The figures of the release with its drift."""
        outputs, inputs = (None if value is None else round(value, 4) for value in self.clear_drift())
        return msgspec.structs.replace(figures, drift=outputs, input_drift=inputs)

    def _judged_names(self) -> list[str]:
        names = [name for name in self._bins if name in self._known.numbers]
        return [*names, *(name for name in self._words if name in self._known.categories)]

    def _judge(self, name: str, share: _Share, limits: Limits) -> SketchDrift:
        if name in self._bins:
            return judge_numbers(name, self._bins[name], share.numbers[name], limits)
        return judge_words(name, self._known.categories[name], share.words[name], limits)

    def _align(self, name: str, share: _Share) -> tuple[Sequence[int], Sequence[int]]:
        if name in self._bins:
            return self._bins[name].counts[:-1], share.numbers[name][:-1]
        return align_words(self._known.categories[name], share.words[name])

    def _new_words(self, name: str, counts: dict[str, int], told: _Share) -> dict[str, int]:
        """Since the last report; a word that the baseline does not have is `other`, so that no text makes this long."""
        before = told.words.get(name, {})
        named = set(self._labels) if name == LABEL else set(self._known.categories[name].counts)
        new: dict[str, int] = {}
        for word, times in counts.items():
            more = times - before.get(word, 0)
            if more:
                key = word if word in named else OTHER
                new[key] = new.get(key, 0) + more
        return new

    def _add_text(self, text: str) -> None:
        length, unknown, script = self._counts.get(LENGTH), self._counts.get(UNKNOWN), self._words.get(SCRIPT)
        if length is not None:
            length[bisect_left(self._cells[LENGTH], len(text))] += 1
        if unknown is not None:
            share = unknown_share(text, self._vocabulary)
            unknown[-1 if share is None else bisect_left(self._cells[UNKNOWN], share)] += 1
        if script is not None:
            name = script_of(text)
            script[name] = script.get(name, 0) + 1

    def _take(self) -> _Share:
        numbers = {name: tuple(counts) for name, counts in self._counts.items()}
        return _Share(numbers, {name: dict(counts) for name, counts in self._words.items()}, self._inputs)

    def _rotate(self) -> None:
        self._before, self._older = self._before + self._older, self._take()
        self._inputs = 0
        for counts in self._counts.values():
            counts[:] = [0] * len(counts)
        for words in self._words.values():
            words.clear()


def _less(now: Sequence[int], before: Sequence[int]) -> tuple[int, ...]:
    return tuple(a - b for a, b in zip(now, before, strict=True))
