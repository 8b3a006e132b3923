"""Fetching and verifying: starts the trust child and carries out what its lines say."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_agent.update_settings import UpdateSettings
from edge_agent.updates import policy
from edge_agent.updates.conditions import Held
from edge_agent.updates.holding import LOOK_AGAIN, Holding
from edge_agent.updates.ledger import Installed, Ledger, UpdateRecord
from edge_agent.updates.machine import Event
from edge_agent.updates.picking import Configured
from edge_agent.updates.ports import Failure, Stage, Trust
from edge_agent.updates.process import make_job
from edge_agent.updates.refreshing import Refreshing
from edge_agent.updates.steps import Steps
from edge_agent.updates.store import UpdateStore
from edge_agent.updates.trust.job import Base, Done, Failed, Fetched, Message, MetadataValid, Progress, Verified, WholeInstead
from fleet_contract.reasons import Reason
from fleet_contract.update_report import UpdateState as State

METADATA_BYTES: Final = 1024**2
"""What may be received beyond a spent data budget for a release that is on the disk already."""

log = logging.getLogger(__name__)


class Fetching:
    """From `fetching` to `staging`, or to `testing` where the bundle is on the disk. Main thread only."""

    def __init__(
        self,
        settings: UpdateSettings,
        folder: Path,
        steps: Steps,
        *,
        store: UpdateStore,
        trust: Trust,
        stage: Stage,
        holding: Holding,
        refreshing: Refreshing,
        clock: Callable[[], float],
        device_for: Callable[[str, Ledger], Configured],
        run_stage: Callable[[UpdateRecord], object],
        run_test: Callable[[UpdateRecord], object],
    ) -> None:
        """`device_for`: what the choice of a variant depends on, for a model.

        `folder`: where metadata and downloads are kept. `run_stage` and `run_test` go on with what was fetched.
        """
        self._settings, self._folder, self._steps = settings, folder, steps
        self._ledger, self._floors = store.ledger, store.floors
        self._trust, self._stage, self._holding, self._clock = trust, stage, holding, clock
        self._refreshing = refreshing
        self._device_for, self._run_stage, self._run_test = device_for, run_stage, run_test
        self._fetched_before = 0
        self._received = 0
        """By the present child."""

    def run(self, record: UpdateRecord) -> None:
        """Start the child; the record's intent to fetch is persisted already."""
        settings, steps = self._settings, self._steps
        if settings.url is None:
            text = "this device takes no updates: updates.url is not set"
            steps.end(record, Event.FAILED, Failure(Reason.DOWNLOAD_FAILED, text))
            return
        if (revoked := policy.below_floor(record, self._floors)) is not None:
            # Offline nobody else would say so, and the bundle may still be here.
            steps.end(record, Event.FAILED, Failure(Reason.RELEASE_BELOW_FLOOR, revoked))
            return
        self._refreshing.give_way()
        self._fetched_before, self._received = record.most_bytes, 0
        have = self._on_disk(record)
        budget = None if self._kept(record) is not None else self._holding.left
        if budget is not None and have is not None:
            # The bundle waits here unpacked, and a few kilobytes of metadata are all that has to come.
            budget = max(budget, METADATA_BYTES)
        try:
            job = make_job(
                settings,
                self._folder,
                record,
                self._floors,
                self._clock(),
                have=have,
                budget=budget,
                device=self._device_for(record.model, self._ledger),
                base=None if have is not None else self._base(record.model),
            )
            fetch = self._trust.start(
                job, lambda line: self._on_line(record, line), lambda text: self._on_fetch_end(record, text)
            )
        except (OSError, ValueError) as error:
            steps.retry(record, Failure(Reason.DOWNLOAD_FAILED, f"cannot start fetching: {error}"))
            return
        steps.ends_with(fetch.cancel)
        steps.repeat(LOOK_AGAIN, lambda: self._look(record))
        seconds = settings.fetch_timeout
        steps.guard(seconds, lambda: self._on_fetch_end(record, f"not done within {seconds:g} s"))

    def _on_line(self, record: UpdateRecord, line: Message) -> None:
        steps = self._steps
        match line:
            case MetadataValid():
                self._refreshing.learn(record.model, line)
            case Verified():
                record.version, record.digest, record.total_bytes = line.version, line.digest, line.length
                record.variant, record.picked, record.not_picked = line.variant, line.why, line.rejected
            case Progress():
                if policy.made_progress(self._fetched_before, line.fetched):
                    record.attempts = 1
                # A delta that is given up leaves its bytes behind: the whole file's count begins anew.
                record.fetched_bytes = max(record.fetched_bytes, line.fetched) if line.delta == record.delta else line.fetched
                record.delta = line.delta
                record.most_bytes = max(record.most_bytes, line.fetched)
                self._count(line.received)
                steps.changed()
            case WholeInstead():
                self._on_no_delta(record, line)
            case Fetched():
                steps.move(record, Event.FETCHED)
            case Done():
                self._count(line.received)
                self._on_done(record, line)
            case Failed():
                self._count(line.received)
                self._on_failed(record, line)

    def _look(self, record: UpdateRecord) -> None:
        held = self._holding.while_fetching(record) if record.state is State.FETCHING else None
        if held is not None:
            self._steps.hold(record, held)

    def _count(self, received: int) -> None:
        if received > self._received:
            self._holding.receive(received - self._received)
            self._received = received

    def _on_done(self, record: UpdateRecord, line: Done) -> None:
        steps = self._steps
        steps.end_step()
        record.version, record.digest = line.version, line.digest
        if line.path is not None:
            record.file = line.path
            steps.move(record, Event.VERIFIED, self._run_stage)
        elif self._on_disk(record) is not None:
            steps.move(record, Event.ON_DISK, self._run_test)
        else:
            steps.retry(record, Failure(Reason.BUNDLE_INVALID, "the bundle on disk is gone"))

    def _on_no_delta(self, record: UpdateRecord, line: WholeInstead) -> None:
        text = f"the whole bundle is fetched: {line.detail}"
        log.info("no delta", extra={"model": record.model, "release": record.release, "detail": line.detail})
        if line.offered:
            record.detail = text
            self._steps.tell(record, text)

    def _on_failed(self, record: UpdateRecord, line: Failed) -> None:
        self._steps.end_step()
        failure = Failure(line.reason, line.detail)
        kept = self._kept(record)
        offline = line.temporary and line.reason is Reason.DOWNLOAD_FAILED
        if offline and kept is not None and record.state is State.FETCHING:
            # Going back must work offline too; the floor was raised by every metadata seen so far.
            log.info("no metadata, using the bundle on disk", extra={"model": record.model, "detail": line.detail})
            record.version, record.digest, record.variant = kept.version, kept.digest, kept.variant
            self._steps.move(record, Event.ON_DISK, self._run_test)
        elif line.reason is Reason.DATA_BUDGET and (left := self._holding.left) is not None:
            record.needed_bytes = max(line.needed, left + 1)
            record.digest = ""  # if a bundle waits here unpacked, it is not the one that was to come
            self._steps.hold(record, self._holding.before_begin(record) or Held(failure.reason, failure.detail))
        elif line.temporary:
            self._steps.retry(record, failure, line.retry_after or 0.0)
        else:
            self._steps.end(record, Event.FAILED, failure)

    def _on_fetch_end(self, record: UpdateRecord, text: str) -> None:
        if record is self._steps.current and record.state in (State.FETCHING, State.VERIFYING):
            self._steps.end_step()
            self._steps.retry(record, Failure(Reason.DOWNLOAD_FAILED, text))

    def _kept(self, record: UpdateRecord) -> Installed | None:
        """The desired release, if it is unpacked here from earlier."""
        installed = policy.find_kept(self._ledger, record.model, record.release)
        if installed is None or self._stage.folder(record.model, installed.digest) is None:
            return None
        return installed

    def _on_disk(self, record: UpdateRecord) -> str | None:
        """The digest of the desired release's bundle, if it is unpacked here: from earlier, or by this very update."""
        kept = self._kept(record)
        if kept is not None:
            return kept.digest
        return record.digest if self._holding.is_staged(record) else None

    def _base(self, model: str) -> Base | None:
        """The bundle that answers now: releases of one model are often much the same."""
        installed = self._ledger.active.get(model)
        path = None if installed is None else self._stage.folder(model, installed.digest)
        return None if installed is None or path is None else Base(path=str(path), digest=installed.digest)
