"""Watches releases on live inputs: the candidate that shadows, and those on probation. Looks every second and judges.

What it finds is told to the updater, which alone moves the machine.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from edge_agent.loop import Loop, Timer
from edge_agent.update_settings import UpdateSettings
from edge_agent.updates import judging
from edge_agent.updates.ledger import UpdateRecord
from edge_agent.updates.ports import Failure, Models
from fleet_contract.update_report import Evidence

LOOK: Final = 1.0
TELL: Final = 10.0
"""Seconds between two reports of evidence."""
KEEP: Final = 60.0
"""Seconds between two writes of how long a probation has lasted."""


class Owner(Protocol):
    """What is told."""

    def shadowed(self, record: UpdateRecord) -> None:
        """The candidate has done well for long enough."""

    def shadow_failed(self, record: UpdateRecord, failure: Failure) -> None:
        """It broke a limit, or its worker ended."""

    def proven(self, record: UpdateRecord) -> None:
        """The release has done well for long enough after the switch."""

    def breached(self, record: UpdateRecord, failure: Failure) -> None:
        """It broke a limit."""

    def watched(self, *, keep: bool) -> None:
        """There is new evidence to report, and to write down if `keep`."""


@dataclass(slots=True)
class _Watch:
    record: UpdateRecord
    since: float
    """On the clock, less what was watched before a restart."""
    inputs_before: int


class Watching:
    """Main thread only."""

    def __init__(
        self,
        settings: UpdateSettings,
        owner: Owner,
        models: Models,
        loop: Loop,
        look: float = LOOK,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look`: seconds between two looks; `clock`: monotonic seconds."""
        self._settings, self._owner, self._models, self._loop = settings, owner, models, loop
        self._interval, self._clock = look, clock
        self._shadow: _Watch | None = None
        self._probations: dict[str, _Watch] = {}
        self._timer: Timer | None = None
        self._told = self._kept = 0.0

    def shadow(self, record: UpdateRecord) -> bool:
        """Watch the candidate that has just passed its test; False if its worker is gone."""

        def lost(failure: Failure) -> None:
            watch = self._shadow
            if watch is not None and watch.record is record:
                record.evidence = self._models.shadow_evidence(record.model) or record.evidence
                self._shadow = None
                self._owner.shadow_failed(record, failure)

        if not self._models.shadow(record.model, lost):
            return False
        self._shadow = _Watch(record, self._clock(), 0)
        self._look_later()
        return True

    def stop_shadow(self) -> None:
        """Look at the candidate no more."""
        self._shadow = None

    def probation(self, record: UpdateRecord) -> None:
        """Watch the release that answers since the switch, or since a restart."""
        since = self._clock() - record.watched_seconds
        self._probations[record.model] = _Watch(record, since, record.watched_inputs)
        self._look_later()

    def stop_probation(self, model: str) -> None:
        """Look at a release no more."""
        self._probations.pop(model, None)

    def stop(self) -> None:
        """Look at nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._shadow = None
        self._probations.clear()

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock()
        if self._shadow is not None:
            self._look_at_shadow(self._shadow, now)
        for watch in list(self._probations.values()):
            self._look_at_probation(watch, now)
        if self._shadow is None and not self._probations:
            return
        if now - self._told >= TELL:
            self._told = now
            keep = now - self._kept >= KEEP
            self._kept = now if keep else self._kept
            self._owner.watched(keep=keep)
        self._look_later()

    def _look_at_shadow(self, watch: _Watch, now: float) -> None:
        record, settings = watch.record, self._settings.shadow
        evidence = self._models.shadow_evidence(record.model)
        if evidence is None:
            return
        record.evidence = evidence
        record.inputs, record.inputs_wanted = evidence.compared, settings.inputs
        breach = judging.find_breach(self._settings.limits, evidence)
        if breach is not None:
            self._shadow = None
            self._owner.shadow_failed(record, breach)
        elif evidence.compared >= settings.inputs or now - watch.since >= settings.time:
            self._shadow = None
            self._owner.shadowed(record)

    def _look_at_probation(self, watch: _Watch, now: float) -> None:
        record, settings = watch.record, self._settings.probation
        figures = self._models.figures(record.model)
        if figures is None:
            return
        record.evidence = Evidence(candidate=figures, incumbent=record.incumbent)
        record.watched_seconds = now - watch.since
        record.watched_inputs = watch.inputs_before + figures.inferences
        record.inputs, record.inputs_wanted = record.watched_inputs, settings.inputs
        breach = judging.find_breach(self._settings.limits, record.evidence)
        if breach is not None:
            del self._probations[record.model]
            self._owner.breached(record, breach)
        elif judging.is_proven(settings, record.watched_inputs, record.watched_seconds):
            del self._probations[record.model]
            self._owner.proven(record)
