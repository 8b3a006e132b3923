"""The Litestar application over the running services."""

from litestar import Litestar, Router
from litestar.datastructures import State

from fleet_controller.api import artifacts, devices, models, rollouts, status
from fleet_controller.api.errors import answer
from fleet_controller.services import Services


def create_app(services: Services) -> Litestar:
    """Build the application. It reads and writes through `services` alone and starts nothing of its own."""
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
        state=State({"services": services, "registry": services.registry, "enrolment": services.enrolment}),
        exception_handlers={Exception: answer},
        openapi_config=None,
        debug=False,
    )
