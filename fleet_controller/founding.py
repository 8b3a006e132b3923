"""Making a new controller: keys, signing repository, database, first operator, configuration files."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fleet_contract.topics import check_device_id
from fleet_controller.durable import write_file_durably
from fleet_controller.enrolment.broker_password import new_password, password_line, with_user
from fleet_controller.enrolment.tokens import hash_token, new_token
from fleet_controller.registry.keys import create_key_file
from fleet_controller.registry.repository import create_repository
from fleet_controller.state_folder import StateFolder
from fleet_controller.store.database import open_database, sqlite_url
from fleet_controller.store.operators import add_operator

ROOT_KEYS: Final = 3


class FoundingError(Exception):
    """It cannot be made; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What the operator chose. All paths are absolute."""

    state_dir: Path
    operator: str
    broker_host: str
    broker_port: int
    broker_user: str
    broker_password_file: Path | None
    broker_pid_file: Path | None
    http_host: str
    http_port: int
    public_url: str | None

    @property
    def url(self) -> str:
        """Where operators reach the service on this machine."""
        return self.public_url or f"http://{self.http_host}:{self.http_port}"

    @property
    def config(self) -> Path:
        """The service's configuration."""
        return self.state_dir / "controller.toml"

    @property
    def operator_config(self) -> Path:
        """The command line's configuration for the first operator."""
        return self.state_dir / "fleet.toml"

    @property
    def token_file(self) -> Path:
        """The first operator's token."""
        return self.state_dir / "operator.token"

    @property
    def release_key(self) -> Path:
        """The key that signs model releases."""
        return StateFolder(self.state_dir).offline_keys / "release.pem"

    @property
    def passwords(self) -> Path:
        """The broker's password file."""
        return self.broker_password_file or StateFolder(self.state_dir).broker_passwords


def found(founding: Founding, passphrase: bytes, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    """Make everything; `passphrase` encrypts the offline keys. Raises FoundingError, KeyFileError or OSError.

    The configuration is written last: a state folder without it is not finished.
    """
    try:
        check_device_id(founding.operator)
        check_device_id(founding.broker_user)
    except ValueError as error:
        raise FoundingError(str(error).replace("device id", "name")) from error
    folder = StateFolder(founding.state_dir)
    if founding.config.exists():
        raise FoundingError(f"{founding.config} exists and is not overwritten")
    founding.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in (folder.online_keys.parent, folder.online_keys, folder.offline_keys):
        each.mkdir(mode=0o700)
    online = new_token().encode()
    write_file_durably(folder.online_passphrase, online + b"\n", mode=0o600)
    create_repository(
        folder.repository,
        root=[create_key_file(folder.offline_keys / f"root-{number + 1}.pem", passphrase) for number in range(ROOT_KEYS)],
        targets=create_key_file(folder.offline_keys / "targets.pem", passphrase),
        models=create_key_file(founding.release_key, passphrase),
        snapshot=create_key_file(folder.online_keys / "snapshot.pem", online),
        timestamp=create_key_file(folder.online_keys / "timestamp.pem", online),
        config=create_key_file(folder.online_keys / "config.pem", online),
        now=now(),
    )
    token = new_token()
    database = open_database(sqlite_url(founding.state_dir / "controller.db"))
    try:
        with database.write() as connection:
            add_operator(connection, founding.operator, "operator", hash_token(token), now().timestamp())
    finally:
        database.close()
    write_file_durably(founding.token_file, token.encode() + b"\n", mode=0o600)
    password = new_password()
    write_file_durably(founding.state_dir / "broker-password", password.encode() + b"\n", mode=0o600)
    before = founding.passwords.read_text(encoding="utf-8") if founding.passwords.exists() else ""
    content = with_user(before, founding.broker_user, password_line(founding.broker_user, password))
    write_file_durably(founding.passwords, content.encode(), mode=0o640)
    write_file_durably(founding.operator_config, _operator_config(founding).encode())
    write_file_durably(founding.config, _service_config(founding).encode())


def _operator_config(founding: Founding) -> str:
    return f"url = {json.dumps(founding.url)}\ntoken_file = {json.dumps(str(founding.token_file))}\n"


def _service_config(founding: Founding) -> str:
    # A TOML basic string has JSON's escapes.
    text = json.dumps
    lines = [
        "# Written by `fleet init`. Every key with its default: configs/controller.example.toml.",
        f"state_dir = {text(str(founding.state_dir))}",
        "",
        "[mqtt]",
        f"host = {text(founding.broker_host)}",
        f"port = {founding.broker_port}",
        f"username = {text(founding.broker_user)}",
        f"password_file = {text(str(founding.state_dir / 'broker-password'))}",
        "",
        "[http]",
        f"host = {text(founding.http_host)}",
        f"port = {founding.http_port}",
    ]
    if founding.public_url:
        lines.append(f"public_url = {text(founding.public_url)}")
    lines += ["", "[enrolment]", f"broker_password_file = {text(str(founding.passwords))}"]
    if founding.broker_pid_file:
        lines.append(f"broker_pid_file = {text(str(founding.broker_pid_file))}")
    return "\n".join(lines) + "\n"
