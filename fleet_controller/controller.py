"""The composition root of the service: builds every part, runs them, stops them in order.

The main thread serves HTTP. Besides it there are the fleet session, intake, the rollouts' engine and the scheduler; the
first of them that ends unasked ends the process, so that whoever supervises it starts a whole one again.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from types import FrameType
from typing import Final

import uvicorn
from apscheduler.schedulers.background import BackgroundScheduler

from fleet_controller.api.app import create_app
from fleet_controller.commands import Commands
from fleet_controller.configurations.service import open_configurations
from fleet_controller.desired import DesiredStates
from fleet_controller.enrolment.devices import Enrolment
from fleet_controller.feedback.giving import Feedbacks
from fleet_controller.feedback.sending import RESEND_EVERY, Sending
from fleet_controller.intake.intake import Changes, Intake
from fleet_controller.intake.session import Session
from fleet_controller.logs import set_up_logging
from fleet_controller.registry.service import open_registry
from fleet_controller.rollouts.engine import Engine
from fleet_controller.rollouts.service import Rollouts
from fleet_controller.services import Services
from fleet_controller.settings import ControllerSettings
from fleet_controller.store.database import Database, open_database
from fleet_controller.store.pruning import prune_feedback, prune_health

log = logging.getLogger(__name__)

FAILED: Final = 1
_PRUNE_EVERY: Final = 3600
_WATCH_EVERY: Final = 1.0


class ControllerError(RuntimeError):
    """The service cannot start; the text says what to do."""


class Controller:
    """Everything that runs, wired."""

    def __init__(self, settings: ControllerSettings, database: Database) -> None:
        """Raises KeyFileError or PublicationError when the state folder was not made by `fleet init`."""
        clock = time.time
        self.settings = settings
        self.database = database
        registry = open_registry(settings, database, clock)
        self.enrolment = Enrolment(settings, database, clock)
        # The session tells intake and engine, and they publish through it: the handlers are bound below, before it starts.
        self.session = Session(settings.mqtt, self._on_message, self._on_up)
        self.desired = DesiredStates(database, self.session.publish, clock)
        self.commands = Commands(database, self.session.publish, clock)
        self.feedback = Sending(database, self.session.publish, clock)
        self.engine = Engine(database, self.desired, settings.rollouts.interval, clock)
        self.intake = Intake(database, self.session.publish, settings.intake, self._on_changes, clock)
        rollouts = Rollouts(database, self.desired, self.engine, settings.rollouts, clock)
        # Daemonic threads: a job that hangs does not keep the process from ending.
        self.scheduler = BackgroundScheduler(timezone="UTC", daemon=True)
        self.services = Services(
            settings=settings,
            database=database,
            registry=registry,
            enrolment=self.enrolment,
            desired=self.desired,
            rollouts=rollouts,
            configurations=open_configurations(database, registry.repository, self.desired, rollouts, clock),
            commands=self.commands,
            feedbacks=Feedbacks(database, self.feedback.send, clock),
            scheduler=self.scheduler,
            counters=self.counters,
            connected=lambda: self.session.connected,
            clock=clock,
        )
        self.scheduler.add_job(
            registry.refresh,
            "interval",
            seconds=settings.registry.refresh,
            id="refresh",
            coalesce=True,
            misfire_grace_time=None,
        )
        self.scheduler.add_job(
            self._prune, "interval", seconds=_PRUNE_EVERY, id="prune", coalesce=True, misfire_grace_time=None
        )
        self.scheduler.add_job(
            self.feedback.send_all, "interval", seconds=RESEND_EVERY, id="feedback", coalesce=True, misfire_grace_time=None
        )

    def _prune(self) -> None:
        prune_health(self.database, self.services.clock() - self.settings.database.health_history)
        prune_feedback(self.database)

    def start(self) -> None:
        """Start the threads."""
        warning = self.enrolment.sync_broker()
        if warning is not None:
            log.warning("the broker's password file is not in step", extra={"detail": warning})
        # Devices stop believing a timestamp that has expired, and this process may have been away for long.
        self.services.registry.refresh()
        self.services.registry.deltas.start()
        self.scheduler.start()
        self.intake.start()
        self.engine.start()
        self.session.start()

    def stop(self) -> bool:
        """Stop in order, within the configured time; False if something had to be abandoned."""
        end = time.monotonic() + self.settings.stop_timeout
        self.scheduler.shutdown(wait=False)
        self.services.registry.deltas.stop()
        stopped = [part.stop(max(end - time.monotonic(), 0.1)) for part in (self.session, self.intake, self.engine)]
        return all(stopped)

    def dead_thread(self) -> str | None:
        """The name of a part that has ended unasked."""
        alive = {"fleet session": self.session.alive, "intake": self.intake.alive, "rollouts": self.engine.alive}
        return next((name for name, lives in alive.items() if not lives), None)

    def counters(self) -> Mapping[str, int]:
        """Totals since the start."""
        total: Counter[str] = Counter()
        for part in (self.session, self.intake, self.engine, self.feedback):
            total.update(dict(part.counters))
        return total

    def _on_message(self, topic: str, payload: bytes) -> None:
        self.intake.put(topic, payload)

    def _on_up(self) -> None:
        self.engine.connected()

    def _on_changes(self, changes: Changes) -> None:
        self.commands.answered(changes.replies)
        if changes.touches_rollouts:
            self.engine.wake()
        # A device that has just come and has not taken in what is desired: the broker may have lost it.
        arrived = {device for device, online in changes.births.items() if online}
        told = {*self.desired.behind(arrived), *self.desired.overtake(changes.reported)}
        if told:
            self.desired.publish(told)
        self.feedback.send(arrived | self.feedback.reported(changes.reported))


def run(settings: ControllerSettings) -> int:
    """Run the service until SIGTERM or SIGINT. Returns the exit status; raises ControllerError,
    DatabaseError, KeyFileError or PublicationError when it cannot start."""
    set_up_logging(settings.log_level, settings.log_json)
    with closing(_listen(settings)) as listener, closing(open_database(settings.database_url)) as database:
        controller = Controller(settings, database)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(controller.services),
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=max(1, round(settings.stop_timeout / 2)),
            )
        )
        return _serve(controller, server, listener)


def _serve(controller: Controller, server: uvicorn.Server, listener: socket.socket) -> int:
    stopping = threading.Event()
    status = 0

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    def watch() -> None:
        nonlocal status
        while not stopping.wait(_WATCH_EVERY):
            dead = controller.dead_thread()
            if dead is not None:
                log.critical("a part of the controller has ended unasked", extra={"part": dead})
                status = FAILED
                server.should_exit = True
                return

    # uvicorn raises the signal again after it has stopped: these handlers take it, and the rest stops in order.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    controller.start()
    threading.Thread(target=watch, name="watch", daemon=True).start()
    host, port = listener.getsockname()[:2]
    log.info("the controller runs", extra={"host": host, "port": port, "pid": os.getpid()})
    try:
        server.run(sockets=[listener])
    finally:
        stopping.set()
        if not controller.stop():
            log.error("stopping took too long, what was left is abandoned")
            status = FAILED
    log.info("the controller has stopped")
    return status


def _listen(settings: ControllerSettings) -> socket.socket:
    host, port = settings.http.host, settings.http.port
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    except OSError as error:
        # The library adds the address to its text, which already stands here; a name that is not found has no errno above 0.
        cause = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        raise ControllerError(f"cannot listen on {host}:{port} (http.host, http.port): {cause}") from error
