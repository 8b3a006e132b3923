"""Brokers as processes on 127.0.0.1: Mosquitto with the very settings that `deploy/` ships, or iotcore from PyPI.

iotcore is for the demo where no Mosquitto is installed. It has no topic rules, no TLS here, and keeps nothing over a restart.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Final

from fleet_controller.demo.broker_configuration import iotcore_toml, with_values
from fleet_controller.enrolment.broker_password import password_line

_POLL: Final = 0.02


class Kind(StrEnum):
    """Which program."""

    MOSQUITTO = "mosquitto"
    IOTCORE = "iotcore"


class Role(StrEnum):
    """Whose shipped configuration a Mosquitto runs with."""

    FLEET = "fleet"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files for a TLS listener; with `client` a client must show a certificate, whose CN is then its user name."""

    ca: Path
    certificate: Path
    key: Path
    client: bool = False


def find_mosquitto() -> str | None:
    """The program, also where Debian puts it for administrators."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def default_kind() -> Kind:
    """Mosquitto if it is installed, otherwise iotcore."""
    return Kind.MOSQUITTO if find_mosquitto() else Kind.IOTCORE


class Broker:
    """One broker process, which can be killed and started again on the same folder and port.

    Args:
        folder: holds configuration, database and log; made if it is not there.
        users: user name to password; changes to `passwords` (the file) are taken up by `reload`.
        role: which shipped configuration; with `fleet` its topic rules apply.
    """

    def __init__(
        self,
        kind: Kind,
        folder: Path,
        port: int,
        users: Mapping[str, str],
        *,
        role: Role = Role.SITE,
        certificates: Certificates | None = None,
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.port = port
        self.passwords = folder / "passwords"
        """Mosquitto's password file."""
        self._users = dict(users)
        self._role = role
        self._certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process; raises RuntimeError if there is none."""
        if self._process is None:
            raise RuntimeError("the broker is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the process; `wait_ready` tells when it listens. Raises FileNotFoundError if the program is not installed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self._mosquitto_command() if self.kind is Kind.MOSQUITTO else self._iotcore_command()
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Return when the port takes connections. Raises RuntimeError with the end of the log if that does not come about."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"{self.kind} ended at once: {self.log_tail()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            except OSError:
                time.sleep(_POLL)
            else:
                return
        raise RuntimeError(f"{self.kind} does not listen on port {self.port}: {self.log_tail()}")

    def reload(self) -> None:
        """Read the password file and the rules again (SIGHUP). iotcore reads its users at the start alone."""
        if self.kind is Kind.MOSQUITTO:
            os.kill(self.pid, signal.SIGHUP)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self, timeout: float = 5.0) -> None:
        """End it in order; killed if that takes longer than `timeout` seconds. Harmless if it is not running."""
        self._end(signal.SIGTERM, timeout)

    def log_tail(self, size: int = 2000) -> str:
        """The end of what the process has written."""
        log = self.folder / "log"
        return log.read_text(errors="replace")[-size:] if log.exists() else ""

    def _end(self, sign: signal.Signals, timeout: float = 5.0) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _mosquitto_command(self) -> list[str]:
        program = find_mosquitto()
        if program is None:
            raise FileNotFoundError("mosquitto is not installed: apt-get install mosquitto")
        shipped = files("fleet_controller.demo") / "mosquitto"
        if not self.passwords.exists():
            self.passwords.touch(mode=0o600)
            self.passwords.write_text("".join(password_line(*user) + "\n" for user in self._users.items()))
        certificates = self._certificates
        values: dict[str, str | None] = {
            "listener": f"{self.port} 127.0.0.1",
            "cafile": str(certificates.ca) if certificates else None,
            "certfile": str(certificates.certificate) if certificates else None,
            "keyfile": str(certificates.key) if certificates else None,
            "password_file": str(self.passwords),
            "persistence_location": f"{self.folder}/",
        }
        if self._role is Role.FLEET:
            rules = self.folder / "acl"
            rules.write_text((shipped / "fleet.acl").read_text())
            rules.chmod(0o600)
            values["acl_file"] = str(rules)
        text = with_values((shipped / f"{self._role}.conf").read_text(), values)
        if certificates is not None and certificates.client:
            text += "require_certificate true\nuse_identity_as_username true\n"
        if os.geteuid() == 0:
            text += "user root\n"  # otherwise it changes to a user who may not write here
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(text)
        return [program, "-c", str(configuration)]

    def _iotcore_command(self) -> list[str]:
        configuration = self.folder / "iotcore.toml"
        configuration.touch(mode=0o600)
        configuration.write_text(iotcore_toml(self.port, self._users))
        return [sys.executable, "-m", "fleet_controller.demo.embedded_broker", str(configuration)]
