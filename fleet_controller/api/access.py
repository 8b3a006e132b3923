"""Who may do what: bearer tokens of operators and devices, checked before a handler runs."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from fleet_controller.api.errors import ApiError
from fleet_controller.enrolment.tokens import hash_token
from fleet_controller.store.database import Database
from fleet_controller.store.enrolled import device_of_token
from fleet_controller.store.operators import operator_of_token

Connection = ASGIConnection[Any, Any, Any, Any]


class Role(StrEnum):
    """What an operator may do."""

    VIEWER = "viewer"
    """Read everything."""
    OPERATOR = "operator"
    """Change things too."""


def bearer(header: str | None) -> str:
    """The token of an Authorization header; raises ApiError 401."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(401, "unauthorized", "an `Authorization: Bearer TOKEN` header is needed")
    return token.strip()


def needs(role: Role) -> Callable[[Connection, BaseRouteHandler], None]:
    """A guard that lets operators of this role (or above) pass; their name is then `connection.state.operator`."""

    def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
        database: Database = connection.app.state.services.database
        token = hash_token(bearer(connection.headers.get("authorization")))
        with database.read() as transaction:
            row = operator_of_token(transaction, token)
        if row is None or row.revoked is not None:
            raise ApiError(401, "unauthorized", "the token is not known")
        if role is Role.OPERATOR and row.role != Role.OPERATOR:
            raise ApiError(403, "forbidden", f"{row.name} is a {row.role}; this needs the role operator")
        connection.state.operator = row.name

    return guard


def needs_any_token(connection: Connection, _handler: BaseRouteHandler) -> None:
    """A guard for downloads: a device of the fleet, or any operator. A forgotten device is told so with 403."""
    database: Database = connection.app.state.services.database
    token = hash_token(bearer(connection.headers.get("authorization")))
    with database.read() as transaction:
        device = device_of_token(transaction, token)
        operator = operator_of_token(transaction, token) if device is None else None
    if device is not None and device.revoked is not None:
        raise ApiError(403, "forbidden", f"device {device.device!r} was taken out of the fleet")
    if device is None and (operator is None or operator.revoked is not None):
        raise ApiError(401, "unauthorized", "the token is not known")
