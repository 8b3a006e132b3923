"""Typed configuration of the controller: a TOML file, then the environment (`SMALLHOLD_CONTROLLER__MQTT__HOST=…`) above it.

Unknown keys are errors that name the nearest known key. Durations are seconds, or texts such as "30s", "10min", "1h 30min".
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX: Final = "SMALLHOLD_CONTROLLER__"
_UNITS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:ms|s|min|h|d)\s*)+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)")


class SettingsError(ValueError):
    """The configuration is wrong; each line of the text names the file or variable, the key, and what it should be."""


def parse_duration(value: object) -> object:
    """Seconds from a text such as "10min"; anything but a text is left to the type's own check."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not _DURATION.fullmatch(text):
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{value!r} is not a duration: write seconds, or a text such as '30s', '10min', '1h'") from None
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))


Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """The base of all sections: strict, and fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(Section):
    """Where the state is kept."""

    url: str | None = None
    """SQLAlchemy URL. None: `controller.db` (SQLite) in the state folder."""
    health_history: Duration = 7 * 86400.0
    """How long health messages are kept; the newest one of a device is always kept."""


class MqttSettings(Section):
    """The fleet broker and how to sign in there."""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    client_id: str | None = None
    """None: a fresh one for each process, so that two controllers never throw each other out."""
    username: str | None = None
    password_file: Path | None = None
    """A file with the password and nothing else; read at each connect, so it can be replaced while running."""
    tls: bool = False
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive: Duration = 30.0
    session_expiry: Duration = 10.0
    """Short on purpose: devices resend what was not acknowledged, so a controller that is gone must not hold messages."""
    receive_maximum: int = Field(default=1000, ge=1, le=65535)
    backoff_min: Duration = 0.5
    backoff_max: Duration = 30.0
    max_packet_bytes: int = Field(default=1024 * 1024, ge=1024)


class HttpSettings(Section):
    """The HTTP server: the operators' API and the devices' downloads."""

    host: str = "127.0.0.1"
    port: int = Field(default=8470, ge=0, le=65535)
    public_url: str | None = None
    """The base URL that devices use, such as `https://fleet.example.org`. None: made from host and port."""


class IntakeSettings(Section):
    """How messages of devices are taken into the database."""

    batch_messages: int = Field(default=500, ge=1)
    """One transaction takes this many messages at most,"""
    batch_delay: Duration = 0.02
    """or what has come in this long after the first."""
    queue_messages: int = Field(default=20_000, ge=1)
    """Waiting between network and database; more are dropped, counted, and sent again by the devices."""


class OnFailure(StrEnum):
    """What a failed gate does to a rollout."""

    PAUSE = "pause"
    RETURN = "return"


class RolloutSettings(Section):
    """Defaults of a rollout, where the operator does not say otherwise."""

    canary: str = "1"
    """Size of the first wave: a number of devices, or a share such as "10%"; "0" is one wave for all."""
    soak: Duration = 600.0
    """How long every device of a wave must stay healthy with the new release before the next wave starts."""
    timeout: Duration = 86400.0
    """A device that has not attested the release this long after it was told fails the gate. 0 waits for ever."""
    on_failure: OnFailure = OnFailure.PAUSE
    health_stale: Duration = 180.0
    """A device whose last health message is older than this is unknown, and unknown is not healthy."""
    interval: Duration = Field(default=1.0, gt=0)
    """How often running rollouts are looked at."""


class RegistrySettings(Section):
    """The signed repository of model releases."""

    passphrase_file: Path | None = None
    """Opens the two online keys (snapshot, timestamp). None: `keys/online/passphrase` in the state folder."""
    load_models: bool = True
    """Load each bundle before it is published, in a process of its own, to hold its tensors against the manifest. What this
    machine has no runtime for is published unseen. False: only devices load models."""
    deltas_from: int = Field(default=3, ge=0)
    """How many earlier releases of a model a delta to its newest one starts from: where most of the fleet is. 0: no deltas."""
    refresh: Duration = Field(default=86400.0, gt=0)
    """How often the timestamp is signed again; devices stop believing one that is a week old."""


class EnrolmentSettings(Section):
    """Where devices' broker credentials go, and what new devices are told about the broker."""

    broker_password_file: Path | None = None
    """Mosquitto's password file, which this controller then maintains. None: `broker.passwords` in the state folder."""
    broker_pid_file: Path | None = None
    """If set, the process whose id stands in it gets SIGHUP after a change, which makes Mosquitto read the file again."""
    broker_reload_command: tuple[str, ...] = ()
    """If set, this fixed command (program and arguments, no shell) is run after a change instead."""
    broker_host: str | None = None
    """The fleet broker as devices reach it. None: as the controller does."""
    broker_port: int | None = Field(default=None, ge=1, le=65535)


