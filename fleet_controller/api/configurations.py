"""Configurations over HTTP: set, list, show, assign in waves, unassign, remove."""

from typing import Any

from litestar import Request, delete, get, post
from msgspec import Struct

from fleet_contract.configuration import ConfigurationRevision
from fleet_controller.api.access import Role, needs
from fleet_controller.api.devices import iso
from fleet_controller.api.errors import ApiError
from fleet_controller.api.rollouts import record, to_view
from fleet_controller.configurations.service import InvalidConfiguration
from fleet_controller.configurations.store import Revision, Use
from fleet_controller.rollouts.policy import Kind
from fleet_controller.rollouts.service import Selection
from fleet_controller.services import Services
from fleet_controller.settings import OnFailure

Ask = Request[Any, Any, Any]


class NewRevision(Struct, forbid_unknown_fields=True):
    """Body of `POST /configurations/{name}`."""

    content: str
    contract_low: int = 1
    contract_high: int | None = None
    agent: str = ""
    dry_run: bool = False


class Assignment(Struct, forbid_unknown_fields=True):
    """Body of `POST /configurations/{name}/rollouts`. Durations are seconds; what is null is the configured default."""

    revision: int | None = None
    devices: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    all: bool = False
    canary: str | None = None
    soak: float | None = None
    timeout: float | None = None
    on_failure: OnFailure | None = None
    dry_run: bool = False


class Unassignment(Struct, forbid_unknown_fields=True):
    """Body of `POST /unassignments`."""

    devices: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    all: bool = False
    dry_run: bool = False


def _revision(row: Revision) -> dict[str, Any]:
    return {
        "name": row.name,
        "revision": row.revision,
        "digest": row.digest,
        "size": len(row.content),
        "contract_low": row.contract_low,
        "contract_high": row.contract_high,
        "agent": row.agent,
        "operator": row.operator,
        "created": iso(row.created),
    }


def _use(device: str, use: Use) -> dict[str, Any]:
    return {
        "device": device,
        "wanted": _part(use.wanted),
        "runs": _part(use.runs),
        "state": use.state,
        "reason": use.reason,
        "restart": list(use.restart),
    }


def _part(part: tuple[str, int] | None) -> dict[str, Any] | None:
    return None if part is None else {"name": part[0], "revision": part[1]}


def _selection(data: Assignment | Unassignment) -> Selection:
    if sum((bool(data.devices), bool(data.labels), data.all)) != 1:
        raise ApiError(400, "bad_request", "select devices by name, by labels, or all: exactly one of the three")
    return Selection(devices=data.devices, labels=data.labels, all=data.all)


@get("/configurations", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_configurations(request: Ask) -> list[dict[str, Any]]:
    """Every revision of every configuration, with how many devices want and run it."""
    services: Services = request.app.state.services
    rows, uses = services.configurations.all()
    wanted, runs = [use.wanted for use in uses.values()], [use.runs for use in uses.values()]
    return [
        _revision(row) | {"wanted_by": wanted.count((row.name, row.revision)), "run_by": runs.count((row.name, row.revision))}
        for row in rows
    ]


@get("/configurations/{name:str}", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_configuration(request: Ask, name: str, revision: int | None = None) -> dict[str, Any]:
    """One revision, or the newest, with its content and its devices."""
    services: Services = request.app.state.services
    row, uses = services.configurations.show(name, revision)
    devices = [_use(device, use) for device, use in uses.items()]
    return _revision(row) | {"content": row.content.decode("utf-8", "replace"), "devices": devices}


@post("/configurations/{name:str}", guards=[needs(Role.OPERATOR)], sync_to_thread=True)
def set_configuration(request: Ask, name: str, data: NewRevision) -> dict[str, Any]:
    """Check, sign and publish the next revision."""
    services: Services = request.app.state.services
    try:
        facts = ConfigurationRevision(
            name=name, revision=1, contract_low=data.contract_low, contract_high=data.contract_high, agent=data.agent
        )
        row, warning = services.configurations.put(data.content.encode(), facts, request.state.operator, dry_run=data.dry_run)
    except InvalidConfiguration:
        raise
    except ValueError as error:
        raise ApiError(400, "bad_request", str(error)) from error
    return _revision(row) | {"warning": warning, "dry_run": data.dry_run}


@post("/configurations/{name:str}/rollouts", guards=[needs(Role.OPERATOR)], sync_to_thread=True)
def assign_configuration(request: Ask, name: str, data: Assignment) -> dict[str, Any]:
    """Start a rollout of a revision; with `dry_run` only say which waves it would have."""
    services: Services = request.app.state.services
    selection = _selection(data)
    try:
        view = services.rollouts.start(
            name,
            selection,
            kind=Kind.CONFIGURATION,
            release=data.revision,
            canary=data.canary,
            soak=data.soak,
            timeout=data.timeout,
            on_failure=data.on_failure,
            operator=request.state.operator,
            dry_run=data.dry_run,
        )
    except ValueError as error:
        raise ApiError(400, "bad_request", str(error)) from error
    if not data.dry_run:
        record(request, view.rollout, "start")
    return to_view(view)


@post("/unassignments", guards=[needs(Role.OPERATOR)], sync_to_thread=True, status_code=200)
def unassign_configuration(request: Ask, data: Unassignment) -> dict[str, Any]:
    """Let devices go back to their own files alone."""
    services: Services = request.app.state.services
    told = services.configurations.unassign(_selection(data), request.state.operator, dry_run=data.dry_run)
    return {"devices": told, "dry_run": data.dry_run}


@delete("/configurations/{name:str}", guards=[needs(Role.OPERATOR)], sync_to_thread=True, status_code=200)
def remove_configuration(request: Ask, name: str, revision: int) -> dict[str, Any]:
    """Take a revision out of the signed metadata; refused while a device wants or runs it."""
    request.app.state.services.configurations.remove(name, revision, request.state.operator)
    return {"name": name, "revision": revision, "removed": True}
