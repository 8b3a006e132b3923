"""Reading the configuration: TOML and environment in, checked `AgentSettings` out.

Runs in `edge-agent check` and in a short-lived child (`configuring/child.py`), never in the daemon: pydantic costs 25 MB.
A configuration that travels lies over the file by the rules of `configuring/rules.py`.
Environment variables override the file: `SMALLHOLD_AGENT__MQTT__HOST=broker.example` is `host` in `[mqtt]`.
"""

import dataclasses
import difflib
import functools
import math
import os
import tomllib
import types
import typing
import zoneinfo
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError, create_model, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from edge_agent.configuring.origin import Origin, to_location
from edge_agent.configuring.rules import find_forbidden, merge, rule_of
from edge_agent.inference.backends.delegates import DELEGATES, library_of
from edge_agent.inference.backends.providers import PROVIDERS
from edge_agent.ingest.formats import find_format
from edge_agent.outputs.rules import find_output_problems
from edge_agent.pipeline.decision_rules import find_decision_problems
from edge_agent.pipeline.window_rules import find_join_problems, find_window_problems
from edge_agent.settings import (
    AgentSettings,
    InferenceSettings,
    IngestSettings,
    ModelSettings,
    PipelineSettings,
    QueuePolicy,
)
from edge_agent.update_rules import find_update_problems
from fleet_contract.reasons import Reason
from fleet_contract.topics import ROOT, SITE_SUFFIX, check_device_id, check_filter, check_name, filters_overlap

ENV_PREFIX: Final = "SMALLHOLD_AGENT__"
MOST_VALUES: Final = 65_536
"""In one message: its samples are numbered in 16 bits."""
NOT_INHERITED: Final = ("username", "password_file", "cert_file", "key_file")
"""Credentials for the fleet broker are never offered to the site broker."""


class ConfigurationError(ValueError):
    """The configuration is wrong. Each problem is one line that names the file (or the environment) and the key."""

    reason: Reason = Reason.CONFIGURATION_INVALID

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class KeyNotAllowed(ConfigurationError):
    """A configuration that travels sets what only the device's own file may."""

    reason = Reason.KEY_NOT_ALLOWED


def load(path: Path, layer: Path | None = None) -> AgentSettings:
    """Read and check one configuration file with `layer`, a configuration that travels, and then the environment over it.

    Raises ConfigurationError.
    """
    table = _read(path)
    if layer is None:
        return _check(Origin(path), table)
    remote = _read(layer)
    _check_allowed(layer, remote)
    merged = merge(table, remote)
    return _check(Origin(path, layer, remote, merged), merged)


def lint(layer: Path) -> None:
    """Check a configuration that travels without a device's own file. Raises ConfigurationError.

    A pipeline without a source changes one that devices have: of it, keys and types are checked, and the rest on the device.
    """
    remote = _read(layer)
    _check_allowed(layer, remote)
    changed = []
    pipelines = remote.get("pipelines")
    for item in pipelines if isinstance(pipelines, list) else ():
        if isinstance(item, dict) and not item.get("source") and not item.get("sources"):
            changed.append(item.get("name"))
            item["source"] = {"topic": "devices/own"}
    merged = merge({"device": "any", "mqtt": {}, "site": {}}, remote)
    origin = Origin(layer, layer, remote, merged)

    def is_whole(key: str) -> bool:
        location = to_location(key)
        known = location[0] != "pipelines" or remote["pipelines"][location[1]].get("name") not in changed
        return known and not key.endswith(".pipeline")  # which may be a pipeline of the device's own

    _check(origin, merged, is_whole)


def _check(origin: Origin, table: dict[str, Any], counts: Callable[[str], bool] = lambda _key: True) -> AgentSettings:
    try:
        merged = _settings_class()(**table)
    except ValidationError as error:
        raise ConfigurationError(list(_explain_all(origin, error.errors()))) from error
    settings = AgentSettings(**{item.name: getattr(merged, item.name) for item in dataclasses.fields(AgentSettings)})
    problems = [f"{origin.of(to_location(key))}: {key}: {text}" for key, text in find_problems(settings) if counts(key)]
    if problems:
        raise ConfigurationError(problems)
    return settings


