"""Trying a release that was fetched: unpacks it, runs its golden samples, lets it see live inputs, and switches to it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_agent.loop import Loop
from edge_agent.update_settings import UpdateSettings
from edge_agent.updates import policy
from edge_agent.updates.active import ActiveModels
from edge_agent.updates.holding import Holding
from edge_agent.updates.ledger import Installed, UpdateRecord
from edge_agent.updates.machine import Event
from edge_agent.updates.ports import Failure, Models, Stage
from edge_agent.updates.steps import Steps
from edge_agent.updates.store import UpdateStore
from edge_agent.updates.watching import Watching
from fleet_contract.bundle import BundleError
from fleet_contract.reasons import Reason
from fleet_contract.update_report import UpdateState as State

TRIED: Final = (State.TESTING, State.SHADOWING, State.ACTIVATING)
"""A worker of the candidate runs."""


class Trying:
    """From `staging` to the switch. Main thread only."""

    def __init__(
        self,
        settings: UpdateSettings,
        steps: Steps,
        *,
        loop: Loop,
        store: UpdateStore,
        stage: Stage,
        models: Models,
        active: ActiveModels,
        holding: Holding,
        watching: Watching,
        run_probation: Callable[[UpdateRecord], object],
        proven: Callable[[UpdateRecord], object],
    ) -> None:
        """After the switch `run_probation(record)` follows, or at once `proven(record)`."""
        self._settings, self._steps, self._loop = settings, steps, loop
        self._ledger, self._floors, self._stage, self._models = store.ledger, store.floors, stage, models
        self._active, self._holding, self._watching = active, holding, watching
        self._run_probation, self._proven = run_probation, proven

    # ---- staging and testing ----------------------------------------------------------------------------------------

    def run_stage(self, record: UpdateRecord) -> None:
        """Unpack the verified bundle."""
        path = Path(record.file)
        if not path.exists() and self._stage.folder(record.model, record.digest) is None:
            self._steps.retry(record, Failure(Reason.DOWNLOAD_FAILED, "the verified bundle is gone"))
            return

        def work() -> None:
            # Unpacking and syncing take seconds on an SD card: a thread of its own keeps events flowing.
            outcome: BundleError | OSError | None = None
            try:
                self._stage.stage(record.model, record.release, path, record.digest)
            except (BundleError, OSError) as error:
                outcome = error
            self._loop.post(self._on_staged, record, outcome)

        threading.Thread(target=work, name="update-stage", daemon=True).start()

    def _on_staged(self, record: UpdateRecord, error: BundleError | OSError | None) -> None:
        steps = self._steps
        if record is not steps.current:
            return
        if isinstance(error, BundleError):
            steps.end(record, Event.FAILED, Failure(error.reason, str(error)))
        elif error is not None:
            steps.retry(record, Failure(Reason.DISK_FULL, f"the bundle cannot be unpacked: {error}"))
        elif (held := self._holding.before_trying(record)) is not None:
            steps.hold(record, held)
        else:
            steps.move(record, Event.STAGED, self.run_test)

    def run_test(self, record: UpdateRecord) -> None:
        """Run the golden samples in a fresh worker."""
        self._steps.forget_file(record)
        if self._active.is_loading(record.model):
            # Both are trials of one model, and a later one ends the one before it.
            self._steps.guard(self._settings.retry_min, lambda: self.run_test(record))
            return
        candidate = self._active.candidate(record.model, record.release, record.version, record.digest)
        if candidate is None:
            self._steps.retry(record, Failure(Reason.BUNDLE_INVALID, "the unpacked bundle is gone"))
            return
        seconds = self._settings.test_timeout

        def late() -> None:
            self._models.cancel_test(record.model)
            self._on_tested(record, Failure(Reason.TEST_TIMEOUT, f"the golden samples did not finish within {seconds:g} s"))

        self._steps.guard(seconds, late)
        self._models.test(candidate, lambda outcome: self._on_tested(record, outcome))

    def _on_tested(self, record: UpdateRecord, failure: Failure | None) -> None:
        steps = self._steps
        if record is not steps.current or record.state is not State.TESTING:
            return
        steps.end_step()
        if failure is not None:
            steps.end(record, Event.FAILED, failure)
        elif policy.wants_shadow(self._settings, self._ledger, record):
            steps.move(record, Event.PASSED, self._run_shadow)
        elif not self._hold_before_switch(record):
            steps.move(record, Event.UNSHADOWED, self.run_activate)

    # ---- shadowing and activating -----------------------------------------------------------------------------------

    def _run_shadow(self, record: UpdateRecord) -> None:
        self._steps.ends_with(self._watching.stop_shadow)
        if not self._watching.shadow(record):
            # There is nobody to stand beside, or its worker has ended: then the switch tries it anew.
            self._steps.move(record, Event.SHADOWED, self.run_activate)

    def shadowed(self, record: UpdateRecord) -> None:
        """The candidate has done well beside the incumbent."""
        if record is self._steps.current and record.state is State.SHADOWING and not self._hold_before_switch(record):
            self._steps.move(record, Event.SHADOWED, self.run_activate)

    def _hold_before_switch(self, record: UpdateRecord) -> bool:
        held = self._holding.before_switch(record)
        if held is None:
            return False
        self._models.cancel_test(record.model)
        self._steps.hold(record, held)
        return True

    def shadow_failed(self, record: UpdateRecord, failure: Failure) -> None:
        """The candidate has broken a limit; nobody has seen what it said."""
        if record is self._steps.current and record.state is State.SHADOWING:
            self._models.cancel_test(record.model)
            self._steps.end(record, Event.FAILED, failure)

    def give_way(self, record: UpdateRecord) -> None:
        """What the candidate stands beside gives way to another: that one is loaded first, and the candidate is tried again."""
        self._steps.end_step()
        self._models.cancel_test(record.model)
        self._steps.start_over(record)

    def run_activate(self, record: UpdateRecord) -> None:
        """Switch to the candidate."""
        if (text := policy.below_floor(record, self._floors)) is not None:
            self._on_activated(record, Failure(Reason.RELEASE_BELOW_FLOOR, text))
            return
        candidate = self._active.candidate(record.model, record.release, record.version, record.digest)
        if candidate is None:
            self._on_activated(record, Failure(Reason.LOAD_FAILED, "the unpacked bundle is gone"))
            return
        record.incumbent = self._models.figures(record.model) if record.model in self._ledger.active else None
        self._models.activate(candidate, lambda failure: self._on_activated(record, failure))

    def _on_activated(self, record: UpdateRecord, failure: Failure | None) -> None:
        steps = self._steps
        if record is not steps.current or record.state is not State.ACTIVATING:
            return
        if failure is not None:
            # A candidate that was not switched to may still have the incumbent's place.
            self._models.cancel_test(record.model)
            steps.end(record, Event.FAILED, failure)
            return
        ledger, model = self._ledger, record.model
        before, known = ledger.active.get(model), policy.is_proven_here(ledger, record)
        if before is not None and before.proven and before.digest != record.digest:
            ledger.previous[model] = before
        ledger.active[model] = Installed(
            model=model,
            release=record.release,
            version=record.version,
            digest=record.digest,
            since=steps.now(),
            proven=False,
            variant=record.variant,
        )
        record.interruptions = 0
        watched = policy.wants_probation(self._settings, ledger, model) and not known
        steps.move(record, Event.ACTIVATED, self._run_probation if watched else self._proven)
