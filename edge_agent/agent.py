"""The composition root: builds every room, wires them, runs the loop, and stops in order."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from edge_agent import __version__
from edge_agent.clock_watch import ClockWatch
from edge_agent.commands.control import ControlServer
from edge_agent.commands.executor import Executor
from edge_agent.configuring.answers import Started
from edge_agent.configuring.configurator import Configurator
from edge_agent.configuring.record import Flow, Record
from edge_agent.dead_letters import DeadLetters
from edge_agent.drift.watching import DriftWatch
from edge_agent.engine import Engine
from edge_agent.feedback import FeedbackIntake
from edge_agent.health.probes import probe_pressure, read_battery, read_default_interface, read_temperature
from edge_agent.health.reporter import Reporter, Sources
from edge_agent.health.systemd import Notifier, Watchdog
from edge_agent.inference.bundle_store import BundleStore
from edge_agent.inference.governor import Governor
from edge_agent.inference.models import Models
from edge_agent.inference.tuned import tuned_settings
from edge_agent.journal.batch import FLEET, SITE, Batch
from edge_agent.journal.errors import StoreError
from edge_agent.journal.store import Store
from edge_agent.link.session import Link
from edge_agent.logs import set_level, set_up
from edge_agent.loop import Loop
from edge_agent.model_switch import BundleStage, ModelSwitch
from edge_agent.outbox.drain import Drain
from edge_agent.outbox.sender import Sender
from edge_agent.outputs.outputs import Outputs
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.rebirths import Rebirths
from edge_agent.settings import AgentSettings
from edge_agent.site import SiteHandler
from edge_agent.slots import STARTS_KEY, Slots
from edge_agent.status import Rooms, make_status, model_states
from edge_agent.store_notes import StoreNotes
from edge_agent.updates.conditions import Surroundings
from edge_agent.updates.own_device import configured_for
from edge_agent.updates.process import TrustProcesses
from edge_agent.updates.updater import Updater
from edge_agent.uplink import Uplink
from edge_agent.values import StoredValues
from fleet_contract.feedback import Tally
from fleet_contract.messages import Desired, ModelRef, NoteKind
from fleet_contract.reasons import Reason
from fleet_contract.topics import SITE_SUFFIX, Up, down_filter
from fleet_contract.version import CONTRACT_HIGH

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 5.0
STUCK_SECONDS: Final = 30.0
"""How long the writer may work on one commit before the watchdog is no longer petted."""
SWITCH_INTERVAL: Final = 0.0005
"""Seconds a thread may keep the interpreter while another waits: the default of 5 ms would be felt in every latency."""


class Agent:
    """Everything, built but not started. Raises StoreError when agent.db cannot be used."""

    def __init__(self, settings: AgentSettings, path: Path, record: Record) -> None:
        """`path` is the device's own file, `record` what the start has chosen the settings by."""
        self.settings = settings
        self.started = time.monotonic()
        state_dir = Path(settings.state_dir)
        state_dir.mkdir(parents=True, exist_ok=True)
        self.recent = set_up(settings.log_level, settings.log_json)
        self.loop = Loop()
        self.store = Store(state_dir / "agent.db", settings.store, self.loop.post)
        self.values = StoredValues(self.store)
        self.bundles = BundleStore(state_dir / "models", settings.updates.max_bundle_bytes)
        self.models = Models(self.loop, tuned_settings(settings.inference, Path(settings.state_dir)))
        self.reporter = Reporter(
            Sources(
                state_dir=settings.state_dir,
                stored=lambda: self.store.counts,
                models=self.models.stats,
                links=lambda: {"site": self.site.connected, "fleet": self.fleet.connected},
                counters=self.counters,
                drift=lambda model: self.drift.report(model),
                quality=self._quality,
                clock_behind=lambda: self.clock_watch.behind,
                store_fault=lambda: self.store.fault,
                update_bytes=lambda: self.updater.received,
                update_budget=settings.updates.data_budget,
            ),
            settings.health.interval,
        )
        self._pipelines = pipelines = [Pipeline(item) for item in settings.pipelines]
        for pipeline in pipelines:
            pipeline.restore(self.store.pipeline_states(pipeline.settings.name))
        self.outputs = Outputs(settings.device, settings.pipelines, self.store.values())
        self.engine = Engine(
            settings,
            self.loop,
            self.store,
            pipelines,
            self.models,
            on_scored=self.reporter.scored,
            on_refused=lambda error: self.store_notes.refused(error),
            on_broken=self._on_broken,
            outputs=self.outputs,
            on_request=lambda requests: self.rebirths.ask(requests),
        )
        self.governor = Governor(self.loop, self.models, settings.inference, self.engine.notes.write, probe_pressure)
        self.drift = DriftWatch(settings.inference.drift, self.models.counting, self.engine.notes.write)
        self.models.on_degraded = self._on_degraded
        self.store_notes = StoreNotes(self.engine.notes, self.loop)
        self.store.on_evicted = self.store_notes.evicted
        self.store.on_ballast_given_up = self.store_notes.ballast_given_up
        self._build_links()
        trust = TrustProcesses(self.loop)
        self.updater = Updater(
            settings.updates,
            state_dir,
            loop=self.loop,
            values=self.values,
            trust=trust,
            stage=BundleStage(self.bundles),
            models=ModelSwitch(self.models, self.bundles, settings.updates.test_timeout, self._reported_changed),
            note=self.engine.notes.write,
            on_change=self._reported_changed,
            surroundings=_look_around,
            device_for=lambda model, ledger: configured_for(settings.inference, state_dir, model, ledger),
            configuring=lambda: self.configurator.busy,
        )
        self.clock_watch = ClockWatch(self.engine.notes.write, lambda: self.updater.last_time)
        self.models.on_quarantined = self.updater.quarantine
        self.models.on_gap = self._on_gap
        self.executor = Executor(
            self.values,
            self.uplink.publish_reply,
            status=self.status,
            restart_model=self._restart_model,
            recent=self.recent,
            dead_letters=DeadLetters(self.store.open_reader(), self.store.submit, self.engine),
            updates=self.updater,
        )
        self.configurator = Configurator(
            settings,
            path,
            record,
            loop=self.loop,
            trust=trust,
            metadata=self.updater,
            flows=self._flows,
            reached=lambda: self.fleet.connected,
            note=self.engine.notes.write,
            on_change=self._reported_changed,
            apply_live=lambda new: set_level(new.log_level),
            restart=self._start_again,
        )
        self.uplink.on_desired = self._on_desired
        self.uplink.on_connected = self.updater.on_connected
        self.uplink.on_command = self.executor.on_command
        self.feedback = FeedbackIntake(self.store, self.values, self._reported_changed)
        self.uplink.on_feedback = self.feedback.on_feedback
        self.notifier = Notifier()
        self._told_stuck: tuple[str, ...] = ()
        self._store_seen = (-1, time.monotonic())
        self._stopping = False
        self._broken = False
        self.restarting = False
        """Whether the process is to start the same program again once it has stopped."""

    def _build_links(self) -> None:
        settings = self.settings
        starts = int(self.values.get(STARTS_KEY) or b"0") + 1
        self._starts = starts
        self.slots = Slots(
            settings.device,
            self.store.stream,
            starts,
            revision=lambda: self.updater.revision,
            models=lambda: model_states(self.models, self.updater),
            updates=lambda: self.updater.reports(),
            feedback=lambda: self.feedback.number,
            configuration=lambda: self.configurator.report(),
            holds=lambda: self.updater.holds(),
            trust=lambda: self.updater.trust(),
        )
        self.uplink = Uplink(settings.device)
        self.fleet = Link(
            "fleet",
            settings.device,
            settings.mqtt,
            self.uplink,
            self.loop.post,
            filters=[(down_filter(settings.device), 1)],
            will=self.slots.will,
        )
        self.fleet_sender = Sender(self.fleet, self.store, self.loop, FLEET, drain=self._new_drain())
        self.uplink.attach(self.fleet, self.fleet_sender, {Up.BIRTH: self.slots.birth, Up.REPORTED: self.slots.reported})
        availability = self.outputs.availability
        self.site_handler = SiteHandler(
            self.engine,
            availability,
            self.outputs.birth_topics,
            is_event=lambda topic: bool(self.engine.routes.match(topic)),
            on_birth=lambda topic: self._announce(self.outputs.repeat(topic)),
        )
        filters = dict(self.engine.routes.filters())
        self.site = Link(
            "site",
            f"{settings.device}{SITE_SUFFIX}",
            settings.site,
            self.site_handler,
            self.loop.post,
            filters=[*filters.items(), *((topic, 0) for topic in sorted(self.outputs.birth_topics - filters.keys()))],
            will=None if availability is None else self.site_handler.will,
            replay_retained=False,
        )
        self.rebirths = Rebirths(self.site)
        self.site_sender = Sender(self.site, self.store, self.loop, SITE, drain=self._new_drain())
        self.site_handler.attach(self.site, self.site_sender)
        self.engine.attach(self.site)

    def _new_drain(self) -> Drain:
        return Drain(self.settings.store.drain_rate, self.settings.store.drain_jitter)

    # ---- running

    def run(self, control: ControlServer) -> int:
        """Start, run until SIGTERM or SIGINT or until it is to start again, and stop in order.

        Returns the exit status: 1 when agent.db cannot be written.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end())
        self.values.put({STARTS_KEY: str(self._starts).encode()}, self._on_start_stored)
        log.info("starting", extra={"device": self.settings.device, "version": __version__, "stream": self.store.stream})
        try:
            self.loop.run()
        finally:
            self.notifier.send("RELOADING=1\nSTATUS=starting again" if self.restarting else "STOPPING=1")
            self._stop()
            control.close()
            self.loop.close()
        return 1 if self._broken else 0

    def _end(self) -> None:
        """Somebody wants the process to end: from now on it does not start again."""
        self.restarting = False
        self.loop.stop()

    def _start_again(self) -> None:
        self.restarting = True
        self.loop.stop()

    def _on_broken(self, error: StoreError) -> None:
        """Nothing can be taken over any more. A fresh start checks agent.db, and the brokers deliver again."""
        log.critical("agent.db cannot be written, ending", extra={"error": str(error)})
        self._broken = True
        self.loop.stop()

    def _on_start_stored(self, error: Exception | None) -> None:
        """The slots' counters are safe: only now may anything be published."""
        if self._stopping:
            return
        if error is not None:
            log.error("agent.db cannot be written, trying again", extra={"error": str(error)})
            self.loop.call_later(5.0, lambda: self.values.put({STARTS_KEY: str(self._starts).encode()}, self._on_start_stored))
            return
        if self.store.set_aside is not None:
            self.store_notes.set_aside(self.store.set_aside)
        self._announce(self.outputs.reconcile())
        self.engine.rebuild()
        self.clock_watch.look()
        self.updater.start()
        self.configurator.start()
        self.fleet.start()
        self.site.start()
        self.governor.start()
        self.loop.call_every(self.settings.health.interval, self._report_health)
        interval = self.notifier.watchdog_interval()
        watchdog = Watchdog(self.notifier, {"store": self._store_progresses, "links": self._links_live})
        self.loop.call_every(interval or 10.0, lambda: self._check_watchdog(watchdog))
        self.notifier.send("READY=1\nSTATUS=running")
        log.info("running", extra={"start_ms": round((time.monotonic() - self.started) * 1000)})

    def _announce(self, batch: Batch) -> None:
        """Commit what Home Assistant is to be told."""
        if batch.outbox or batch.values:
            self.engine.add_rows(batch.outbox, batch.values)

    def _stop(self) -> None:
        """Bounded: what is in flight is committed or stays with the broker."""
        log.info("stopping")
        self._stopping = True
        self.loop.run_until(self.site_handler.leave, 1.0)
        self.site.stop()
        self.loop.run_until(lambda: self.engine.idle and not self.store.busy, DRAIN_SECONDS)
        self.updater.stop()
        self.configurator.stop()
        self.models.stop()
        self.slots.leaving = True
        self.uplink.publish_slot(Up.BIRTH)
        self.loop.run_until(lambda: False, 0.1)
        self.fleet.stop()
        self.fleet_sender.close()
        self.site_sender.close()
        if not self.store.close(DRAIN_SECONDS):
            log.error("the store's writer did not end in time")
        log.info("stopped")

    # ---- what the rooms ask for

    def counters(self) -> dict[str, int]:
        """All counters of the daemon under their public names."""
        total: Counter[str] = Counter(self.engine.counters)
        total.update(self.outputs.counters)
        total.update(self.uplink.counters)
        total.update(self.store.stats())
        total.update(self.feedback.counters)
        for name, part in (
            ("site_link", self.site.stats()),
            ("fleet_link", self.fleet.stats()),
            ("outbox", self.fleet_sender.counters),
        ):
            total.update({f"{name}_{key}": value for key, value in part.items()})
        total["rebirths_requested"] = self.rebirths.requested
        total.update(self.governor.counters)
        total["batches_that_waited"] = self.models.turns_waited
        total["loop_errors"] = self.loop.errors
        return dict(total)

    def status(self) -> dict[str, Any]:
        """What `edge-agent status` shows."""
        rooms = Rooms(
            settings=self.settings,
            started=self.started,
            site=self.site,
            fleet=self.fleet,
            store=self.store,
            engine=self.engine,
            models=self.models,
            updater=self.updater,
            configurator=self.configurator,
            clock_watch=self.clock_watch,
            reporter=self.reporter,
        )
        return make_status(rooms, self.counters())

    def _quality(self, model: str, release: int) -> Tally | None:
        remembered = self.settings.store.remembered_answers > 0
        return self.store.quality.tallies.get((model, release), Tally()) if remembered else None

    def answer_control(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer a request of the control socket; raises CommandError."""
        if command == "modules":
            return {"modules": sorted({name.partition(".")[0] for name in sys.modules})}
        return self.executor.run_local(command, arguments)

    def _on_desired(self, desired: Desired) -> None:
        if desired.contract > CONTRACT_HIGH and desired.revision > self.updater.revision:
            text = f"the controller speaks contract version {desired.contract} and above, this agent up to {CONTRACT_HIGH}"
            self.engine.notes.write(kind=NoteKind.AGENT, reason=Reason.AGENT_TOO_OLD, detail=text)
        self.updater.on_desired(desired)
        if desired.revision == self.updater.revision:
            self.configurator.on_desired(desired.configuration)

    def _flows(self) -> dict[str, Flow]:
        seconds = time.monotonic() - self.started
        return {item.settings.name: Flow(events=item.taken, answers=item.answered, seconds=seconds) for item in self._pipelines}

    def _on_gap(self, model: str, release: int, detail: str) -> None:
        reason = Reason.SWAP_UNLOADS_FIRST
        self.engine.notes.write(kind=NoteKind.UPDATE, reason=reason, model=model, release=release, detail=detail)

    def _on_degraded(self, reference: ModelRef, why: str) -> None:
        self.engine.notes.write(
            kind=NoteKind.WORKER,
            reason=Reason.PROVIDER_MISSING,
            detail=f"the model runs on {reference.provider} instead of what is required: {why}",
            model=reference.name,
            release=reference.release,
        )

    def _restart_model(self, name: str) -> None:
        if not self.models.restart(name):
            raise KeyError(name)

    def _reported_changed(self) -> None:
        self.uplink.publish_slot(Up.REPORTED)

    def _report_health(self) -> None:
        self.clock_watch.look()
        self.uplink.publish_health(self.reporter.report())

    # ---- proof of progress

    def _store_progresses(self) -> bool:
        """The writer commits (or fails and says so), or has nothing to do."""
        seen = sum(self.store.stats().values())
        now = time.monotonic()
        if seen != self._store_seen[0] or not self.store.busy:
            self._store_seen = (seen, now)
        return now - self._store_seen[1] < STUCK_SECONDS

    def _links_live(self) -> bool:
        return self.site.alive and self.fleet.alive

    def _check_watchdog(self, watchdog: Watchdog) -> None:
        stuck = watchdog.check()
        if stuck and stuck != self._told_stuck:
            log.error("no progress", extra={"parts": ", ".join(stuck)})
        self._told_stuck = stuck


def _look_around() -> Surroundings:
    battery, charging = read_battery()
    return Surroundings(
        battery_percent=battery, charging=charging, celsius=read_temperature(), interface=read_default_interface()
    )


def run(started: Started, path: Path) -> int:
    """Run the daemon; returns the exit status: 0 after a stop in order, 1 when it cannot run.

    `path` is the device's own file. Where the configuration asks for a restart this does not return: the same program takes
    this process over, so that whoever supervises it sees no end. The journal gives the open windows back.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    settings = started.settings
    try:
        agent = Agent(settings, path, started.record)
        control = ControlServer(Path(settings.control_socket), agent.loop, agent.answer_control)
    except (StoreError, OSError, ValueError) as error:
        sys.stderr.write(f"edge-agent: cannot start: {error}\n")
        return 1
    status = 0
    with contextlib.suppress(KeyboardInterrupt):
        status = agent.run(control)
    # whoever wants the process to end must be heard to the last moment: everything is stopped, so a signal simply ends it
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if agent.restarting and not status:
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the arguments are its own
    return status
