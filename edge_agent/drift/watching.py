"""Says when a model's inputs or answers drift away from its baseline, and when they are back."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from edge_agent.drift.counting import Counting
from edge_agent.settings import DriftSettings
from fleet_contract.drift import Limits, ModelDrift, SketchDrift
from fleet_contract.drift_text import describe_sketch
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason


class WriteNote(Protocol):
    """Puts a note into the outbox."""

    def __call__(self, *, kind: NoteKind, reason: str, detail: str, model: str, release: int) -> None: ...


class DriftWatch:
    """Makes the figures of each report, and a note at each change of what has drifted.

    Args:
        counting: the release that answers under a model's name, and its counts; None while there is none.
    """

    def __init__(
        self, settings: DriftSettings, counting: Callable[[str], tuple[int, Counting] | None], note: WriteNote
    ) -> None:
        self._limits = Limits(psi=settings.psi, missing=settings.missing, out_of_range=settings.out_of_range)
        self._fewest, self._counting, self._note = settings.inputs, counting, note
        self._told: dict[str, tuple[Counting, frozenset[str]]] = {}

    def report(self, model: str) -> ModelDrift | None:
        """The figures since the last report; None where nothing is counted."""
        found = self._counting(model)
        if found is None:
            return None
        release, counting = found
        of, told = self._told.get(model, (counting, frozenset()))
        if of is not counting:
            told = frozenset()  # another release was loaded: what the one before had seen says nothing of it
        figures = counting.report(self._limits, self._fewest, told)
        drifted = {item.name: item for item in figures.worst if item.drifted}
        if drifted.keys() - told:
            self._tell(model, release, Reason.DRIFTED, [drifted[name] for name in sorted(drifted)], figures.inputs)
        elif told and not drifted:
            self._tell(model, release, Reason.DRIFT_OVER, [], figures.inputs)
        self._told[model] = (counting, frozenset(drifted))
        return figures

    def _tell(self, model: str, release: int, reason: Reason, drifted: list[SketchDrift], inputs: int) -> None:
        moved = ", ".join(describe_sketch(msgspec.to_builtins(item)) for item in drifted)
        what = moved or "everything is near the baseline again"
        self._note(kind=NoteKind.DRIFT, reason=reason, model=model, release=release, detail=f"{what}; of {inputs} inputs")
