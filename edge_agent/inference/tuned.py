"""The choices that `edge-agent tune` stores: `state_dir/tuned.json`, model name to choice. The operator's settings win."""

import dataclasses
import logging
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.durable import write_file_durably
from edge_agent.settings import InferenceSettings, ModelSettings

log = logging.getLogger(__name__)

FILE: Final = "tuned.json"


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """One model's choice, and what it was chosen by."""

    threads: int
    spin: bool
    max_batch: int
    version: str
    digest: str
    """Of the bundle that was measured. The choice holds for its successors too, until one is measured."""
    latency_p95_ms: float
    """Of one inference, at a batch of one."""
    per_second: float
    time: str


class TunedError(ValueError):
    """The file is damaged; the text says which."""


def read_tuned(state_dir: Path) -> dict[str, Tuned]:
    """What is stored; nothing where there is no file. Raises TunedError and OSError."""
    path = state_dir / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Tuned])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TunedError(f"{path} is damaged and not used; `edge-agent tune` writes it anew: {error}") from error


def write_tuned(state_dir: Path, choices: dict[str, Tuned]) -> None:
    """Replace what is stored. Raises OSError."""
    # readable for the daemon's user also when root tunes
    write_file_durably(state_dir / FILE, msgspec.json.format(msgspec.json.encode(choices), indent=2) + b"\n", mode=0o644)


def with_tuned(settings: InferenceSettings, choices: dict[str, Tuned]) -> InferenceSettings:
    """The settings with each choice where the operator has said nothing about that model."""
    models = dict(settings.models)
    for name, choice in choices.items():
        own = models.get(name, ModelSettings())
        models[name] = dataclasses.replace(
            own,
            threads=choice.threads if own.threads is None else own.threads,
            spin=choice.spin if own.spin is None else own.spin,
            max_batch=choice.max_batch if own.max_batch is None else own.max_batch,
        )
    return dataclasses.replace(settings, models=models)


def tuned_settings(settings: InferenceSettings, state_dir: Path) -> InferenceSettings:
    """As `with_tuned`, for the daemon's start: a damaged file is told of and costs the choices alone."""
    try:
        return with_tuned(settings, read_tuned(state_dir))
    except (TunedError, OSError) as error:
        log.warning("the tuned choices are not used", extra={"error": str(error)})
        return settings
