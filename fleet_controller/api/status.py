"""Is the controller well, and who did what."""

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import Parameter

from fleet_controller import __version__
from fleet_controller.api.access import Role, needs
from fleet_controller.api.devices import get_devices, iso
from fleet_controller.services import Services
from fleet_controller.store.operators import recent_actions

Ask = Request[Any, Any, Any]


@get("/healthz", sync_to_thread=True)
def get_healthz(request: Ask) -> dict[str, bool]:
    """For load balancers and probes, without a token: the process answers and its database can be read."""
    with request.app.state.services.database.read():
        return {"ok": True}


@get("/health", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_health(request: Ask) -> dict[str, Any]:
    """The controller's own state and every device's, for `fleet health`."""
    services: Services = request.app.state.services
    expiries = request.app.state.registry.repository.expiries()
    return {
        "version": __version__,
        "broker_connected": services.connected(),
        "counters": dict(services.counters()),
        "metadata_expires": {role: iso(when.timestamp()) for role, when in expiries.items()},
        "devices": get_devices.fn(request),
    }


@get("/audit", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_audit(request: Ask, limit: Annotated[int, Parameter(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
    """The newest actions of operators, newest first."""
    with request.app.state.services.database.read() as connection:
        return [row | {"time": iso(row["time"])} for row in recent_actions(connection, limit)]
