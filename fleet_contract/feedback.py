"""What was right: labels and values that come back for earlier results, and how an answer is held against them. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Final

from msgspec import Struct

from fleet_contract.messages import Message, Outcome
from fleet_contract.reasons import Reason

MAX_TRUTHS: Final = 256
"""In one message."""
MAX_ID: Final = 128
NONE: Final = "none"
"""What is right, and what is answered below the threshold, where a model has a single label and it was not that."""
MAX_TEXT: Final = 128
"""Characters of a label, a source or a name."""


class Truth(Message, frozen=True, kw_only=True):
    """What was right for one result: a label for a model with labels, a value for one without."""

    result_id: str
    label: str | None = None
    """Under the pipeline's own name or the model's."""
    value: float | None = None
    """In the unit of the model's score."""
    source: str | None = None
    """Where it is known from, such as `grower` or `lab`."""
    by: str | None = None
    """The operator who gave it to the controller."""
    time: str | None = None
    """When it was seen to be so, RFC 3339."""


class Feedback(Message, frozen=True, kw_only=True):
    """What was right for earlier results of this device, at most 256 of them. Sent until `Reported.feedback` is `number`."""

    number: int
    """Grows by one with each message for this device; one that is not above the last one taken in is a repeat."""
    truths: tuple[Truth, ...]


class Said(Struct, frozen=True, kw_only=True):
    """What a result answered, as far as feedback is concerned."""

    label: str | None
    """Under the pipeline's own name; None for a model without labels, and where the pipeline abstained."""
    best: str | None
    """The model's own label of the highest score, also where the pipeline abstained."""
    value: float | None
    """Of a model without labels."""
    known: frozenset[str] = frozenset()
    """The labels that may be right; empty where they cannot be told from the result."""


def said(outcome: Outcome) -> Said:
    """What an outcome answered. A model without labels has the single score `score`."""
    scores = outcome.scores
    if outcome.label is None and scores.keys() == {"score"}:
        return Said(label=None, best=None, value=outcome.score)
    best = max(scores, key=scores.__getitem__) if scores else outcome.label
    # A pipeline may name the labels anew, and its names for those that it did not answer are not in the result.
    known = frozenset() if outcome.label not in scores else frozenset(scores)
    if len(scores) == 1:
        known = known | {NONE} if known else known
        if outcome.state == "off" and outcome.label is not None:
            return Said(label=NONE, best=NONE, value=None, known=known)
    return Said(label=outcome.label, best=best, value=None, known=known)


def is_right(answer: Said, truth: Truth) -> bool:
    """Whether the answer was the right label. An abstention is not."""
    return truth.label is not None and answer.label is not None and truth.label in (answer.label, answer.best)


def error_of(answer: Said, truth: Truth) -> float | None:
    """How far the answered value lies from the right one; None where there are no values."""
    return abs(answer.value - truth.value) if answer.value is not None and truth.value is not None else None


def find_fault(truth: Truth) -> str | None:
    """What is wrong with it by itself; None when nothing is."""
    if not 1 <= len(truth.result_id) <= MAX_ID:
        return f"result_id is a text of 1 to {MAX_ID} characters"
    if (truth.label is None) == (truth.value is None):
        return "give a label or a value: exactly one of the two"
    if truth.value is not None and not isfinite(truth.value):
        return "value is not a finite number"
    for name in ("label", "source", "by", "time"):
        text = getattr(truth, name)
        if text is not None and (not 1 <= len(text) <= MAX_TEXT or not text.isprintable()):
            return f"{name} is a text of 1 to {MAX_TEXT} characters that can be printed"
    return None


def judge(truth: Truth, answer: Said | None) -> tuple[Reason, str] | None:
    """Why a truth cannot be held against the answer that it names; None when it can."""
    fault = find_fault(truth)
    if fault is not None:
        return Reason.BAD_FEEDBACK, fault
    if answer is None:
        return Reason.UNKNOWN_RESULT, f"there is no result {truth.result_id!r} of a model"
    if (truth.value is not None) != (answer.value is not None):
        return Reason.BAD_FEEDBACK, f"the result is a {'value' if answer.value is not None else 'label'}"
    if truth.label is not None and answer.known and truth.label not in answer.known:
        return Reason.BAD_FEEDBACK, f"label {truth.label!r} is none of {', '.join(sorted(answer.known))}"
    return None


def find_contradictions(truths: Iterable[Truth]) -> set[str]:
    """Results of which the same batch says two different things: there is no telling which one holds."""
    first: dict[str, tuple[str | None, float | None]] = {}
    return {
        truth.result_id
        for truth in truths
        if find_fault(truth) is None
        and first.setdefault(truth.result_id, (truth.label, truth.value)) != (truth.label, truth.value)
    }


class Tally(Struct, kw_only=True):
    """How one release did, as far as is known what was right."""

    labelled: int = 0
    right: int = 0
    """Of those with a label."""
    values: int = 0
    """Those of a model without labels."""
    error_sum: float = 0.0
    confusion: dict[str, Counter[str]] = {}
    """The right label to how often each label was answered; `abstained` stands for none."""

    def add(self, answer: Said, truth: Truth) -> None:
        """Count one result."""
        error = error_of(answer, truth)
        self.labelled += 1
        if error is not None:
            self.values += 1
            self.error_sum += error
        elif truth.label is not None:
            right = is_right(answer, truth)
            self.right += right
            given = "abstained" if answer.label is None else truth.label if right else answer.label
            self.confusion.setdefault(truth.label, Counter())[given] += 1

    @property
    def accuracy(self) -> float | None:
        """Share of the right answers; None where none has a label."""
        of = self.labelled - self.values
        return self.right / of if of else None

    @property
    def mean_error(self) -> float | None:
        """Mean absolute error; None where there are no values."""
        return self.error_sum / self.values if self.values else None

    def table(self) -> Mapping[str, Mapping[str, int]]:
        """The confusion table, in the order of the labels."""
        return {label: dict(sorted(given.items())) for label, given in sorted(self.confusion.items())}


def wilson(right: int, of: int, z: float = 1.96) -> tuple[float, float] | None:
    """Wilson's score interval for a share, 95 % by default; None when nothing was seen.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference": unlike the plain interval it
    stays within 0 and 1 and is of use for few samples.
    """
    if of <= 0:
        return None
    share, square = right / of, z * z / of
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * (share * (1 - share) / of + square / (4 * of)) ** 0.5
    return max(middle - half, 0.0), min(middle + half, 1.0)
