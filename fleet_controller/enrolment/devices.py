"""Adding a device to the fleet and taking it out again: credentials, their hashes, and the broker's password file."""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from fleet_contract.topics import check_device_id
from fleet_controller.durable import write_file_durably
from fleet_controller.enrolment.broker_password import new_password, password_line, with_user
from fleet_controller.enrolment.tokens import hash_token, new_token
from fleet_controller.settings import ControllerSettings
from fleet_controller.store.database import Database
from fleet_controller.store.enrolled import (
    DeviceRow,
    broker_lines,
    get_device,
    put_device,
    revoke_device,
    set_labels,
)
from fleet_controller.store.operators import record_action

log = logging.getLogger(__name__)

RELOAD_TIMEOUT: Final = 10.0
_MAX_LABEL: Final = 63


class EnrolmentError(Exception):
    """Refused; the text says why."""


class DeviceExists(EnrolmentError):
    """There is a device of this name already."""


class DeviceMissing(EnrolmentError):
    """There is no device of this name, or it was forgotten."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a new device signs in with. It is shown once: the controller keeps hashes alone."""

    device: str
    broker_password: str
    token: str
    broker_host: str
    broker_port: int
    broker_tls: bool
    url: str
    warning: str | None = None
    """What the operator still has to do by hand."""


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise EnrolmentError for a label that could not be selected again."""
    for key, value in labels.items():
        for text in (key, value):
            if not 1 <= len(text) <= _MAX_LABEL or any(sign in text for sign in "=, \t\r\n\0"):
                raise EnrolmentError(f"label {key}={value}: 1 to {_MAX_LABEL} characters each, no '=', ',' or white space")


class Enrolment:
    """Devices and their credentials. Callable from any thread. `signal_process` sends a signal to a process id."""

    def __init__(
        self,
        settings: ControllerSettings,
        database: Database,
        clock: Callable[[], float],
        signal_process: Callable[[int, int], None] = os.kill,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._signal = signal_process
        self._file = settings.enrolment.broker_password_file or settings.state_dir / "broker.passwords"
        self._lock = threading.Lock()

    def check(self, device: str, labels: Mapping[str, str]) -> None:
        """Raise what `add` would raise, without changing anything."""
        self._check_arguments(device, labels)
        with self._database.read() as connection:
            row = get_device(connection, device)
        if row is not None and row.revoked is None:
            raise DeviceExists(f"there is a device {device!r} already")

    def add(self, device: str, labels: Mapping[str, str], operator: str) -> Credentials:
        """Add a device; raises EnrolmentError (bad name or label) or DeviceExists."""
        self._check_arguments(device, labels)
        password, token = new_password(), new_token()
        now = self._clock()
        with self._lock:
            with self._database.write() as connection:
                row = get_device(connection, device)
                if row is not None and row.revoked is None:
                    raise DeviceExists(f"there is a device {device!r} already")
                put_device(connection, device, labels, hash_token(token), password_line(device, password), now)
                record_action(connection, now, operator, "device.add", device, {"labels": dict(labels)})
            warning = self._tell_broker()
        mqtt, enrolment = self._settings.mqtt, self._settings.enrolment
        return Credentials(
            device=device,
            broker_password=password,
            token=token,
            broker_host=enrolment.broker_host or mqtt.host,
            broker_port=enrolment.broker_port or mqtt.port,
            broker_tls=mqtt.tls,
            url=self._settings.public_url,
            warning=warning,
        )

    def relabel(self, device: str, changes: Mapping[str, str | None], operator: str) -> DeviceRow:
        """Set labels; None takes one away. Returns the device; raises DeviceMissing or EnrolmentError."""
        check_labels({key: value for key, value in changes.items() if value is not None})
        with self._database.write() as connection:
            row = self._present(get_device(connection, device), device)
            labels = {key: value for key, value in {**row.labels, **changes}.items() if value is not None}
            set_labels(connection, device, labels)
            record_action(connection, self._clock(), operator, "device.label", device, {"labels": labels})
        return DeviceRow(device, labels, row.created, None)

    def forget(self, device: str, operator: str) -> str | None:
        """Revoke a device's credentials. Returns what is left to do by hand, if anything; raises DeviceMissing."""
        now = self._clock()
        with self._lock:
            with self._database.write() as connection:
                self._present(get_device(connection, device), device)
                revoke_device(connection, device, now)
                record_action(connection, now, operator, "device.forget", device, {})
            return self._tell_broker()

    def sync_broker(self) -> str | None:
        """Write the password file from the database; at start, because a crash may have come between the two."""
        with self._lock:
            return self._tell_broker()

    def _check_arguments(self, device: str, labels: Mapping[str, str]) -> None:
        try:
            check_device_id(device)
        except ValueError as error:
            raise EnrolmentError(str(error)) from error
        check_labels(labels)
        if device == self._settings.mqtt.username:
            raise EnrolmentError(f"device id {device!r} is the controller's own user on the broker")

    @staticmethod
    def _present(row: DeviceRow | None, device: str) -> DeviceRow:
        if row is None or row.revoked is not None:
            raise DeviceMissing(f"there is no device {device!r}")
        return row

    def _tell_broker(self) -> str | None:
        with self._database.read() as connection:
            lines = broker_lines(connection)
        try:
            before = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
            content = before
            for device, line in sorted(lines.items()):
                content = with_user(content, device, line or None)
            if sorted(content.splitlines()) == sorted(before.splitlines()) and self._file.exists():
                return None
            if self._file.exists():
                status = self._file.stat()
                write_file_durably(self._file, content.encode(), mode=status.st_mode & 0o777, group=status.st_gid)
            else:
                write_file_durably(self._file, content.encode(), mode=0o640)
            self._reload()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            log.warning("the broker was not told of a changed password", extra={"file": str(self._file), "error": str(error)})
            return f"the broker could not be told of the change: {error}"
        return None

    def _reload(self) -> None:
        settings = self._settings.enrolment
        if settings.broker_reload_command:
            subprocess.run(settings.broker_reload_command, check=True, capture_output=True, timeout=RELOAD_TIMEOUT)
        elif settings.broker_pid_file is not None:
            self._signal(_read_pid(settings.broker_pid_file), signal.SIGHUP)


def _read_pid(path: Path) -> int:
    text = path.read_text(encoding="ascii").strip()
    if not text.isdigit() or int(text) < 2:
        raise ValueError(f"{path}: holds no process id")
    return int(text)
