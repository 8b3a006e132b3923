"""Brings the signed metadata up to date when nothing new is desired, and says what it told.

So a device that nobody changes learns of revocations, new keys and expiry too. Nothing of this stops a model that runs: floors
and expiry decide what may be installed and what may come back.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.loop import Loop, Timer
from edge_agent.update_settings import UpdateSettings
from edge_agent.updates import policy
from edge_agent.updates.holding import Holding
from edge_agent.updates.ledger import UpdateRecord
from edge_agent.updates.ports import Failure, Fetch, NoteWriter, Trust
from edge_agent.updates.process import make_job
from edge_agent.updates.store import UpdateStore
from edge_agent.updates.trust.job import Done, Failed, Message, MetadataValid
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason
from fleet_contract.trust_report import TrustReport

FIRST: Final = 30.0
"""Seconds after the start, and up to as many more: an update that a restart cut off has its turn before."""
SOON: Final = 60.0
"""Seconds, at most: after the link has come back, or while an update has the metadata."""
LONGEST: Final = 300.0
"""Seconds for one attempt; all documents together are a few kilobytes."""

log = logging.getLogger(__name__)


class Refreshing:
    """Main thread only."""

    def __init__(
        self,
        settings: UpdateSettings,
        folder: Path,
        *,
        loop: Loop,
        store: UpdateStore,
        trust: Trust,
        holding: Holding,
        note: NoteWriter,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        busy: Callable[[], bool],
        changed: Callable[[], object],
    ) -> None:
        """`folder`: where metadata is kept; `busy()`: another room's child has it.

        `changed()` follows each change of `report()`.
        """
        self._settings, self._folder, self._loop = settings, folder, loop
        self._store, self._ledger, self._floors = store, store.ledger, store.floors
        self._trust, self._holding, self._note = trust, holding, note
        self._clock, self._jitter, self._busy, self._changed = clock, jitter, busy, changed
        self._timer: Timer | None = None
        self._guard: Timer | None = None
        self._fetch: Fetch | None = None
        self._failure: Failure | None = None
        self._failures = 0

    @property
    def running(self) -> bool:
        """Whether a child of this room has the metadata now."""
        return self._fetch is not None

    def start(self) -> None:
        """Look soon, then at every interval. Without a server, or with an interval of 0, only updates look."""
        self._schedule(FIRST * (1.0 + self._jitter()))

    def stop(self) -> None:
        """End a running child and look no more."""
        self._end()
        if self._timer is not None:
            self._timer.cancel()

    def give_way(self) -> None:
        """An update's own child needs the metadata, and brings it up to date itself."""
        if self.running:
            self._end()
            self._schedule(SOON * (0.5 + 0.5 * self._jitter()))

    def on_connected(self) -> None:
        """The fleet link is up: what failed meanwhile is made up for soon."""
        if self._failures and not self.running:
            self._schedule(SOON * self._jitter())

    def learn_floors(self, seen: MetadataValid) -> None:
        """Take in what a child found that was asked about no release: it says nothing of when the models expire."""
        self._take_in(None, msgspec.structs.replace(seen, expires=0.0))
        self._changed()

    def _take_in(self, model: str | None, seen: MetadataValid) -> None:
        moved = self._floors.take_in(model, seen)
        told = self._tell_revoked()
        if moved or told:
            self._store.save()

    def learn(self, model: str | None, seen: MetadataValid) -> None:
        """Take in what a child found that looked at the models' metadata; `model`: what it was asked about."""
        self._take_in(model, seen)
        self._failures, self._failure = 0, None
        interval = self._settings.refresh_interval
        self._schedule(interval * (0.75 + 0.5 * self._jitter()))
        self._changed()

    def report(self) -> TrustReport | None:
        """As it stands in reported state; None where no updates are taken."""
        floors, failure = self._floors, self._failure
        if self._settings.url is None:
            return None
        return TrustReport(
            checked=_text(floors.checked),
            expires=_text(floors.expires),
            expired=self._expired(),
            floors=dict(sorted(floors.releases.items())),
            revoked=policy.revoked(self._ledger, floors),
            reason=failure.reason if failure is not None else None,
            detail=failure.detail if failure is not None else None,
        )

    def _expired(self) -> bool:
        known = 0 < self._floors.expires <= max(self._clock(), self._floors.last_time)
        return known or (self._failure is not None and self._failure.reason is Reason.METADATA_EXPIRED)

    # ---- one attempt ------------------------------------------------------------------------------------------------

    def _schedule(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._settings.url is not None and self._settings.refresh_interval > 0:
            self._timer = self._loop.call_later(delay, self._run)

    def _run(self) -> None:
        if self._busy():
            self._schedule(SOON)
            return
        if self._holding.left == 0:
            self._fail("nothing is left of this month's data budget", Reason.DATA_BUDGET)
            return
        nothing = UpdateRecord(model="", release=0, since="")
        try:
            job = make_job(
                self._settings, self._folder, nothing, self._floors, self._clock(), have=None, budget=self._holding.left
            )
            self._fetch = self._trust.start(job, self._on_line, self._fail)
        except (OSError, ValueError) as error:
            self._fail(f"cannot start: {error}")
            return
        self._guard = self._loop.call_later(LONGEST, lambda: self._fail(f"not done within {LONGEST:g} s"))

    def _on_line(self, line: Message) -> None:
        match line:
            case MetadataValid():
                self.learn(None, line)
            case Done():
                self._holding.receive(line.received)
                self._end()
            case Failed():
                self._holding.receive(line.received)
                self._fail(line.detail, line.reason, temporary=line.temporary, asked=line.retry_after or 0.0)

    def _end(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
        if self._fetch is not None:
            fetch, self._fetch = self._fetch, None
            fetch.cancel()

    def _fail(
        self, detail: str, reason: Reason = Reason.DOWNLOAD_FAILED, *, temporary: bool = True, asked: float = 0.0
    ) -> None:
        self._end()
        self._failures += 1
        before, self._failure = self._failure, Failure(reason, detail)
        longest = self._settings.refresh_interval
        shortest = min(self._settings.retry_max, longest)
        self._schedule(policy.retry_delay(self._failures, shortest, longest, self._jitter(), asked))
        log.warning("metadata not refreshed", extra={"reason": reason, "detail": detail})
        if not temporary and (before is None or before.reason is not reason):
            self._note(kind=NoteKind.UPDATE, reason=reason, detail=f"the signed metadata is refused: {detail}")
        self._tell_expired()
        if before is None or before.reason is not reason:
            self._changed()

    # ---- what is told -------------------------------------------------------------------------------------------------

    def _tell_revoked(self) -> bool:
        """One note for each release that answers and was revoked; whether there was one."""
        revoked = policy.revoked(self._ledger, self._floors)
        for model, release in revoked.items():
            if self._floors.told_revoked.get(model) == release:
                continue
            floor = self._floors.releases[model]
            detail = f"the release that answers is below the floor {floor}; it goes on until another is desired"
            self._note(kind=NoteKind.UPDATE, reason=Reason.ACTIVE_REVOKED, model=model, release=release, detail=detail)
        changed = revoked != self._floors.told_revoked
        self._floors.told_revoked = revoked
        return changed

    def _tell_expired(self) -> None:
        floors = self._floors
        if not self._expired() or floors.told_expired == floors.expires:
            return
        floors.told_expired = floors.expires
        since = f" at {text}" if (text := _text(floors.expires)) is not None else ""
        detail = f"the signed metadata has expired{since}: nothing is installed until newer comes; what runs goes on"
        self._note(kind=NoteKind.UPDATE, reason=Reason.METADATA_EXPIRED, detail=detail)
        self._store.save()
        self._changed()


def _text(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds > 0 else None
