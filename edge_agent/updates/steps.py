"""The update that is under way, and how it gets from one state to the next: the intent is persisted, then the work is done."""

import logging
from collections.abc import Callable
from pathlib import Path

from edge_agent.loop import Loop, Timer
from edge_agent.update_settings import UpdateSettings
from edge_agent.updates import policy
from edge_agent.updates.conditions import Held
from edge_agent.updates.history import advance
from edge_agent.updates.ledger import UpdateRecord
from edge_agent.updates.machine import Event
from edge_agent.updates.ports import Failure, NoteWriter
from edge_agent.updates.store import UpdateStore
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason

log = logging.getLogger(__name__)


class Steps:
    """What all that drive an update share. Main thread only."""

    def __init__(
        self,
        settings: UpdateSettings,
        *,
        loop: Loop,
        store: UpdateStore,
        note: NoteWriter,
        now: Callable[[], str],
        jitter: Callable[[], float],
        plan: Callable[[], object],
        ended: Callable[[UpdateRecord], object],
        changed: Callable[[], object],
    ) -> None:
        """`now`: RFC 3339 text. `plan()` looks for the next update; `ended(record)` follows the durable end of one."""
        self._settings = settings
        self._loop = loop
        self._store = store
        self._note = note
        self._jitter = jitter
        self._plan = plan
        self._ended = ended
        self.now = now
        self.changed = changed
        self.current: UpdateRecord | None = None
        self._ends_with: list[Callable[[], object]] = []
        self._guard: Timer | None = None
        self._repeated: Timer | None = None
        self._backing_off: dict[str, Timer] = {}
        self._stopped = False

    def stop(self) -> None:
        """Go no further."""
        self._stopped = True
        self.end_step()
        for timer in self._backing_off.values():
            timer.cancel()

    @property
    def stopped(self) -> bool:
        """Whether nothing is begun any more."""
        return self._stopped

    def move(self, record: UpdateRecord, event: Event, then: Callable[[UpdateRecord], object] | None = None) -> None:
        """Persist the next state, then do its work, unless something else was decided in between."""
        advance(self._store.ledger, record, event, self.now())
        state = record.state
        log.info("update", extra={"model": record.model, "release": record.release, "state": state})
        self.changed()

        def go_on() -> None:
            if then is not None and record is self.current and record.state is state and not self._stopped:
                then(record)

        self._store.save(go_on)

    def retry(self, record: UpdateRecord, failure: Failure, asked: float = 0.0) -> None:
        """Try again later, in `asked` seconds at the soonest, or end it if the attempts are used up."""
        settings = self._settings
        if not policy.may_retry(record.attempts, settings.max_attempts):
            if failure.reason is not Reason.DISK_FULL:
                self.end(record, Event.FAILED, failure)
                return
            # Not the release's fault, and nobody may be there to desire it again: it has time until there is room.
            record.attempts, asked = 0, settings.retry_max
        record.reason, record.detail = failure.reason, failure.detail
        delay = policy.retry_delay(record.attempts, settings.retry_min, settings.retry_max, self._jitter(), asked)
        self._backing_off[record.model] = self._loop.call_later(delay, lambda: self._try_again(record.model))
        self.start_over(record)

    def start_over(self, record: UpdateRecord) -> None:
        """Back to waiting; another update may have its turn."""
        self.end_step()
        self.move(record, Event.RETRY)
        self.current = None
        self._loop.post(self._plan)

    def hold(self, record: UpdateRecord, held: Held) -> None:
        """Back to waiting without a failure. A bundle that was unpacked stays."""
        self.end_step()
        held.put_into(record)
        record.attempts = 0
        self.forget_file(record)
        self.move(record, Event.HELD)
        self.current = None
        self._loop.post(self._plan)

    def end(self, record: UpdateRecord, event: Event, failure: Failure | None) -> None:
        """The note goes first: cut off in between, the update ends once more and is told twice, never not at all."""
        if record is self.current:
            self.end_step()
        record.reason = failure.reason if failure is not None else None
        record.detail = failure.detail if failure is not None else None
        advance(self._store.ledger, record, event, self.now())
        self.forget_file(record)
        record.until = None
        self.tell(record, failure.detail if failure is not None else f"release {record.release} is active")
        self._store.save(lambda: self._ended(record))
        self.changed()

    def forget_file(self, record: UpdateRecord) -> None:
        """The verified download is of no more use. One that cannot be removed now goes with the next download."""
        if record.file:
            try:
                Path(record.file).unlink(missing_ok=True)
            except OSError as error:
                log.warning("a download not removed", extra={"path": record.file, "error": str(error)})
            record.file = ""

    def tell(self, record: UpdateRecord, detail: str) -> None:
        """A note with the record's state."""
        self._note(
            kind=NoteKind.UPDATE,
            reason=record.reason,
            model=record.model,
            release=record.release,
            state=record.state,
            detail=detail,
        )

    # ---- what a step has begun ----------------------------------------------------------------------------------------

    def ends_with(self, call: Callable[[], object]) -> None:
        """`call()` when the present step ends, however it ends."""
        self._ends_with.append(call)

    def repeat(self, interval: float, call: Callable[[], object]) -> None:
        """`call()` every `interval` seconds until the present step has ended. One at a time."""

        def again() -> None:
            self._repeated = self._loop.call_later(interval, again)
            call()

        self._repeated = self._loop.call_later(interval, again)

    def guard(self, delay: float, call: Callable[[], object]) -> None:
        """`call()` after `delay` seconds, unless the present step has ended by then. One at a time."""
        if self._guard is not None:
            self._guard.cancel()
        self._guard = self._loop.call_later(delay, call)

    def end_step(self) -> None:
        """Nothing that the present step has begun goes on."""
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
        if self._repeated is not None:
            self._repeated.cancel()
            self._repeated = None
        calls, self._ends_with = self._ends_with, []
        for call in calls:
            call()

    # ---- waiting for another attempt ----------------------------------------------------------------------------------

    def is_backing_off(self, model: str) -> bool:
        """Whether another attempt of this model's update comes later by itself."""
        return model in self._backing_off

    def stop_backing_off(self, model: str) -> None:
        """Wait no longer."""
        timer = self._backing_off.pop(model, None)
        if timer is not None:
            timer.cancel()

    def _try_again(self, model: str) -> None:
        self.stop_backing_off(model)
        self._plan()
