"""Asking a device: a command goes out, and its answer is waited for."""

from typing import Any, Final
from urllib.parse import quote

from fleet_controller.cli.connection import Service

WAIT_STEP: Final = 20.0
"""How long one request to the service waits for the device's answer (seconds)."""


def ask(service: Service, name: str, what: str, arguments: dict[str, Any], wait: float) -> dict[str, Any]:
    """Send one command and wait up to `wait` seconds; `status` is None in the answer if the device has not answered."""
    body = {"name": what, "arguments": arguments, "expiry_s": max(wait, 1.0), "wait_s": min(wait, WAIT_STEP)}
    answer: dict[str, Any] = service.post(f"/devices/{quote(name, safe='')}/commands", body)
    left = wait - WAIT_STEP
    while answer["status"] is None and left > 0:
        answer = service.get(f"/commands/{answer['correlation']}", wait_s=min(left, WAIT_STEP))
        left -= WAIT_STEP
    return answer