class LogLevel(StrEnum):
    """Least severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ControllerSettings(BaseSettings):
    """Everything. Built by `load_settings`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__")

    state_dir: Path
    """Keys, signed repository and the SQLite file."""
    log_level: LogLevel = LogLevel.INFO
    log_json: bool | None = None
    """None: JSON unless standard error is a terminal."""
    stop_timeout: Duration = 10.0
    """How long stopping may take before what is left is abandoned."""
    database: DatabaseSettings = DatabaseSettings()
    mqtt: MqttSettings = MqttSettings()
    http: HttpSettings = HttpSettings()
    intake: IntakeSettings = IntakeSettings()
    rollouts: RolloutSettings = RolloutSettings()
    registry: RegistrySettings = RegistrySettings()
    enrolment: EnrolmentSettings = EnrolmentSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment above the file (which comes as arguments)."""
        return env_settings, init_settings

    @property
    def database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database.url or f"sqlite:///{self.state_dir / 'controller.db'}"

    @property
    def public_url(self) -> str:
        """The base URL for devices, without a slash at the end."""
        return (self.http.public_url or f"http://{self.http.host}:{self.http.port}").rstrip("/")


def load_settings(path: Path | None) -> ControllerSettings:
    """Read the file (None: the environment alone); raises SettingsError. Relative paths are relative to the file's folder."""
    source = str(path) if path is not None else "environment"
    content: dict[str, Any] = {}
    if path is not None:
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: {error}") from error
    problems = _unknown_variables(os.environ)
    try:
        settings = ControllerSettings(**content)
    except ValidationError as error:
        problems += [f"{source}: {_problem(dict(problem))}" for problem in error.errors()]
    if problems:
        raise SettingsError("\n".join(problems))
    return _with_absolute_paths(settings, path.parent if path is not None else Path.cwd())


def known_keys(section: type[BaseModel] = ControllerSettings, prefix: str = "") -> list[str]:
    """Every key, dotted: `mqtt.host`."""
    keys = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += known_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _problem(problem: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key{_nearest(key)}"
    if problem["type"] == "missing":
        return f"{key}: is required"
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}"


def _nearest(key: str) -> str:
    known = known_keys() + list(ControllerSettings.model_fields)
    # A key in the wrong section is as likely as a misspelt one, so the last part alone is compared too.
    near = difflib.get_close_matches(key, known, 1, 0.75) or [
        candidate for candidate in known if candidate.rpartition(".")[2] == key.rpartition(".")[2]
    ]
    near = near or difflib.get_close_matches(key, known, 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    problems = []
    for name in environment:
        if not name.upper().startswith(PREFIX):
            continue
        key = name[len(PREFIX) :].lower().replace("__", ".")
        # Below a known section pydantic itself refuses what it does not know.
        if key.partition(".")[0] not in ControllerSettings.model_fields:
            problems.append(f"environment: {name}: unknown key{_nearest(key)}")
    return problems


def _with_absolute_paths(settings: ControllerSettings, folder: Path) -> ControllerSettings:
    """Resolve relative paths, so that the current folder of the process does not matter."""

    def resolved(model: BaseModel) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        for name, field in type(model).model_fields.items():
            value = getattr(model, name)
            if isinstance(value, BaseModel):
                changes[name] = value.model_copy(update=resolved(value))
            elif isinstance(value, Path) and (field.annotation is Path or Path in get_args(field.annotation)):
                changes[name] = (folder / value).resolve()
        return changes

    return settings.model_copy(update=resolved(settings))
