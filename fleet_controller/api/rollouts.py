"""Rollouts over HTTP."""

from dataclasses import asdict
from typing import Any, Literal

import msgspec
from litestar import Request, get, post
from msgspec import Struct

from fleet_contract.reasons import MEANING, Reason
from fleet_controller.api.access import Role, needs
from fleet_controller.api.devices import iso
from fleet_controller.api.errors import ApiError
from fleet_controller.rollouts.service import RolloutView, Selection
from fleet_controller.rollouts.store import Rollout, choices
from fleet_controller.services import Services
from fleet_controller.settings import OnFailure
from fleet_controller.store.operators import record_action

Ask = Request[Any, Any, Any]


class NewRollout(Struct, forbid_unknown_fields=True):
    """Body of `POST /rollouts`. Durations are seconds; what is null is the configured default."""

    model: str
    release: int | None = None
    devices: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    all: bool = False
    canary: str | None = None
    soak: float | None = None
    timeout: float | None = None
    on_failure: OnFailure | None = None
    shadow: bool = True
    max_drift: float | None = None
    dry_run: bool = False


def _summary(rollout: Rollout) -> dict[str, Any]:
    view: dict[str, Any] = msgspec.to_builtins(asdict(rollout))
    return view | {"created": iso(rollout.created), "changed": iso(rollout.changed)}


def to_view(view: RolloutView) -> dict[str, Any]:
    """A rollout with its devices, as it leaves."""
    members = []
    for member in view.members:
        times = {name: iso(getattr(member, name)) for name in ("assigned", "attested", "healthy_since")}
        more = {
            "meaning": _meaning(member.reason),
            "drift": view.drift.get(member.device),
            "progress": view.progress.get(member.device),
        }
        members.append(msgspec.to_builtins(asdict(member)) | times | more)
    return _summary(view.rollout) | {"members": members}


def _meaning(code: str | None) -> str | None:
    return MEANING[Reason(code)] if code in set(Reason) else None


@get("/rollouts", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_rollouts(request: Ask) -> list[dict[str, Any]]:
    """The newest rollouts, newest first."""
    return [_summary(rollout) for rollout in request.app.state.services.rollouts.newest()]


@get("/rollouts/{number:int}", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_rollout(request: Ask, number: int) -> dict[str, Any]:
    """One rollout with its devices, and the variant that each has picked."""
    services: Services = request.app.state.services
    view = services.rollouts.show(number)
    names = [member.device for member in view.members]
    with services.database.read() as connection:
        picked = choices(connection, view.rollout.model, view.rollout.release, names)
    shown = to_view(view)
    for member in shown["members"]:
        member["choice"] = picked.get(member["device"])
    return shown


@post("/rollouts", guards=[needs(Role.OPERATOR)], sync_to_thread=True)
def start_rollout(request: Ask, data: NewRollout) -> dict[str, Any]:
    """Start a rollout; with `dry_run` only say which waves it would have."""
    services: Services = request.app.state.services
    if sum((bool(data.devices), bool(data.labels), data.all)) != 1:
        raise ApiError(400, "bad_request", "select devices by name, by labels, or all: exactly one of the three")
    try:
        view = services.rollouts.start(
            data.model,
            Selection(devices=data.devices, labels=data.labels, all=data.all),
            release=data.release,
            canary=data.canary,
            soak=data.soak,
            timeout=data.timeout,
            on_failure=data.on_failure,
            shadow=data.shadow,
            max_drift=data.max_drift,
            operator=request.state.operator,
            dry_run=data.dry_run,
        )
    except ValueError as error:
        raise ApiError(400, "bad_request", str(error)) from error
    if not data.dry_run:
        record(request, view.rollout, "start")
    return to_view(view)


@post("/rollouts/{number:int}/{action:str}", guards=[needs(Role.OPERATOR)], status_code=200, sync_to_thread=True)
def steer_rollout(request: Ask, number: int, action: Literal["pause", "resume", "abort", "return"]) -> dict[str, Any]:
    """Pause, resume, abort, or return."""
    rollouts = request.app.state.services.rollouts
    steps = {
        "pause": rollouts.pause,
        "resume": rollouts.resume,
        "abort": rollouts.abort,
        "return": rollouts.give_back,
    }
    view: RolloutView = steps[action](number)
    record(request, view.rollout, action)
    return to_view(view)


def record(request: Ask, rollout: Rollout, action: str) -> None:
    """A line in the audit log."""
    services: Services = request.app.state.services
    details = {"kind": rollout.kind.value, "model": rollout.model, "release": rollout.release}
    with services.database.write() as connection:
        record_action(connection, services.clock(), request.state.operator, f"rollout.{action}", str(rollout.id), details)
