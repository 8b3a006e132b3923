"""Drives updates: one at a time, each step's intent persisted before it is done, on the loop thread.

What is decided stands in `policy.py` and `machine.py`; this file carries it out. The recorded active model changes in the same
write as the beginning of probation, after the swap: a crash before that write leaves the old one recorded and the candidate to
be tested again, a crash after it leaves the new one, still on probation.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.loop import Loop, Timer
from edge_agent.settings import UpdateSettings
from edge_agent.updates import policy
from edge_agent.updates.active import ActiveModels
from edge_agent.updates.ledger import Installed, UpdateRecord
from edge_agent.updates.machine import FINAL, RESUME, SETTLED, Event, step
from edge_agent.updates.policy import Action
from edge_agent.updates.ports import Failure, Fetch, Models, NoteWriter, Stage, Trust, Values
from edge_agent.updates.process import make_job
from edge_agent.updates.store import UpdateStore
from edge_agent.updates.trust.job import Done, Failed, Fetched, Message, MetadataValid, Progress, Verified
from edge_agent.updates.watching import LOOK, Watching
from fleet_contract.bundle import BundleError
from fleet_contract.messages import Desired, NoteKind, UpdateReport
from fleet_contract.messages import UpdateState as State
from fleet_contract.reasons import Reason

log = logging.getLogger(__name__)

TRIED: Final = (State.TESTING, State.SHADOWING, State.ACTIVATING)
"""A worker of the candidate runs."""


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
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        look: float = LOOK,
    ) -> None:
        """`clock`: seconds since 1970. `look`: seconds between two looks at live inputs.

        `on_change()` follows each change of `reports()`, `installed()` or `revision`.
        """
        self._settings = settings
        self._folder = state_dir / "updates"
        self._loop = loop
        self._trust = trust
        self._stage = stage
        self._models = models
        self._note = note
        self._on_change = on_change
        self._clock = clock
        self._jitter = jitter
        self._store = UpdateStore(values, loop, retry=settings.retry_min)
        self._ledger = self._store.ledger
        self._floors = self._store.floors
        self._current: UpdateRecord | None = None
        self._fetch: Fetch | None = None
        self._fetched_before = 0
        self._guard: Timer | None = None
        self._backing_off: dict[str, Timer] = {}
        self._stopped = False
        self._watching = Watching(settings, self, models, loop, look)
        self._active = ActiveModels(
            settings,
            self,
            loop=loop,
            store=self._store,
            stage=stage,
            models=models,
            note=note,
            now=self._now,
            jitter=jitter,
        )

    @property
    def revision(self) -> int:
        """Of the last desired state taken in."""
        return self._ledger.revision

    def reports(self) -> tuple[UpdateReport, ...]:
        """The newest update of each model."""
        return tuple(item.report() for _, item in sorted(self._ledger.records.items()))

    def installed(self) -> tuple[Installed, ...]:
        """The releases recorded as active. What really answers, the attestation, is the models' own to say."""
        return tuple(item for _, item in sorted(self._ledger.active.items()))

    # ---- start and stop ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the recorded models and go on with what a restart cut off."""
        for record in self._ledger.records.values():
            if record.state not in FINAL and record.state is not State.WAITING:
                record.interruptions += 1
            record.state = RESUME[record.state]
        self._active.start()
        self._store.save(self._go_on)

    def _go_on(self) -> None:
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
        self._stopped = True
        self._active.stop()
        self._end_step()
        self._watching.stop()
        for timer in self._backing_off.values():
            timer.cancel()

    def quarantine(self, model: str, release: int, detail: str) -> None:
        """A release that answers has ended its workers too often, says the inference room."""
        self._watching.stop_probation(model)
        gives_way = self._active.quarantine(model, release, detail)
        if gives_way and self._current is not None and self.busy_with(model) and self._current.state is not State.ACTIVATING:
            self._start_over(self._current)

    def on_desired(self, desired: Desired) -> bool:
        """Take in a desired state; returns False for one that is not newer than the last."""
        if desired.revision <= self._ledger.revision:
            return False
        self._ledger.revision = desired.revision
        self._ledger.desired = {item.model: item for item in desired.models}
        self._store.save(self.plan)
        self._on_change()
        return True

    # ---- what to do next --------------------------------------------------------------------------------------------

    def plan(self) -> None:
        """Look at every model, and begin the next update if none is under way."""
        if self._stopped:
            return
        ledger = self._ledger
        for model in sorted({*ledger.desired, *ledger.active, *ledger.records}):
            self._plan_model(model)
        if self._current is None:
            self._take_next()

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
        ledger.records[model] = fresh = UpdateRecord(model=model, release=desired.release, since=self._now())
        if action is Action.ADOPT:
            self._adopt(fresh)
        elif action is Action.REFUSE:
            floor = self._floors.releases[model]
            self._end(fresh, Event.FAILED, Failure(Reason.RELEASE_BELOW_FLOOR, f"release {desired.release} is below {floor}"))
        else:
            self.changed()
            self._store.save()

    def _take_next(self) -> None:
        for model, record in sorted(self._ledger.records.items()):
            if record.state in SETTLED or model in self._backing_off or self._active.is_loading(model):
                continue
            self._current = record
            if policy.interrupted_too_often(record, self._settings.max_attempts):
                text = f"cut off by {record.interruptions} restarts"
                self._end(record, Event.FAILED, Failure(Reason.INTERRUPTED, text))
            elif record.state is State.STAGING:
                self._run_stage(record)
            elif record.state is State.TESTING:
                self._run_test(record)
            else:
                record.attempts += 1
                self._move(record, Event.BEGIN, self._run_fetch)
            return

    def _adopt(self, record: UpdateRecord) -> None:
        active = self._ledger.active[record.model]
        record.version, record.digest = active.version, active.digest
        self._end(record, Event.ALREADY_ACTIVE, None)

    def _supersede(self, record: UpdateRecord) -> None:
        if record is self._current:
            self._end_step()
            self._current = None
            if record.state in (State.TESTING, State.SHADOWING):
                self._models.cancel_test(record.model)
        self._watching.stop_probation(record.model)
        self._stop_backing_off(record.model)
        record.state = step(record.state, Event.SUPERSEDED)
        record.reason = Reason.SUPERSEDED
        self._tell(record, "another release or none is desired now")

    def _remove(self, model: str) -> None:
        ledger = self._ledger
        active = ledger.active.pop(model, None)
        ledger.records.pop(model, None)
        ledger.previous.pop(model, None)
        ledger.factory.pop(model, None)
        if active is not None:
            self._models.deactivate(model)
            self._note(
                kind=NoteKind.UPDATE, model=model, release=active.release, detail="removed: the model is not desired any more"
            )
        self._store.save(lambda: self._clean(model))
        self.changed()

    # ---- fetching and verifying -------------------------------------------------------------------------------------

    def _run_fetch(self, record: UpdateRecord) -> None:
        settings = self._settings
        if settings.url is None:
            self._end(
                record, Event.FAILED, Failure(Reason.DOWNLOAD_FAILED, "this device takes no updates: updates.url is not set")
            )
            return
        kept = self._kept(record)
        self._fetched_before = record.fetched_bytes
        try:
            job = make_job(settings, self._folder, record, self._floors, self._clock(), kept.digest if kept else None)
            self._fetch = self._trust.start(
                job, lambda line: self._on_line(record, line), lambda text: self._on_fetch_end(record, text)
            )
        except (OSError, ValueError) as error:
            self._retry(record, Failure(Reason.DOWNLOAD_FAILED, f"cannot start fetching: {error}"))
            return
        self._guard = self._loop.call_later(
            settings.fetch_timeout, lambda: self._on_fetch_end(record, f"not done within {settings.fetch_timeout:g} s")
        )

    def _on_line(self, record: UpdateRecord, line: Message) -> None:
        match line:
            case MetadataValid():
                if self._floors.take_in(record.model, line):
                    self._store.save()
            case Verified():
                record.version, record.digest, record.total_bytes = line.version, line.digest, line.length
            case Progress():
                if policy.made_progress(self._fetched_before, line.fetched):
                    record.attempts = 1
                record.fetched_bytes = max(record.fetched_bytes, line.fetched)
                self.changed()
            case Fetched():
                self._move(record, Event.FETCHED)
            case Done():
                self._on_done(record, line)
            case Failed():
                self._end_step()
                failure = Failure(line.reason, line.detail)
                kept = self._kept(record)
                offline = line.temporary and line.reason is Reason.DOWNLOAD_FAILED
                if offline and kept is not None and record.state is State.FETCHING:
                    # Going back must work offline too; the floor was raised by every metadata seen so far.
                    log.info("no metadata, using the bundle on disk", extra={"model": record.model, "detail": line.detail})
                    self._use_kept(record, kept)
                elif line.temporary:
                    self._retry(record, failure)
                else:
                    self._end(record, Event.FAILED, failure)

    def _on_done(self, record: UpdateRecord, line: Done) -> None:
        self._end_step()
        kept = self._kept(record)
        record.version, record.digest = line.version, line.digest
        if line.path is not None:
            record.file = line.path
            self._move(record, Event.VERIFIED, self._run_stage)
        elif kept is not None:
            self._use_kept(record, kept)
        else:
            self._retry(record, Failure(Reason.BUNDLE_INVALID, "the bundle on disk is gone"))

    def _on_fetch_end(self, record: UpdateRecord, text: str) -> None:
        if record is self._current and record.state in (State.FETCHING, State.VERIFYING):
            self._end_step()
            self._retry(record, Failure(Reason.DOWNLOAD_FAILED, text))

    def _kept(self, record: UpdateRecord) -> Installed | None:
        """The desired release, if it is unpacked here from earlier."""
        for place in (self._ledger.previous, self._ledger.active, self._ledger.factory):
            installed = place.get(record.model)
            if installed is not None and installed.release == record.release:
                return installed if self._stage.folder(record.model, installed.digest) is not None else None
        return None

    def _use_kept(self, record: UpdateRecord, kept: Installed) -> None:
        record.version, record.digest = kept.version, kept.digest
        self._move(record, Event.ON_DISK, self._run_test)

    # ---- staging, testing, activating -------------------------------------------------------------------------------

    def _run_stage(self, record: UpdateRecord) -> None:
        path = Path(record.file)
        if not path.exists() and self._stage.folder(record.model, record.digest) is None:
            self._retry(record, Failure(Reason.DOWNLOAD_FAILED, "the verified bundle is gone"))
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
        if record is not self._current:
            return
        if isinstance(error, BundleError):
            self._end(record, Event.FAILED, Failure(error.reason, str(error)))
        elif error is not None:
            self._retry(record, Failure(Reason.DISK_FULL, f"the bundle cannot be unpacked: {error}"))
        else:
            self._move(record, Event.STAGED, self._run_test)

    def _run_test(self, record: UpdateRecord) -> None:
        if record.file:
            Path(record.file).unlink(missing_ok=True)
            record.file = ""
        if self._active.is_loading(record.model):
            # Both are trials of one model, and a later one ends the one before it.
            self._guard = self._loop.call_later(self._settings.retry_min, lambda: self._run_test(record))
            return
        candidate = self._active.candidate(record.model, record.release, record.version, record.digest)
        if candidate is None:
            self._retry(record, Failure(Reason.BUNDLE_INVALID, "the unpacked bundle is gone"))
            return
        seconds = self._settings.test_timeout

        def late() -> None:
            self._models.cancel_test(record.model)
            self._on_tested(record, Failure(Reason.TEST_TIMEOUT, f"the golden samples did not finish within {seconds:g} s"))

        self._guard = self._loop.call_later(seconds, late)
        self._models.test(candidate, lambda outcome: self._on_tested(record, outcome))

    def _on_tested(self, record: UpdateRecord, failure: Failure | None) -> None:
        if record is not self._current or record.state is not State.TESTING:
            return
        self._end_step()
        if failure is not None:
            self._end(record, Event.FAILED, failure)
        elif policy.wants_shadow(self._settings, self._ledger, record):
            self._move(record, Event.PASSED, self._run_shadow)
        else:
            self._move(record, Event.UNSHADOWED, self._run_activate)

    # ---- shadowing, activating, probation ---------------------------------------------------------------------------

    def _run_shadow(self, record: UpdateRecord) -> None:
        if not self._watching.shadow(record):
            # There is nobody to stand beside, or its worker has ended: then the switch tries it anew.
            self._move(record, Event.SHADOWED, self._run_activate)

    def shadowed(self, record: UpdateRecord) -> None:
        """The candidate has done well beside the incumbent."""
        if record is self._current and record.state is State.SHADOWING:
            self._move(record, Event.SHADOWED, self._run_activate)

    def shadow_failed(self, record: UpdateRecord, failure: Failure) -> None:
        """The candidate has broken a limit; nobody has seen what it said."""
        if record is self._current and record.state is State.SHADOWING:
            self._models.cancel_test(record.model)
            self._end(record, Event.FAILED, failure)

    def _start_over(self, record: UpdateRecord) -> None:
        """What the candidate stands beside gives way to another: that one is loaded first, and the candidate is tried again."""
        self._end_step()
        self._watching.stop_shadow()
        self._models.cancel_test(record.model)
        self._move(record, Event.RETRY)
        self._current = None
        self._loop.post(self.plan)

    def _run_activate(self, record: UpdateRecord) -> None:
        candidate = self._active.candidate(record.model, record.release, record.version, record.digest)
        if candidate is None:
            self._on_activated(record, Failure(Reason.LOAD_FAILED, "the unpacked bundle is gone"))
            return
        record.incumbent = self._models.figures(record.model) if record.model in self._ledger.active else None
        self._models.activate(candidate, lambda failure: self._on_activated(record, failure))

    def _on_activated(self, record: UpdateRecord, failure: Failure | None) -> None:
        if record is not self._current or record.state is not State.ACTIVATING:
            return
        if failure is not None:
            # A candidate that was not switched to may still have the incumbent's place.
            self._models.cancel_test(record.model)
            self._end(record, Event.FAILED, failure)
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
            since=self._now(),
            proven=False,
        )
        record.interruptions = 0
        watched = policy.wants_probation(self._settings, ledger, model) and not known
        self._move(record, Event.ACTIVATED, self._run_probation if watched else self.proven)

    def _run_probation(self, record: UpdateRecord) -> None:
        """Other models' updates go on meanwhile."""
        self._current = None
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
        self._end(record, Event.PROVEN, None)

    def breached(self, record: UpdateRecord, failure: Failure) -> None:
        """The release has broken a limit after the switch: the one before takes over, without a word from the controller."""
        if record.state is not State.PROBATION or self._stopped:
            return
        self._watching.stop_probation(record.model)
        if not self._active.take_back(record.model, record.release, failure):
            record.reason, record.detail = failure.reason, failure.detail
            self._tell(record, f"no release to go back to is left: {failure.detail}")
            self.proven(record)

    def watched(self, *, keep: bool) -> None:
        """There is new evidence."""
        if keep:
            self._store.save()
        self.changed()

    # ---- steps ------------------------------------------------------------------------------------------------------

    def _move(self, record: UpdateRecord, event: Event, then: Callable[[UpdateRecord], object] | None = None) -> None:
        """Persist the next state, then do its work, unless something else was decided in between."""
        record.state = step(record.state, event)
        record.since = self._now()
        state = record.state
        log.info("update", extra={"model": record.model, "release": record.release, "state": state})
        self.changed()

        def go_on() -> None:
            if then is not None and record is self._current and record.state is state and not self._stopped:
                then(record)

        self._store.save(go_on)

    def _retry(self, record: UpdateRecord, failure: Failure) -> None:
        settings = self._settings
        if not policy.may_retry(record.attempts, settings.max_attempts):
            self._end(record, Event.FAILED, failure)
            return
        self._end_step()
        record.reason, record.detail = failure.reason, failure.detail
        delay = policy.retry_delay(record.attempts, settings.retry_min, settings.retry_max, self._jitter())
        self._backing_off[record.model] = self._loop.call_later(delay, lambda: self._try_again(record.model))
        self._move(record, Event.RETRY)
        self._current = None
        self._loop.post(self.plan)

    def _try_again(self, model: str) -> None:
        self._stop_backing_off(model)
        self.plan()

    def _end(self, record: UpdateRecord, event: Event, failure: Failure | None) -> None:
        """The note goes first: cut off in between, the update ends once more and is told twice, never not at all."""
        if record is self._current:
            self._end_step()
        record.state = step(record.state, event)
        record.since = self._now()
        record.reason = failure.reason if failure is not None else None
        record.detail = failure.detail if failure is not None else None
        if record.file:
            Path(record.file).unlink(missing_ok=True)
            record.file = ""
        self._tell(record, failure.detail if failure is not None else f"release {record.release} is active")
        self._store.save(lambda: self._after_end(record))
        self.changed()

    def _after_end(self, record: UpdateRecord) -> None:
        if record is self._current:
            self._current = None
        self._clean(record.model)
        self.plan()

    def _tell(self, record: UpdateRecord, detail: str) -> None:
        self._note(
            kind=NoteKind.UPDATE,
            reason=record.reason,
            model=record.model,
            release=record.release,
            state=record.state,
            detail=detail,
        )

    def _end_step(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()
            self._fetch = None
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
        self._watching.stop_shadow()

    def _stop_backing_off(self, model: str) -> None:
        timer = self._backing_off.pop(model, None)
        if timer is not None:
            timer.cancel()

    def _clean(self, model: str) -> None:
        ledger = self._ledger
        installed = (place.get(model) for place in (ledger.active, ledger.previous, ledger.factory))
        digests = policy.digests_to_keep(*installed, record=ledger.records.get(model))
        try:
            self._stage.keep(model, digests)
        except OSError as error:
            log.warning("old bundles not removed", extra={"model": model, "error": str(error)})

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def busy_with(self, model: str) -> bool:
        """Whether a trial of another release of this model is under way, or next."""
        current = self._current
        return current is not None and current.model == model and current.state in TRIED

    def changed(self) -> None:
        """Tell that `reports()`, `installed()` or `revision` is another now."""
        if not self._stopped:
            self._on_change()
