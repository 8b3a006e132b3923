"""Alarms over HTTP."""

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import Parameter

from fleet_controller.api.access import Role, needs
from fleet_controller.api.devices import iso
from fleet_controller.store.alarms import list_alarms

Ask = Request[Any, Any, Any]


@get("/alarms", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_alarms(
    request: Ask, device: str | None = None, cleared: bool = False, limit: Annotated[int, Parameter(ge=1, le=1000)] = 100
) -> list[dict[str, Any]]:
    """The newest alarms that are on, newest first; with `cleared` those that are over too."""
    with request.app.state.services.database.read() as connection:
        rows = list_alarms(connection, device, cleared=cleared, limit=limit)
    return [
        {
            "id": row.alarm_id,
            "device": row.device,
            "pipeline": row.pipeline,
            "source": row.source,
            "state": row.state,
            "severity": row.severity,
            "text": row.text,
            "since": row.since,
            "time": row.time,
            "first_received": iso(row.first_received),
            "received": iso(row.received),
        }
        for row in rows
    ]
