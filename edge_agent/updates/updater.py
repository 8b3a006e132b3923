"""The update room's door: builds and joins its parts, on the loop thread.

The rules stand in `policy.py` and `machine.py`. `planning.py` decides what is done next, one update at a time; `steps.py`
persists each step's intent before it is done; `fetching.py`, `trying.py` and `watching.py` do the work. The recorded active
model changes in the same write as the beginning of probation, after the swap: a crash before that write leaves the old one
recorded and the candidate to be tested again, a crash after it leaves the new one, still on probation.
"""

import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge_agent.loop import Loop
from edge_agent.update_settings import UpdateSettings
from edge_agent.updates import history, policy
from edge_agent.updates.active import ActiveModels
from edge_agent.updates.conditions import EARLIEST, Surroundings
from edge_agent.updates.fetching import Fetching
from edge_agent.updates.holding import Holding
from edge_agent.updates.ledger import Floors, Installed, Ledger, Move, UpdateRecord
from edge_agent.updates.machine import Event
from edge_agent.updates.own_device import note_cost
from edge_agent.updates.picking import Configured
from edge_agent.updates.planning import Planning
from edge_agent.updates.ports import Failure, Models, NoteWriter, Stage, Trust, Values
from edge_agent.updates.refreshing import Refreshing
from edge_agent.updates.steps import Steps
from edge_agent.updates.store import UpdateStore
from edge_agent.updates.trust.job import MetadataValid
from edge_agent.updates.trying import TRIED, Trying
from edge_agent.updates.watching import LOOK, Watching
from fleet_contract.messages import Desired
from fleet_contract.reasons import Reason
from fleet_contract.trust_report import TrustReport
from fleet_contract.update_report import UpdateReport
from fleet_contract.update_report import UpdateState as State

log = logging.getLogger(__name__)


