"""The signed metadata over HTTP: what operators sign the next version of, and taking in what they signed."""

from typing import Any

from litestar import Request, get, post
from msgspec import Struct

from fleet_controller.api.access import Role, needs
from fleet_controller.registry.repository import SignedChange
from fleet_controller.registry.service import Registry
from fleet_controller.registry.trust_change import ONLINE, ROLES

Ask = Request[Any, Any, Any]


class Revocation(Struct, forbid_unknown_fields=True):
    """Body of `POST /revocations`: the signed `models` metadata as text."""

    metadata: str


@get("/trust", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_trust(request: Ask) -> dict[str, Any]:
    """The documents that offline keys sign, and of each role its keys, threshold and expiry."""
    registry: Registry = request.app.state.registry
    state = registry.repository.trust()
    expiries = registry.repository.expiries()
    roles = {
        role: {
            "threshold": state.threshold(role),
            "expires": expiries[role].isoformat(),
            "online": role in ONLINE,
            "keys": [{"id": key.keyid, "scheme": key.scheme} for key in state.keys(role)],
        }
        for role in ROLES
        if role in expiries
    }
    documents = {name: getattr(state, name).to_bytes().decode() for name in ("root", "targets", "models")}
    return {"roles": roles, "floors": registry.repository.floors(), "documents": documents}


@get("/trust/root", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_root(request: Ask, version: int | None = None) -> dict[str, str]:
    """The newest root, or one version of it: what a new device starts its trust from."""
    repository = request.app.state.registry.repository
    return {"metadata": (repository.root() if version is None else repository.root_of(version)).decode()}


@post("/trust", guards=[needs(Role.OPERATOR)], sync_to_thread=True, status_code=200)
def change_trust(request: Ask, data: SignedChange) -> dict[str, Any]:
    """Take in a change of keys that was signed on the operator's machine."""
    request.app.state.registry.change_trust(data, request.state.operator)
    return {"changed": [name for name in ("root", "targets", "models") if getattr(data, name) is not None]}


@post("/revocations", guards=[needs(Role.OPERATOR)], sync_to_thread=True, status_code=200)
def revoke_releases(request: Ask, data: Revocation) -> dict[str, Any]:
    """Take in a raised floor that was signed on the operator's machine."""
    model, floor = request.app.state.registry.revoke(data.metadata.encode(), request.state.operator)
    return {"model": model, "floor": floor}
