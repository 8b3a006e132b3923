"""Decides which update is next: holds desired state against what is here, and begins one update at a time."""

from collections.abc import Callable
from typing import Final

from edge_agent.loop import Loop, Timer
from edge_agent.update_settings import UpdateSettings
from edge_agent.updates import history, policy
from edge_agent.updates.active import ActiveModels
from edge_agent.updates.fetching import Fetching
from edge_agent.updates.holding import Holding
from edge_agent.updates.ledger import UpdateRecord
from edge_agent.updates.machine import FINAL, SETTLED, Event
from edge_agent.updates.policy import Action
from edge_agent.updates.ports import Failure, Models, NoteWriter
from edge_agent.updates.steps import Steps
from edge_agent.updates.store import UpdateStore
from edge_agent.updates.trying import Trying
from edge_agent.updates.watching import Watching
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import HOLDS, Reason
from fleet_contract.update_report import UpdateState as State

TURN: Final = 1.0
"""Seconds until it is looked at again whether a configuration is done with the signed metadata."""


class Planning:
    """Main thread only."""

    def __init__(
        self,
        settings: UpdateSettings,
        steps: Steps,
        *,
        loop: Loop,
        store: UpdateStore,
        models: Models,
        note: NoteWriter,
        active: ActiveModels,
        holding: Holding,
        watching: Watching,
        fetching: Fetching,
        trying: Trying,
        configuring: Callable[[], bool],
        clean: Callable[[str], object],
    ) -> None:
        """`configuring()`: no trust child may be started now.

        `clean(model)` removes the bundles that nothing in the ledger names.
        """
        self._settings, self._steps, self._loop = settings, steps, loop
        self._store, self._ledger, self._floors = store, store.ledger, store.floors
        self._models, self._note, self._configuring, self._clean = models, note, configuring, clean
        self._active, self._holding, self._watching = active, holding, watching
        self._fetching, self._trying = fetching, trying
        self._look_again: Timer | None = None

    def plan(self) -> None:
        """Look at every model, and begin the next update if none is under way."""
        if self._steps.stopped:
            return
        ledger = self._ledger
        for model in sorted({*ledger.desired, *ledger.active, *ledger.records}):
            self._plan_model(model)
        if self._steps.current is None:
            self._take_next()

    def stop(self) -> None:
        """Look no more."""
        if self._look_again is not None:
            self._look_again.cancel()
            self._look_again = None

    def _plan_model(self, model: str) -> None:
        ledger = self._ledger
        record, desired = ledger.records.get(model), ledger.desired.get(model)
        action = policy.choose(desired, record, ledger.active.get(model), self._floors.releases.get(model, 0))
        if action is Action.NOTHING or (record is not None and record.state is State.ACTIVATING):
            return
        if record is not None and record.state not in FINAL:
            self._supersede(record)
        if action is Action.REMOVE or desired is None:
            self._remove(model)
            return
        fresh = UpdateRecord(model=model, release=desired.release, since=self._steps.now())
        history.begin(ledger, fresh)
        if action is Action.ADOPT:
            self._adopt(fresh)
        elif action is Action.REFUSE:
            floor = self._floors.releases[model]
            failure = Failure(Reason.RELEASE_BELOW_FLOOR, f"release {desired.release} is below {floor}")
            self._steps.end(fresh, Event.FAILED, failure)
        else:
            self._steps.changed()
            self._store.save()

    def _take_next(self) -> None:
        self.stop()
        look_again: list[float] = []
        for model, record in sorted(self._ledger.records.items()):
            if record.state in SETTLED or self._steps.is_backing_off(model) or self._active.is_loading(model):
                continue
            given_up = policy.interrupted_too_often(record, self._settings.max_attempts)
            begins = record.state is State.WAITING and not given_up
            held = self._holding.before_begin(record) if begins else None
            if held is not None:
                look_again.append(self._holding.wait(record, held))
                continue
            if begins and self._configuring():
                look_again.append(TURN)
                continue
            self._steps.current = record
            if given_up:
                text = f"cut off by {record.interruptions} restarts"
                self._steps.end(record, Event.FAILED, Failure(Reason.INTERRUPTED, text))
            elif record.state is State.STAGING:
                self._trying.run_stage(record)
            elif record.state is State.TESTING:
                self._trying.run_test(record)
            else:
                record.attempts += 1
                if record.reason in HOLDS:
                    record.reason = record.detail = record.until = None
                self._steps.move(record, Event.BEGIN, self._fetching.run)
            return
        if look_again:
            self._look_again = self._loop.call_later(min(look_again), self.plan)

    def _adopt(self, record: UpdateRecord) -> None:
        active = self._ledger.active[record.model]
        record.version, record.digest, record.variant = active.version, active.digest, active.variant
        self._steps.end(record, Event.ALREADY_ACTIVE, None)

    def _supersede(self, record: UpdateRecord) -> None:
        if record is self._steps.current:
            self._steps.end_step()
            self._steps.current = None
            # While the recorded release is being loaded, the trial of this model is that one's.
            if record.state in (State.TESTING, State.SHADOWING) and not self._active.is_loading(record.model):
                self._models.cancel_test(record.model)
        self._watching.stop_probation(record.model)
        self._steps.stop_backing_off(record.model)
        record.reason = Reason.SUPERSEDED
        history.advance(self._ledger, record, Event.SUPERSEDED, self._steps.now())
        self._steps.tell(record, "another release or none is desired now")

    def _remove(self, model: str) -> None:
        ledger = self._ledger
        active = ledger.active.pop(model, None)
        ledger.records.pop(model, None)
        ledger.previous.pop(model, None)
        ledger.factory.pop(model, None)
        ledger.history.pop(model, None)
        self._active.forget(model)
        if active is not None:
            self._models.deactivate(model)
            self._note(
                kind=NoteKind.UPDATE, model=model, release=active.release, detail="removed: the model is not desired any more"
            )
        self._store.save(lambda: self._clean(model))
        self._steps.changed()
