"""Devices over HTTP: list, show, add, label, forget, commands and logs."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from litestar import Request, delete, get, patch, post
from litestar.params import Parameter
from msgspec import Struct

from fleet_controller.api.access import Role, needs
from fleet_controller.api.errors import ApiError
from fleet_controller.commands import CommandRecord
from fleet_controller.enrolment.devices import Enrolment, check_labels
from fleet_controller.services import Services
from fleet_controller.store.enrolled import DeviceRow, get_device, list_devices
from fleet_controller.store.operators import record_action
from fleet_controller.store.slots import Channel, Slot, read_slots
from fleet_controller.store.tables import notes

Ask = Request[Any, Any, Any]


class NewDevice(Struct, forbid_unknown_fields=True):
    """Body of `POST /devices`."""

    device: str
    labels: dict[str, str] = {}
    dry_run: bool = False


class NewLabels(Struct, forbid_unknown_fields=True):
    """Body of `PATCH /devices/{device}`: null takes a label away."""

    labels: dict[str, str | None]


class NewCommand(Struct, forbid_unknown_fields=True):
    """Body of `POST /devices/{device}/commands`. `wait_s`: how long the answer waits for the device's reply."""

    name: str
    arguments: dict[str, Any] = {}
    expiry_s: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 60.0
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 10.0


def iso(seconds: float | None) -> str | None:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if seconds else None


def _payload(slot: Slot | None) -> Any:
    return msgspec.json.decode(slot.payload) if slot is not None else None


def _view(row: DeviceRow, slots: dict[tuple[str, str], Slot]) -> dict[str, Any]:
    birth, reported, health = (slots.get((row.device, channel)) for channel in Channel)
    said = _payload(birth)
    return {
        "device": row.device,
        "labels": row.labels,
        "created": iso(row.created),
        "online": bool(said) and said.get("state") == "online",
        "last_seen": iso(max((slot.received for slot in (birth, reported, health) if slot is not None), default=None)),
        "birth": said,
        "reported": _payload(reported),
        "health": _payload(health),
        "health_received": iso(health.received) if health is not None else None,
    }


@get("/devices", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_devices(request: Ask) -> list[dict[str, Any]]:
    """Every device with what it last said."""
    services: Services = request.app.state.services
    with services.database.read() as connection:
        rows, slots = list_devices(connection), read_slots(connection)
    return [_view(row, slots) for row in rows]


@get("/devices/{device:str}", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_one_device(request: Ask, device: str) -> dict[str, Any]:
    """One device with what is desired of it and its newest notes."""
    services: Services = request.app.state.services
    with services.database.read() as connection:
        row = _present(get_device(connection, device), device)
        slots = read_slots(connection, [device])
        desired = services.desired.get(connection, device)
        found = connection.execute(
            sa.select(notes.c.payload).where(notes.c.device == device).order_by(notes.c.id.desc()).limit(20)
        ).scalars()
        recent = [msgspec.json.decode(payload) for payload in found]
    return _view(row, slots) | {"desired": msgspec.to_builtins(desired), "notes": recent}


@post("/devices", guards=[needs(Role.OPERATOR)], sync_to_thread=True)
def add_device(request: Ask, data: NewDevice) -> dict[str, Any]:
    """Add a device. The answer holds its credentials, this once, and the root of trust."""
    enrolment: Enrolment = request.app.state.enrolment
    root = request.app.state.registry.repository.root().decode()
    if data.dry_run:
        enrolment.check(data.device, data.labels)
        return {"device": data.device, "labels": data.labels, "dry_run": True}
    credentials = enrolment.add(data.device, data.labels, request.state.operator)
    view: dict[str, Any] = msgspec.to_builtins(credentials)
    return view | {"labels": data.labels, "root": root}


@patch("/devices/{device:str}", guards=[needs(Role.OPERATOR)], sync_to_thread=True)
def label_device(request: Ask, device: str, data: NewLabels) -> dict[str, Any]:
    """Set and take away labels."""
    check_labels({key: value for key, value in data.labels.items() if value is not None})
    row = request.app.state.enrolment.relabel(device, data.labels, request.state.operator)
    return {"device": row.device, "labels": row.labels}


@delete("/devices/{device:str}", guards=[needs(Role.OPERATOR)], status_code=200, sync_to_thread=True)
def forget_device(request: Ask, device: str, dry_run: bool = False) -> dict[str, Any]:
    """Take a device out of the fleet: its credentials end, and nothing is desired of it any more."""
    services: Services = request.app.state.services
    with services.database.read() as connection:
        _present(get_device(connection, device), device)
    if dry_run:
        return {"device": device, "dry_run": True}
    warning = request.app.state.enrolment.forget(device, request.state.operator)
    with services.database.write() as connection:
        services.desired.forget(connection, device)
    services.desired.publish_nothing(device)
    return {"device": device, "forgotten": True, "warning": warning}


@post("/devices/{device:str}/commands", guards=[needs(Role.OPERATOR)], sync_to_thread=True)
def send_command(request: Ask, device: str, data: NewCommand) -> dict[str, Any]:
    """Send a command and wait a while for the reply; `status` is null if there is none yet."""
    services: Services = request.app.state.services
    operator = request.state.operator
    correlation = services.commands.send(device, data.name, data.arguments, expiry=data.expiry_s, operator=operator)
    with services.database.write() as connection:
        details = {"name": data.name, "arguments": data.arguments, "correlation": correlation}
        record_action(connection, services.clock(), operator, "device.command", device, details)
    return _command(services.commands.wait(correlation, data.wait_s), correlation)


@get("/devices/{device:str}/commands", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_commands(request: Ask, device: str) -> list[dict[str, Any]]:
    """The newest commands of a device, newest first."""
    return [_command(record, record.correlation) for record in request.app.state.services.commands.of_device(device)]


@get("/commands/{correlation:str}", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_command(request: Ask, correlation: str, wait_s: Annotated[float, Parameter(ge=0, le=60)] = 0.0) -> dict[str, Any]:
    """One command, its reply, and the log lines that came for it; waits for the reply up to `wait_s` seconds."""
    services: Services = request.app.state.services
    view = _command(services.commands.wait(correlation, wait_s), correlation)
    lines, complete = services.commands.log_lines(correlation)
    return view | {"lines": lines, "complete": complete}


def _command(record: CommandRecord | None, correlation: str) -> dict[str, Any]:
    if record is None:
        raise ApiError(404, "not_found", f"there is no command {correlation!r}")
    return {
        "correlation": record.correlation,
        "device": record.device,
        "name": record.name,
        "arguments": record.arguments,
        "operator": record.operator,
        "created": iso(record.created),
        "expires": iso(record.expires),
        "status": record.status,
        "answered": iso(record.answered),
        "reply": msgspec.to_builtins(record.reply) if record.reply is not None else None,
    }


def _present(row: DeviceRow | None, device: str) -> DeviceRow:
    if row is None or row.revoked is not None:
        raise ApiError(404, "not_found", f"there is no device {device!r}; `fleet device list` shows what there is")
    return row
