"""The Litestar application over the running services."""

from litestar import Litestar, Router
from litestar.datastructures import State

from fleet_controller.api import artifacts, devices, models, rollouts, status
from fleet_controller.api.errors import answer
from fleet_controller.enrolment.devices import Enrolment
from fleet_controller.registry.service import open_registry
from fleet_controller.services import Services


def create_app(services: Services) -> Litestar:
    """Build the application, open the signed repository, and put its re-signing on the schedule.

    Raises KeyFileError or PublicationError when there is no usable repository: `fleet init` makes one.
    """
    registry = open_registry(services.settings, services.database, services.clock)
    enrolment = Enrolment(services.settings, services.database, services.clock)
    enrolment.sync_broker()
    # At once too: the controller may have been off for longer than the timestamp lives.
    registry.refresh()
    period = services.settings.registry.refresh
    services.scheduler.add_job(registry.refresh, "interval", seconds=period, id="sign online metadata")
    api = Router(
        "/api/v1",
        route_handlers=[
            devices.get_devices,
            devices.get_one_device,
            devices.add_device,
            devices.label_device,
            devices.forget_device,
            devices.send_command,
            devices.get_commands,
            devices.get_command,
            models.get_models,
            models.get_model,
            models.get_models_metadata,
            models.upload_bundle,
            models.publish_release,
            rollouts.get_rollouts,
            rollouts.get_rollout,
            rollouts.start_rollout,
            rollouts.steer_rollout,
            status.get_health,
            status.get_audit,
        ],
    )
    return Litestar(
        [api, status.get_healthz, artifacts.download_metadata, artifacts.download_target],
        state=State({"services": services, "registry": registry, "enrolment": enrolment}),
        exception_handlers={Exception: answer},
        openapi_config=None,
        debug=False,
    )