def find_state_dir(path: Path) -> Path:
    """Where a device with this file keeps its state, by the file and the environment alone. Raises ConfigurationError."""
    variable = f"{ENV_PREFIX}STATE_DIR"
    named = next((value for key, value in os.environ.items() if key.upper() == variable), None)
    return Path(str(named or _inherit(_read(path))["state_dir"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError([f"{path}: not valid TOML: {error}"]) from error


def _check_allowed(layer: Path, remote: dict[str, Any]) -> None:
    """Raises KeyNotAllowed for keys that the agent has and the layer may not set; unknown ones are explained with the rest."""
    refused = [
        f"{layer}: {'.'.join(key)}: only the device's own file may set it ({rule_of(key).why})"
        for key in find_forbidden(remote)
        if _is_key(key)
    ]
    if refused:
        raise KeyNotAllowed(refused)


def _is_key(path: Sequence[str]) -> bool:
    """Whether the agent has this key, or the table that it stands in takes any name."""
    known = _keys_at(path[:-1])
    return path[-1] in known if known else rule_of(path).path != ""


def find_problems(settings: AgentSettings) -> Iterable[tuple[str, str]]:
    """What types cannot say: each (key, what is wrong). Pure but for looking whether named files exist."""
    try:
        check_device_id(settings.device)
    except ValueError as error:
        yield "device", str(error)
    for key, broker in (("mqtt", settings.mqtt), ("site", settings.site)):
        if not 1 <= broker.port <= 65535:
            yield f"{key}.port", f"{broker.port} is not a port (1 to 65535)"
        if (broker.cert_file is None) != (broker.key_file is None):
            yield f"{key}.cert_file", "cert_file and key_file go together"
        if (broker.cert_file or broker.ca_file) and not broker.tls:
            yield f"{key}.tls", "certificates are given, so tls must be true"
        if not 1 <= broker.receive_maximum <= 65535:
            yield f"{key}.receive_maximum", f"{broker.receive_maximum} is not within 1 to 65535"
        if not 1 <= broker.window <= 65535:
            yield f"{key}.window", f"{broker.window} is not within 1 to 65535"
        if not 0 < broker.backoff_min <= broker.backoff_max:
            yield f"{key}.backoff_min", "must be above 0 and not above backoff_max"
        for name in ("password_file", "ca_file", "cert_file", "key_file"):
            yield from _missing_file(f"{key}.{name}", getattr(broker, name))
    for name in ("token_file", "root_file", "ca_file"):
        yield from _missing_file(f"updates.{name}", getattr(settings.updates, name))
    for name, text in find_update_problems(settings.updates):
        yield f"updates.{name}", text
    store = settings.store
    for name in ("commit_rows", "max_journal_rows", "max_outbox_rows", "max_outbox_bytes"):
        if getattr(store, name) <= 0:
            yield f"store.{name}", "must be above 0"
    if store.remembered_answers < 0:
        yield "store.remembered_answers", "must be 0 or more"
    for name in ("commit_delay", "max_age", "max_durable_age", "drain_rate", "drain_jitter", "min_free_bytes", "ballast_bytes"):
        if not 0 <= (getattr(store, name) or 0) < math.inf:
            yield f"store.{name}", "must be 0 or more"
    yield from _find_inference_problems(settings.inference)
    if not 0 < settings.health.interval < math.inf:
        yield "health.interval", "must be above 0"
    yield from _find_pipeline_problems(settings)


def _find_inference_problems(settings: InferenceSettings) -> Iterable[tuple[str, str]]:
    parts: dict[str, InferenceSettings | ModelSettings] = {"inference": settings}
    parts |= {f"inference.models.{name}": own for name, own in settings.models.items()}
    for key, item in parts.items():
        for name in ("threads", "max_batch"):
            if (value := getattr(item, name)) is not None and value < 1:
                yield f"{key}.{name}", f"{value} is not 1 or more"
        if item.deadline is not None and not 0 < item.deadline < math.inf:
            yield f"{key}.deadline", "must be above 0"
        for name in ("max_delay", "memory_bytes"):
            if (value := getattr(item, name)) is not None and not 0 <= value < math.inf:
                yield f"{key}.{name}", "must be 0 or more"
    if settings.max_threads is not None and settings.max_threads < 1:
        yield "inference.max_threads", f"{settings.max_threads} is not 1 or more"
    if settings.memory_budget is not None and settings.memory_budget <= 0:
        yield "inference.memory_budget", "must be above 0"
    if settings.memory_floor < 0:
        yield "inference.memory_floor", "must be 0 or more"
    for limit in dataclasses.fields(settings.drift):
        least = 1 if limit.name in ("inputs", "remembered") else 0
        if not least <= getattr(settings.drift, limit.name) < math.inf:
            yield f"inference.drift.{limit.name}", f"must be {least} or more"
    slow, pause = settings.slow_above, settings.pause_above
    if slow is not None and pause is not None and not slow < pause:
        yield "inference.slow_above", f"{slow:g} is not below pause_above, {pause:g}"
    if settings.max_crashes < 0:
        yield "inference.max_crashes", "must be 0 or more"
    if not 0 < settings.crash_window < math.inf:
        yield "inference.crash_window", "must be above 0"
    if not 0 < settings.load_timeout < math.inf:
        yield "inference.load_timeout", "must be above 0"
    if settings.engine_cache is not None and not Path(settings.engine_cache).is_absolute():
        yield "inference.engine_cache", f"{settings.engine_cache!r} is not an absolute path"
    for model, own in settings.models.items():
        for name in own.require:
            if name not in PROVIDERS:
                yield f"inference.models.{model}.require", _unknown("execution provider", name, PROVIDERS)
        for name in own.delegates:
            library = library_of(name)
            if library is None:
                yield f"inference.models.{model}.delegates", _unknown("delegate nor an absolute path", name, DELEGATES)
            elif library == name:
                yield from _missing_file(f"inference.models.{model}.delegates", name)


def _find_pipeline_problems(settings: AgentSettings) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for position, pipeline in enumerate(settings.pipelines):
        key = f"pipelines[{position}]"
        try:
            check_name(pipeline.name, "pipeline")
        except ValueError as error:
            yield f"{key}.name", str(error)
        if pipeline.name in seen:
            yield f"{key}.name", f"a second pipeline of the name {pipeline.name!r}"
        seen.add(pipeline.name)
        if pipeline.model is not None:
            try:
                check_name(pipeline.model, "model")
            except ValueError as error:
                yield f"{key}.model", str(error)
        if not pipeline.all_sources:
            yield f"{key}.source", "is missing: give a topic, or the pipeline whose results are the events"
        places = [] if pipeline.source is None else [f"{key}.source"]
        places += [f"{key}.sources[{number}]" for number in range(len(pipeline.sources))]
        for number, (place, source) in enumerate(zip(places, pipeline.all_sources, strict=True)):
            if source in pipeline.all_sources[:number]:
                yield place, "is the same as one before it"
            yield from _find_source_problems(place, source, [item.name for item in settings.pipelines])
        if pipeline.join is not None:
            yield from find_join_problems(key, pipeline.join, pipeline.window)
        yield from find_window_problems(key, pipeline.window)
        yield from _find_queue_problems(key, pipeline)
        for name, text in find_decision_problems(pipeline.decision, has_model=pipeline.model is not None):
            yield f"{key}.decision.{name}", text
    yield from _find_circles(settings.pipelines)
    for position, name, text in find_output_problems(settings.device, settings.pipelines):
        yield f"pipelines[{position}].outputs{name}", text


def _find_source_problems(key: str, source: IngestSettings, names: Sequence[str]) -> Iterable[tuple[str, str]]:
    if source.pipeline is not None:
        if source.topic:
            yield f"{key}.topic", "pipeline is given too; use one of them"
        if source.pipeline not in names:
            near = difflib.get_close_matches(source.pipeline, names, n=1, cutoff=0.0)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            yield f"{key}.pipeline", f"there is no pipeline {source.pipeline!r}{hint}"
        return
    try:
        check_filter(source.topic)
        if filters_overlap(source.topic, f"{ROOT}/#"):
            yield f"{key}.topic", f"the filter {source.topic!r} covers {ROOT}/#, which is the contract's own"
    except ValueError as error:
        yield f"{key}.topic", str(error)
    if source.qos not in (0, 1, 2):
        yield f"{key}.qos", f"{source.qos} is not 0, 1 or 2"
    if not 1 <= source.max_values <= MOST_VALUES:
        yield f"{key}.max_values", f"{source.max_values} is not from 1 to {MOST_VALUES}"
    try:
        find_format(source.format)
    except ValueError as error:
        yield f"{key}.format", str(error)
    if source.format == "text" and source.values:
        yield f"{key}.values", "a text has no values; use text_path"
    if source.device_path is not None and source.device_level is not None:
        yield f"{key}.device_level", "device_path is given too; use one of them"
    try:
        zoneinfo.ZoneInfo(source.naive_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        yield f"{key}.naive_zone", f"{source.naive_zone!r} is not a time zone of this system, such as Europe/Rome"


def _find_circles(pipelines: Sequence[PipelineSettings]) -> Iterable[tuple[str, str]]:
    """Pipelines whose events are, by way of others, their own results."""
    above = {item.name: {source.pipeline for source in item.all_sources if source.pipeline} for item in pipelines}
    for position, pipeline in enumerate(pipelines):
        reached: set[str] = set()
        waiting = list(above[pipeline.name])
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += above.get(name, ())
        if pipeline.name in reached:
            yield f"pipelines[{position}].source.pipeline", "its events would be its own results, directly or by way of others"


def _find_queue_problems(key: str, pipeline: PipelineSettings) -> Iterable[tuple[str, str]]:
    queue, key = pipeline.queue, f"{key}.queue"
    if queue.policy is QueuePolicy.HOLD:
        if queue.max_windows is not None:
            yield f"{key}.max_windows", "policy hold keeps what the journal holds; policies drop_oldest and sample have a bound"
        return
    if pipeline.model is None:
        yield f"{key}.policy", "a pipeline without a model has no windows that wait"
    if queue.max_windows is None:
        yield f"{key}.max_windows", f"is needed for policy {queue.policy}"
    elif queue.max_windows < 1:
        yield f"{key}.max_windows", f"{queue.max_windows} is not 1 or more"
    if queue.one_in < 2:
        yield f"{key}.one_in", f"{queue.one_in} is not 2 or more"


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    return f"{name!r} is no {what}; the nearest is {near!r}, known are {', '.join(names)}"


def _missing_file(key: str, name: str | None) -> Iterable[tuple[str, str]]:
    if name is not None and not Path(name).is_file():
        yield key, f"there is no file {name}"


def _inherit(data: Any) -> Any:
    """Before validation: the site broker takes what it does not say from `mqtt`, and users default to the device."""
    if not isinstance(data, dict):
        return data
    data = dict(data)
    device = data.get("device")
    data.setdefault("state_dir", "/var/lib/edge-agent")
    data.setdefault("control_socket", "/run/edge-agent/control.sock")
    mqtt, site = data.get("mqtt", {}), data.get("site", {})
    if isinstance(mqtt, dict) and isinstance(site, dict):
        mqtt = dict(mqtt)
        site = {key: value for key, value in mqtt.items() if key not in NOT_INHERITED} | site
        for broker, user in ((mqtt, device), (site, f"{device}{SITE_SUFFIX}")):
            if "password_file" in broker and isinstance(device, str):
                broker.setdefault("username", user)
        data["mqtt"], data["site"] = mqtt, site
    return data


@functools.cache
def _settings_class() -> type[BaseSettings]:
    class Base(BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", case_sensitive=False
        )
        inherit = model_validator(mode="before")(_inherit)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (env_settings, init_settings)

    hints = typing.get_type_hints(AgentSettings, include_extras=True)
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(AgentSettings):
        default: Any = ...
        if item.default is not dataclasses.MISSING:
            default = item.default
        elif item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        fields[item.name] = (_forbidding(hints[item.name]), default)
    return create_model("AgentConfiguration", __base__=Base, **fields)


def _forbidding(kind: Any) -> Any:
    """Make every dataclass inside `kind` refuse unknown keys."""
    if dataclasses.is_dataclass(kind):
        setattr(kind, "__pydantic_config__", {"extra": "forbid"})  # noqa: B010 the dataclass knows nothing of pydantic
        for hint in typing.get_type_hints(kind, include_extras=True).values():
            _forbidding(hint)
    for part in typing.get_args(kind):
        _forbidding(part)
    return kind


def _explain_all(origin: Origin, problems: Sequence[Any]) -> Iterable[str]:
    told: set[tuple[Any, ...]] = set()
    for problem in problems:
        location = tuple(problem["loc"])
        told.add(location)
        if location[0] == "site" and ("mqtt", *location[1:]) in told:
            continue  # inherited, and told once already
        yield _explain(origin.of(location), problem)


def _explain(path: Path, problem: Any) -> str:
    location = problem["loc"]
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    variable = ENV_PREFIX + "__".join(str(part) for part in location).upper()
    where = f"environment variable {variable}" if variable in os.environ else str(path)
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _keys_at(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.0)
        hint = f"; the nearest known key is {near[0]!r}" if near else ""
        return f"{where}: unknown key {key}{hint}"
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("missing", "missing_argument"):
        return f"{where}: {key}: is missing"
    return f"{where}: {key}: {text} (found {problem['input']!r})"


def _keys_at(location: Sequence[int | str]) -> list[str]:
    kind: Any = AgentSettings
    for part in location:
        if isinstance(part, int):
            kind = typing.get_args(kind)[0]
        elif dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind).get(str(part))
        elif typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        if isinstance(kind, types.UnionType):
            kind = typing.get_args(kind)[0]
    return [item.name for item in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
