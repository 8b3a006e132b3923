"""What the HTTP API and the scheduled jobs work with: built once by the composition root, `controller.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from apscheduler.schedulers.background import BackgroundScheduler

from fleet_controller.commands import Commands
from fleet_controller.configurations.service import Configurations
from fleet_controller.desired import DesiredStates
from fleet_controller.enrolment.devices import Enrolment
from fleet_controller.feedback.giving import Feedbacks
from fleet_controller.registry.service import Registry
from fleet_controller.rollouts.service import Rollouts
from fleet_controller.settings import ControllerSettings
from fleet_controller.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The running parts. Everything here may be used from any thread."""

    settings: ControllerSettings
    database: Database
    registry: Registry
    enrolment: Enrolment
    desired: DesiredStates
    rollouts: Rollouts
    configurations: Configurations
    commands: Commands
    feedbacks: Feedbacks
    scheduler: BackgroundScheduler
    """Runs jobs in its own threads; started after the application is made, so jobs may be added while building it."""
    counters: Callable[[], Mapping[str, int]]
    """Totals since the start: intake, link, rollouts."""
    connected: Callable[[], bool]
    """Whether the fleet broker is reached now."""
    clock: Callable[[], float]
    """Seconds since 1970."""
