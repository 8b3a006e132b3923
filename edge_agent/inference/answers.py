"""What a model is asked and what comes back, as the rest of the daemon sees it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fleet_contract.manifest import Manifest
from fleet_contract.messages import ModelRef
from fleet_contract.reasons import Reason


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One window or one text."""

    values: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Model input to its values, oldest first; None is a missing one."""
    times: Sequence[float] = ()
    """Event times in seconds since 1970."""
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, and why."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Scores, and whose they are."""

    scores: tuple[float, ...]
    model: ModelRef
    manifest: Manifest
    """With the labels, and what the model's maker recommends."""


Done = Callable[[Answer | Failure], object]
Scored = tuple[float, ...] | Failure
"""What a worker made of one item."""
