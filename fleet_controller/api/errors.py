"""Every error leaves as `{"code", "detail"}`: a stable word for programs, a sentence for people."""

import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from fleet_contract.bundle import BundleError
from fleet_controller.commands import NotConnected, UnknownDevice
from fleet_controller.configurations.service import InvalidConfiguration
from fleet_controller.enrolment.devices import DeviceExists, DeviceMissing, EnrolmentError
from fleet_controller.registry.keys import KeyFileError
from fleet_controller.registry.publication import PublicationError
from fleet_controller.rollouts.service import Conflict, NotFound

log = logging.getLogger(__name__)

_STATUS_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}


class ApiError(Exception):
    """An error with its HTTP status, code and text."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


KNOWN: dict[type[Exception], tuple[int, str]] = {
    UnknownDevice: (404, "not_found"),
    DeviceMissing: (404, "not_found"),
    NotFound: (404, "not_found"),
    DeviceExists: (409, "exists"),
    Conflict: (409, "conflict"),
    NotConnected: (503, "broker_unreachable"),
    EnrolmentError: (400, "bad_request"),
    InvalidConfiguration: (422, "configuration_invalid"),
    PublicationError: (422, "publication_refused"),
    KeyFileError: (500, "online_keys"),
}
"""What the rooms raise, and what becomes of it. A subclass stands before its base."""


def answer(_request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """Turn an exception into the answer; what is not known is a defect: logged, and told without details."""
    if isinstance(error, ApiError):
        return _response(error.status, error.code, str(error))
    if isinstance(error, BundleError):
        return _response(422, error.reason, str(error))
    for kind, (status, code) in KNOWN.items():
        if isinstance(error, kind):
            return _response(status, code, str(error))
    if isinstance(error, HTTPException):
        code = _STATUS_CODES.get(error.status_code, "bad_request" if error.status_code < 500 else "internal")
        return _response(error.status_code, code, _text(error))
    log.error("a request failed", exc_info=error)
    return _response(500, "internal", "internal error; the controller's log has the details")


def _text(error: HTTPException) -> str:
    extra = error.extra if isinstance(error.extra, list) else []
    parts = [f"{each.get('key', '')}: {each.get('message', '')}".strip(": ") for each in extra if isinstance(each, dict)]
    return "; ".join([error.detail, *parts])


def _response(status: int, code: str, detail: str) -> Response[dict[str, str]]:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return Response({"code": str(code), "detail": detail}, status_code=status, headers=headers, media_type="application/json")
