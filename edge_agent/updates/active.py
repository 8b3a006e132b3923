"""Has the recorded releases answer: loads them at start, tries again, and goes back when one is broken."""

from collections.abc import Callable
from typing import Protocol

from edge_agent.loop import Loop
from edge_agent.update_settings import UpdateSettings
from edge_agent.updates import policy
from edge_agent.updates.history import advance
from edge_agent.updates.ledger import Installed, UpdateRecord
from edge_agent.updates.machine import Event, allows
from edge_agent.updates.ports import Candidate, Failure, Models, NoteWriter, Stage
from edge_agent.updates.store import UpdateStore
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason
from fleet_contract.update_report import UpdateState as State


class Owner(Protocol):
    """What is needed of the updater, which decides what is done next."""

    def plan(self) -> None:
        """Look for what to do next."""

    def changed(self) -> None:
        """Tell that reports or installed releases are others now."""

    def busy_with(self, model: str) -> bool:
        """Whether a trial of another release of this model is under way, or next."""

    def clean(self, model: str) -> None:
        """Remove the bundles that nothing in the ledger names."""


class ActiveModels:
    """Keeps the models that answer in step with the ledger's active releases. Main thread only."""

    def __init__(
        self,
        settings: UpdateSettings,
        owner: Owner,
        *,
        loop: Loop,
        store: UpdateStore,
        stage: Stage,
        models: Models,
        note: NoteWriter,
        now: Callable[[], str],
        jitter: Callable[[], float],
    ) -> None:
        """`now`: RFC 3339 text."""
        self._settings = settings
        self._owner = owner
        self._loop = loop
        self._store = store
        self._ledger = store.ledger
        self._floors = store.floors
        self._stage = stage
        self._models = models
        self._note = note
        self._now = now
        self._jitter = jitter
        self._starting: set[str] = set()
        self._failures: dict[str, int] = {}
        self._stopped = False

    def start(self) -> None:
        """Load every recorded release."""
        for installed in tuple(self._ledger.active.values()):
            self._load(installed)

    def stop(self) -> None:
        """Load nothing more."""
        self._stopped = True

    def is_loading(self, model: str) -> bool:
        """Whether the recorded release is being loaded: an update of the model waits for that."""
        return model in self._starting

    def forget(self, model: str) -> None:
        """The model is removed: a load that is under way ends without a word, and nobody waits for it."""
        self._starting.discard(model)
        self._failures.pop(model, None)

    def candidate(self, model: str, release: int, version: str, digest: str) -> Candidate | None:
        """The release with its bundle on disk; None where that is gone."""
        folder = self._stage.folder(model, digest)
        if folder is None:
            return None
        return Candidate(model=model, release=release, version=version, digest=digest, folder=folder)

    def take_back(self, model: str, release: int, failure: Failure) -> bool:
        """The active release does badly: the one before takes over. Until then the bad one answers. False if there is none."""
        installed = self._ledger.active.get(model)
        if installed is None or installed.release != release or self._previous(model) is None:
            return False
        self._fall_back(installed, failure, Event.BREACHED)
        return True

    def quarantine(self, model: str, release: int, detail: str) -> bool:
        """The active release ends its workers too often: the one before takes over. False if there is none."""
        installed = self._ledger.active.get(model)
        if self._stopped or installed is None or installed.release != release:
            return False
        failure = Failure(Reason.QUARANTINED, detail)
        if self._previous(model) is not None:
            self._models.suspend(model)
            self._fall_back(installed, failure)
            return True
        self._note(
            kind=NoteKind.WORKER,
            reason=failure.reason,
            model=model,
            release=release,
            detail=f"no release before it is here, so its worker is started again at ever longer intervals: {detail}",
        )
        return False

    def _load(self, installed: Installed) -> None:
        model = installed.model
        if self._stopped or self._ledger.active.get(model) != installed:
            return
        if self._owner.busy_with(model):
            # Loading now would end the trial that is under way, and its outcome may make this needless.
            self._starting.discard(model)
            self._loop.call_later(self._settings.retry_min, lambda: self._load(installed))
            return
        candidate = self.candidate(model, installed.release, installed.version, installed.digest)
        if candidate is None:
            self._fall_back(installed, Failure(Reason.BUNDLE_INVALID, "the unpacked bundle is gone"))
            return
        self._starting.add(model)
        self._models.activate(candidate, lambda failure: self._on_loaded(installed, failure))

    def _on_loaded(self, installed: Installed, failure: Failure | None) -> None:
        model = installed.model
        self._starting.discard(model)
        if failure is None:
            self._failures.pop(model, None)
            # Not before: one that is gone back from may answer until now, and a restart may have come before an end's cleaning.
            self._owner.clean(model)
        elif self._ledger.active.get(model) == installed:
            self._on_not_loaded(installed, failure)
        self._owner.changed()
        self._owner.plan()

    def _on_not_loaded(self, installed: Installed, failure: Failure) -> None:
        """A device that is busy while it boots is no reason to go back, and the only release there is has to be tried on."""
        settings, model = self._settings, installed.model
        self._failures[model] = failures = self._failures.get(model, 0) + 1
        patient = failure.reason is Reason.TEST_TIMEOUT and policy.may_retry(failures, settings.max_attempts)
        if not patient and self._previous(model) is not None:
            self._fall_back(installed, failure)
            return
        if failures == 1:
            self._tell_not_loaded(installed, failure)
        delay = policy.retry_delay(failures, settings.retry_min, settings.retry_max, self._jitter())
        self._loop.call_later(delay, lambda: self._load(installed))

    def _previous(self, model: str) -> Installed | None:
        """The release before, else the first good one, if its bundle is here and its release was not revoked since."""
        active = self._ledger.active.get(model)
        for place in (self._ledger.previous, self._ledger.factory):
            found = place.get(model)
            if found is None or found.release < self._floors.releases.get(model, 0):
                continue
            if (active is None or found.digest != active.digest) and self._stage.folder(model, found.digest) is not None:
                return found
        return None

    def _tell_not_loaded(self, installed: Installed, failure: Failure) -> None:
        self._note(
            kind=NoteKind.UPDATE,
            reason=failure.reason,
            model=installed.model,
            release=installed.release,
            detail=f"the active model cannot be loaded: {failure.detail}",
        )

    def _fall_back(self, installed: Installed, failure: Failure, event: Event = Event.BROKEN) -> None:
        """To the release before; where there is none, to none, so that a release that is still desired is fetched again."""
        ledger, model = self._ledger, installed.model
        previous = self._previous(model)
        ledger.previous.pop(model, None)
        self._failures.pop(model, None)
        if previous is None:
            del ledger.active[model]
            self._tell_not_loaded(installed, failure)
            self._store.save(self._owner.plan)
            return
        ledger.active[model] = previous
        record = ledger.records.get(model)
        if record is None or record.release == installed.release:
            if record is None or not allows(record.state, Event.BROKEN):
                record = UpdateRecord(model=model, release=installed.release, since=self._now(), state=State.COMMITTED)
                record.version, record.digest = installed.version, installed.digest
                ledger.records[model] = record
            record.reason, record.detail = failure.reason, failure.detail
            advance(ledger, record, event if allows(record.state, event) else Event.BROKEN, self._now())
        self._note(
            kind=NoteKind.UPDATE,
            reason=failure.reason,
            model=model,
            release=installed.release,
            state=State.ROLLED_BACK,
            detail=f"back to release {previous.release}: {failure.detail}",
        )
        self._starting.add(model)
        self._store.save(lambda: self._load(previous))
        self._owner.changed()