class Updater:
    """The update room's door. Main thread only."""

    def __init__(
        self,
        settings: UpdateSettings,
        state_dir: Path,
        *,
        loop: Loop,
        values: Values,
        trust: Trust,
        stage: Stage,
        models: Models,
        note: NoteWriter,
        on_change: Callable[[], object],
        surroundings: Callable[[], Surroundings] = Surroundings,
        device_for: Callable[[str, Ledger], Configured] = lambda _model, _ledger: Configured(),
        configuring: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        look: float = LOOK,
    ) -> None:
        """`clock`: seconds since 1970. `look`: seconds between two looks at live inputs.

        `device_for`: what the choice of a variant depends on, for a model.
        `configuring()`: a configuration is fetched or taken up, so that no trust child may be started here.
        `on_change()` follows each change of `reports()`, `installed()` or `revision`.
        """
        self._settings = settings
        self._stage = stage
        self._on_change = on_change
        self._clock = clock
        self._store = store = UpdateStore(values, loop, retry=settings.retry_min)
        self._ledger = store.ledger
        self._floors = store.floors
        self._steps = Steps(
            settings,
            loop=loop,
            store=store,
            note=note,
            now=self._now,
            jitter=jitter,
            plan=self.plan,
            ended=self._on_end,
            changed=self.changed,
        )
        self._holding = Holding(settings, self._steps, store=store, stage=stage, clock=clock, surroundings=surroundings)
        self._watching = Watching(settings, self, models, loop, look)
        self._active = ActiveModels(
            settings,
            self,
            loop=loop,
            store=store,
            stage=stage,
            models=models,
            note=note,
            now=self._now,
            jitter=jitter,
        )
        self._trying = Trying(
            settings,
            self._steps,
            loop=loop,
            store=store,
            stage=stage,
            models=models,
            active=self._active,
            holding=self._holding,
            watching=self._watching,
            run_probation=self._run_probation,
            proven=self.proven,
        )
        self._refreshing = Refreshing(
            settings,
            state_dir / "updates",
            loop=loop,
            store=store,
            trust=trust,
            holding=self._holding,
            note=note,
            clock=clock,
            jitter=jitter,
            busy=lambda: self._is_fetching() or configuring(),
            changed=self.changed,
        )
        self._fetching = Fetching(
            settings,
            state_dir / "updates",
            self._steps,
            store=store,
            trust=trust,
            stage=stage,
            holding=self._holding,
            refreshing=self._refreshing,
            clock=clock,
            device_for=device_for,
            run_stage=self._trying.run_stage,
            run_test=self._trying.run_test,
        )
        self._planning = Planning(
            settings,
            self._steps,
            loop=loop,
            store=store,
            models=models,
            note=note,
            active=self._active,
            holding=self._holding,
            watching=self._watching,
            fetching=self._fetching,
            trying=self._trying,
            configuring=configuring,
            clean=self.clean,
        )

    @property
    def revision(self) -> int:
        """Of the last desired state taken in."""
        return self._ledger.revision

    @property
    def floors(self) -> Floors:
        """What may never sink, for what else is fetched with the same signed metadata."""
        return self._floors

    @property
    def fetching(self) -> bool:
        """Whether a trust child of this room has the signed metadata now."""
        return self._refreshing.running or self._is_fetching()

    def _is_fetching(self) -> bool:
        current = self._steps.current
        return current is not None and current.state in (State.FETCHING, State.VERIFYING)

    def take_in(self, seen: MetadataValid) -> None:
        """Take in the floors that another fetch with the same signed metadata has seen."""
        self._refreshing.learn_floors(seen)

    def receive(self, amount: int) -> None:
        """Another fetch has taken so many bytes from the network; kept at once, as a restart may follow."""
        self._holding.receive(amount)
        self._store.save()

    def trust(self) -> TrustReport | None:
        """How fresh the signed metadata is and what it has told; None where no updates are taken."""
        return self._refreshing.report()

    def on_connected(self) -> None:
        """The fleet link is up."""
        self._refreshing.on_connected()

    def reports(self) -> tuple[UpdateReport, ...]:
        """The newest update of each model."""
        return tuple(item.report() for _, item in sorted(self._ledger.records.items()))

    def installed(self) -> tuple[Installed, ...]:
        """The releases recorded as active. What really answers, the attestation, is the models' own to say."""
        return tuple(item for _, item in sorted(self._ledger.active.items()))

    @property
    def last_time(self) -> float:
        """A clock before this (seconds since 1970) is not believed."""
        return max(self._floors.last_time, EARLIEST)

    @property
    def received(self) -> int:
        """Bytes that trust children have fetched in this month."""
        return self._holding.received

    def moves(self) -> dict[str, tuple[Move, ...]]:
        """The newest moves of each model's updates, oldest first."""
        return dict(sorted(self._ledger.history.items()))

    # ---- start and stop ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the recorded models and go on with what a restart cut off."""
        for record in self._ledger.records.values():
            history.resume(self._ledger, record, self._now())
        self._active.start()
        self._refreshing.start()
        self._store.save(self._go_on)

    def _go_on(self) -> None:
        if self._ledger.revision:  # else agent.db is a fresh one, and knows nothing of what is here
            # Those of models that are not desired any more; those of an active one go when it is loaded.
            for model in self._stage.models() - self._ledger.active.keys():
                self.clean(model)
        for record in tuple(self._ledger.records.values()):
            if record.state is not State.PROBATION:
                continue
            if policy.interrupted_too_often(record, self._settings.max_attempts):
                text = f"cut off by {record.interruptions} restarts while it was on probation"
                self.breached(record, Failure(Reason.INTERRUPTED, text))
            else:
                self._watching.probation(record)
        self.plan()

    def stop(self) -> None:
        """End a running fetch; what was fetched stays for the next start."""
        self._active.stop()
        self._refreshing.stop()
        self._steps.stop()
        self._watching.stop()
        self._planning.stop()

    def quarantine(self, model: str, release: int, detail: str) -> None:
        """A release that answers has ended its workers too often, says the inference room."""
        self._watching.stop_probation(model)
        gives_way = self._active.quarantine(model, release, detail)
        current = self._steps.current
        if gives_way and current is not None and self.busy_with(model) and current.state is not State.ACTIVATING:
            self._trying.give_way(current)

    def on_desired(self, desired: Desired) -> bool:
        """Take in a desired state; returns False for one that is not newer than the last."""
        if desired.revision <= self._ledger.revision:
            return False
        self._ledger.revision = desired.revision
        self._ledger.desired = {item.model: item for item in desired.models}
        self._store.save(self.plan)
        self._on_change()
        return True

    # ---- an operator's word -----------------------------------------------------------------------------------------

    def hold(self, model: str | None, why: str = "") -> tuple[str, ...]:
        """Let no update of the model (None: of any) go on; returns all holds. It outlives restarts."""
        self._holding.hold(model, why, self._now())
        self._on_change()
        self.plan()
        return self.holds()

    def release(self, model: str | None) -> tuple[str, ...]:
        """End the model's hold, or with None every one; returns those that were ended."""
        ended = self._holding.let_go(model)
        self._on_change()
        self.plan()
        return ended

    def holds(self) -> tuple[str, ...]:
        """Models whose updates are held, `*` for all."""
        return tuple(sorted(self._ledger.holds))

    # ---- what to do next --------------------------------------------------------------------------------------------

    def plan(self) -> None:
        """Look at every model, and begin the next update if none is under way."""
        self._planning.plan()

    # ---- what is told by those who carry it out ------------------------------------------------------------------------

    def shadowed(self, record: UpdateRecord) -> None:
        """The candidate has done well beside the incumbent."""
        self._trying.shadowed(record)

    def shadow_failed(self, record: UpdateRecord, failure: Failure) -> None:
        """The candidate has broken a limit beside the incumbent."""
        self._trying.shadow_failed(record, failure)

    def _run_probation(self, record: UpdateRecord) -> None:
        """Other models' updates go on meanwhile."""
        self._steps.current = None
        self._watching.probation(record)
        self.plan()

    def proven(self, record: UpdateRecord) -> None:
        """The release is the last good one now."""
        ledger, model = self._ledger, record.model
        active = ledger.active.get(model)
        if record.state is not State.PROBATION or active is None:
            return
        ledger.active[model] = active = msgspec.structs.replace(active, proven=True)
        ledger.factory.setdefault(model, active)
        note_cost(ledger, record)
        self._steps.end(record, Event.PROVEN, None)

    def breached(self, record: UpdateRecord, failure: Failure) -> None:
        """The release has broken a limit after the switch: the one before takes over, without a word from the controller."""
        if record.state is not State.PROBATION or self._steps.stopped:
            return
        self._watching.stop_probation(record.model)
        if not self._active.take_back(record.model, record.release, failure):
            record.reason, record.detail = failure.reason, failure.detail
            self._steps.tell(record, f"no release to go back to is left: {failure.detail}")
            self.proven(record)

    def watched(self, *, keep: bool) -> None:
        """There is new evidence."""
        if keep:
            self._store.save()
        self.changed()

    def _on_end(self, record: UpdateRecord) -> None:
        if record is self._steps.current:
            self._steps.current = None
        self.clean(record.model)
        self.plan()

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def busy_with(self, model: str) -> bool:
        """Whether a trial of another release of this model is under way, or next."""
        current = self._steps.current
        return current is not None and current.model == model and current.state in TRIED

    def clean(self, model: str) -> None:
        """Remove the bundles that nothing in the ledger names."""
        ledger = self._ledger
        installed = (place.get(model) for place in (ledger.active, ledger.previous, ledger.factory))
        digests = policy.digests_to_keep(*installed, record=ledger.records.get(model))
        try:
            self._stage.keep(model, digests)
        except OSError as error:
            log.warning("old bundles not removed", extra={"model": model, "error": str(error)})

    def changed(self) -> None:
        """Tell that `reports()`, `installed()` or `revision` is another now."""
        if not self._steps.stopped:
            self._on_change()
