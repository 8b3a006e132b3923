"""The configuring room's door: takes in what is desired, fetches, has it checked, applies it, watches it, takes it back.

Main thread only. The rules stand in `policy.py`, `machine.py` and `rules.py`. Each step is written to the record before it is
done, so that a start can judge what happened; what the agent runs with is the record's `current`, which the validating child
has chosen at the start.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from edge_agent.configuring import policy
from edge_agent.configuring.checking import Check, Refused
from edge_agent.configuring.folder import DamagedLayer, Folder
from edge_agent.configuring.machine import Event, step
from edge_agent.configuring.policy import Breach, Span, Verdict
from edge_agent.configuring.record import Flow, Layer, Record
from edge_agent.configuring.rules import changed_keys, needs_restart
from edge_agent.loop import Loop, Timer
from edge_agent.settings import AgentSettings
from edge_agent.updates.ledger import Floors, UpdateRecord
from edge_agent.updates.policy import may_retry, retry_delay
from edge_agent.updates.ports import Fetch, Trust
from edge_agent.updates.process import make_job
from edge_agent.updates.trust.job import Done, Failed, Message, MetadataValid
from fleet_contract.configuration import MAX_CONFIGURATION_BYTES, ConfigurationReport, DesiredConfiguration
from fleet_contract.configuration import ConfigurationState as State
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason

log = logging.getLogger(__name__)

LOOK: Final = 1.0
"""Seconds between two looks at a configuration on probation, and at a fetch that has to wait."""
PROOF: Final = 30.0
"""Seconds that the agent must run with what it went back to, for that to have proven itself again."""
TELL: Final = 0.2
"""Seconds before a restart in which the reported state can leave."""


class Metadata(Protocol):
    """What the update room knows of the signed metadata."""

    @property
    def floors(self) -> Floors: ...

    @property
    def fetching(self) -> bool: ...

    def take_in(self, seen: MetadataValid) -> None: ...

    def receive(self, amount: int) -> None: ...


class NoteWriter(Protocol):
    """Puts a note into the outbox."""

    def __call__(
        self, *, kind: NoteKind, detail: str, reason: str | None = None, fields: dict[str, Any] | None = None
    ) -> None: ...


class Configurator:
    """Moves the record; see `machine.py`."""

    def __init__(
        self,
        settings: AgentSettings,
        path: Path,
        record: Record,
        *,
        loop: Loop,
        trust: Trust,
        metadata: Metadata,
        flows: Callable[[], Mapping[str, Flow]],
        reached: Callable[[], bool],
        note: NoteWriter,
        on_change: Callable[[], object],
        apply_live: Callable[[AgentSettings], object],
        restart: Callable[[], object],
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        look: float = LOOK,
    ) -> None:
        """`path` is the device's own file, `record` what the start has chosen by.

        `flows()`: what each pipeline has done since the start. `reached()`: whether the fleet broker is connected.
        `apply_live(settings)` takes over what can be changed while running; `restart()` starts the agent again in place.
        `on_change()` follows each change of `report()`.
        """
        self._settings, self._path, self._record = settings, path, record
        self._loop, self._trust, self._metadata = loop, trust, metadata
        self._flows, self._reached, self._note, self._on_change = flows, reached, note, on_change
        self._apply_live, self._restart = apply_live, restart
        self._clock, self._jitter, self._look = clock, jitter, look
        self._folder = Folder(Path(settings.state_dir))
        self._running = record.current
        self._fetch: Fetch | None = None
        self._check: Check | None = None
        self._timer: Timer | None = None
        self._waiting: Timer | None = None
        self._watched_since: float | None = None
        self._restarting = False

    def report(self) -> ConfigurationReport | None:
        """For reported state."""
        return self._record.report(self._running)

    @property
    def busy(self) -> bool:
        """Whether this room's trust child has the signed metadata, or a restart may follow that would cut off a fetch."""
        return self._restarting or self._record.state in (State.FETCHING, State.CHECKING, State.APPLYING)

    # ---- start and stop ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Go on with what the last stop cut off."""
        record = self._record
        record.restart = ()
        if record.untold:
            record.untold = False
            back = "the device's own file alone" if record.current is None else _name(record.current)
            self._tell(f"{back} is used: {record.detail or 'the configuration could not be used'}")
        self._save()
        if record.state is State.PROBATION:
            self._watch()
        elif record.state is State.WAITING:
            self._take_up()
        if policy.is_returned(record):
            self._loop.call_later(PROOF, self._prove_return)

    def stop(self) -> None:
        """End what runs; the next start goes on."""
        self._cancel()
        if self._watched_since is not None:
            self._record.watched += time.monotonic() - self._watched_since
            self._watched_since = None
            self._save()

    def _prove_return(self) -> None:
        """The agent lives with what it went back to."""
        if policy.is_returned(self._record):
            self._record.unproven, self._record.starts = False, 0
            self._save()

    # ---- what is desired --------------------------------------------------------------------------------------------

    def on_desired(self, desired: DesiredConfiguration | None) -> None:
        """Take in the configuration of the newest desired state."""
        record = self._record
        if self._restarting or not policy.is_asked(record, desired):
            return
        self._cancel()
        if self._watched_since is not None:
            record.watched += time.monotonic() - self._watched_since
            self._watched_since = None
        record.state = step(record.state, Event.SUPERSEDED)
        record.name, record.revision = ("", 0) if desired is None else (desired.name, desired.revision)
        record.since, record.reason, record.detail, record.attempts = self._now(), None, None, 0
        self._changed()
        self._take_up()

    def _take_up(self) -> None:
        """From `waiting` on."""
        record = self._record
        self._waiting = None
        layer = policy.find_on_disk(record, record.name, record.revision)
        if layer == record.current and (layer is not None or not record.name):
            if record.unproven and not policy.is_returned(record):
                self._move(Event.ON_TRIAL)
                self._watch()
            else:
                self._move(Event.ALREADY_CURRENT)
            return
        if not record.name:
            record.attempts += 1
            self._move(Event.ON_DISK)
            self._run_check(None)
            return
        if layer is not None:
            try:
                self._folder.read(layer)
            except (OSError, DamagedLayer) as error:
                log.warning("a stored configuration is fetched again", extra={"error": str(error)})
            else:
                record.attempts += 1
                self._move(Event.ON_DISK)
                self._run_check(layer)
                return
        if self._metadata.fetching:  # two children must not write the same metadata
            self._waiting = self._loop.call_later(self._look, self._take_up)
            return
        record.attempts += 1
        self._move(Event.BEGIN)
        self._run_fetch()

    # ---- fetching ---------------------------------------------------------------------------------------------------

    def _run_fetch(self) -> None:
        record, settings = self._record, self._settings.updates
        if settings.url is None:
            self._fail(Refused(Reason.DOWNLOAD_FAILED, "this device takes no updates: updates.url is not set"))
            return
        wanted = DesiredConfiguration(name=record.name, revision=record.revision)
        nothing = UpdateRecord(model="", release=0, since="")
        try:
            job = make_job(
                settings, Path(self._settings.state_dir) / "updates", nothing, self._metadata.floors, self._clock(), have=None
            )
            job = msgspec.structs.replace(job, configuration=wanted, max_bytes=MAX_CONFIGURATION_BYTES)
            self._fetch = self._trust.start(job, self._on_line, self._on_fetch_end)
        except (OSError, ValueError) as error:
            self._fail(Refused(Reason.DOWNLOAD_FAILED, f"cannot start fetching: {error}", temporary=True))
            return
        seconds = settings.fetch_timeout
        self._timer = self._loop.call_later(seconds, lambda: self._on_fetch_end(f"not done within {seconds:g} s"))

    def _on_line(self, line: Message) -> None:
        match line:
            case MetadataValid():
                self._metadata.take_in(line)
            case Failed():
                self._cancel()
                self._metadata.receive(line.received)
                self._fail(Refused(line.reason, line.detail, line.temporary), line.retry_after or 0.0)
            case Done():
                self._cancel()
                self._metadata.receive(line.received)
                self._on_fetched(line)

    def _on_fetch_end(self, text: str) -> None:
        if self._fetch is not None:
            self._cancel()
            self._fail(Refused(Reason.DOWNLOAD_FAILED, text, temporary=True))

    def _on_fetched(self, line: Done) -> None:
        record = self._record
        layer = Layer(name=record.name, revision=record.revision, digest=line.digest)
        try:
            fetched = Path(line.path or "")
            self._folder.add(layer, fetched.read_bytes())
            fetched.unlink()
            self._folder.read(layer)
        except OSError as error:
            self._fail(Refused(Reason.DISK_FULL, f"the configuration cannot be kept: {error}", temporary=True))
            return
        except DamagedLayer as error:
            self._fail(Refused(Reason.HASH_MISMATCH, str(error), temporary=True))
            return
        self._move(Event.FETCHED)
        self._run_check(layer)

    # ---- checking and applying --------------------------------------------------------------------------------------

    def _run_check(self, layer: Layer | None) -> None:
        file = None if layer is None else self._folder.file_of(layer)
        try:
            self._check = Check(self._loop, self._path, file, lambda outcome: self._on_checked(layer, outcome))
        except OSError as error:
            self._fail(Refused(Reason.CONFIGURATION_INVALID, f"cannot start the check: {error}", temporary=True))

    def _on_checked(self, layer: Layer | None, outcome: AgentSettings | Refused) -> None:
        self._check = None
        if isinstance(outcome, Refused):
            self._fail(outcome)
            return
        before, after = _plain(self._settings), _plain(outcome)
        restart = needs_restart(changed_keys(before, after))
        record = self._record
        applied = msgspec.structs.replace(
            record,
            state=step(record.state, Event.VALID),
            previous=record.previous if record.unproven else record.current,
            current=layer,
            unproven=True,
            starts=0,
            restart=restart,
            before=policy.compare(record, self._flows(), _same_windows(self._settings, outcome)),
            watched=0.0,
            reached=False,
        )
        try:
            self._folder.save(applied)
        except OSError as error:
            self._fail(Refused(Reason.DISK_FULL, f"the record cannot be written: {error}", temporary=True))
            return
        self._record = applied
        self._on_change()
        if restart:
            log.info("configuration needs a restart", extra={"keys": ", ".join(restart), "revision": record.revision})
            self._start_again()
            return
        self._apply_live(outcome)
        self._settings, self._running = outcome, layer
        self._move(Event.APPLIED)
        self._tell("applied live, on probation")
        self._watch()

    def _start_again(self) -> None:
        self._restarting = True
        self._loop.call_later(TELL, self._restart)

    # ---- probation --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._watched_since = time.monotonic()
        self._look_at_probation()

    def _look_at_probation(self) -> None:
        record = self._record
        if record.state is not State.PROBATION or self._watched_since is None:
            return
        if not record.reached and self._reached():
            record.reached = True
            self._save()
        seconds = record.watched + time.monotonic() - self._watched_since
        settings = self._settings.updates.configuration
        span = Span(time=settings.time, reach=settings.reach, longest=max(settings.longest, settings.time))
        verdict = policy.judge(record, self._flows(), seconds, reached=record.reached, span=span)
        if isinstance(verdict, Breach):
            self._take_back(verdict)
        elif verdict is Verdict.PROVEN:
            self._watched_since = None
            record.unproven, record.starts, record.before = False, 0, {}
            self._move(Event.PROVEN)
            self._folder.keep(record.current, record.previous)
            self._tell(f"proven after {seconds:.0f} s")
        else:
            self._timer = self._loop.call_later(self._look, self._look_at_probation)

    def _take_back(self, breach: Breach) -> None:
        record = self._record
        back = record.previous
        returned = msgspec.structs.replace(
            record,
            state=step(record.state, Event.BREACHED),
            since=self._now(),
            reason=breach.reason,
            detail=breach.detail,
            current=back,
            unproven=back is not None,
            starts=0,
            before={},
            watched=0.0,
        )
        try:
            self._folder.save(returned)
        except OSError as error:
            log.warning("the record cannot be written, trying again", extra={"error": str(error)})
            self._timer = self._loop.call_later(self._settings.updates.retry_min, self._look_at_probation)
            return
        self._watched_since = None
        self._record = returned
        self._on_change()
        name = "the device's own file alone" if back is None else _name(back)
        self._tell(f"taken back, {name} is used again: {breach.detail}")
        self._start_again()

    # ---- the record -------------------------------------------------------------------------------------------------

    def _fail(self, why: Refused, asked: float = 0.0) -> None:
        """`asked`: seconds that the server wants to be left alone."""
        record, settings = self._record, self._settings.updates
        record.reason, record.detail = why.reason, why.detail
        if why.temporary and may_retry(record.attempts, settings.max_attempts):
            self._move(Event.RETRY)
            delay = retry_delay(max(record.attempts, 1), settings.retry_min, settings.retry_max, self._jitter(), asked)
            self._waiting = self._loop.call_later(delay, self._take_up)
            return
        self._move(Event.FAILED)
        self._folder.keep(record.current, record.previous)
        self._tell(why.detail)
        if record.unproven and not policy.is_returned(record):
            # What it was to replace has not proven itself either, and nobody wants it any more.
            record.current, record.starts, record.before = record.previous, 0, {}
            record.unproven = record.current is not None
            self._save()
            self._start_again()

    def _move(self, event: Event) -> None:
        record = self._record
        record.state = step(record.state, event)
        record.since = self._now()
        if record.state in (State.PROBATION, State.COMMITTED):
            record.reason = record.detail = None
            record.restart = ()
        self._changed()

    def _changed(self) -> None:
        self._save()
        record = self._record
        log.info("configuration", extra={"state": record.state.value, "of": record.name, "revision": record.revision})
        self._on_change()

    def _save(self) -> None:
        """What is lost here with a full disk is found out again after a restart: the desired state is retained."""
        if not self._record.since:
            return
        try:
            self._folder.save(self._record)
        except OSError as error:
            log.warning("the record of the configuration cannot be written", extra={"error": str(error)})

    def _tell(self, detail: str) -> None:
        record = self._record
        fields = {"configuration": record.name, "revision": record.revision, "state": record.state.value}
        self._note(kind=NoteKind.CONFIGURATION, reason=record.reason, detail=detail, fields=fields)

    def _cancel(self) -> None:
        for running in (self._fetch, self._check, self._timer, self._waiting):
            if running is not None:
                running.cancel()
        self._fetch = self._check = self._timer = self._waiting = None

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")


def _name(layer: Layer) -> str:
    return f"revision {layer.revision} of {layer.name}"


def _plain(settings: AgentSettings) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    return plain


def _same_windows(before: AgentSettings, after: AgentSettings) -> frozenset[str]:
    """The pipelines that gather events for an answer as before."""
    old = {item.name: (item.window, item.join) for item in before.pipelines}
    return frozenset(item.name for item in after.pipelines if old.get(item.name) == (item.window, item.join))
