"""The Litestar application over the running services."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from litestar import Litestar, Router
from litestar.concurrency import set_asyncio_executor
from litestar.datastructures import State

from fleet_controller.api import alarms, artifacts, configurations, devices, drift, feedback, models, rollouts, status, trust
from fleet_controller.api.errors import answer
from fleet_controller.services import Services

HTTP_THREADS: Final = 64


def create_app(services: Services) -> Litestar:
    """Build the application. It reads and writes through `services` alone and starts nothing of its own."""
    # Handlers may wait for a device's answer: they must not use up the few threads that asyncio has on a small machine.
    set_asyncio_executor(ThreadPoolExecutor(HTTP_THREADS, "http"))
    api = Router(
        "/api/v1",
        route_handlers=[
            alarms.get_alarms,
            configurations.get_configurations,
            configurations.get_configuration,
            configurations.set_configuration,
            configurations.assign_configuration,
            configurations.unassign_configuration,
            configurations.remove_configuration,
            devices.get_devices,
            devices.get_one_device,
            devices.add_device,
            devices.label_device,
            devices.forget_device,
            devices.send_command,
            devices.get_commands,
            devices.get_command,
            drift.get_drift,
            feedback.give_feedback,
            feedback.get_feedback,
            feedback.get_accuracy,
            models.get_models,
            models.get_model,
            models.upload_bundle,
            models.publish_release,
            rollouts.get_rollouts,
            rollouts.get_rollout,
            rollouts.start_rollout,
            rollouts.steer_rollout,
            status.get_health,
            status.get_audit,
            trust.get_trust,
            trust.get_root,
            trust.change_trust,
            trust.revoke_releases,
        ],
    )
    return Litestar(
        [api, status.get_healthz, artifacts.download_metadata, artifacts.download_target, artifacts.download_delta],
        state=State({"services": services, "registry": services.registry, "enrolment": services.enrolment}),
        exception_handlers={Exception: answer},
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
