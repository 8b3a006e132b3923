"""The MODEL of a command line: a model that is active on this device, or a bundle's file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.inference.answers import ModelInput, to_input
from edge_agent.inference.bundle_store import Bundle
from edge_agent.replay_models import BundleMissing, find_active, open_bundle
from edge_agent.settings import AgentSettings, InferenceSettings


@dataclass(frozen=True, slots=True)
class ModelArgument:
    """What MODEL means."""

    bundle: Bundle
    release: int
    """0 of a file."""
    inference: InferenceSettings
    state_dir: Path | None
    """Of the device; None where there is no configuration."""
    control_socket: Path | None


def find_model(model: str, config: Path, load: Callable[[], AgentSettings]) -> ModelArgument:
    """The bundle, and how this device runs models: by its configuration, which a bundle's file does without.

    Raises BundleMissing and OSError.
    """
    path = Path(model)
    is_file = path.suffix == ".tar" or "/" in model
    if is_file and not config.exists():
        return ModelArgument(open_bundle(path), 0, InferenceSettings(), None, None)
    settings = load()
    if is_file:
        release, bundle = 0, open_bundle(path)
    else:
        try:
            release, bundle = find_active(settings, model)
        except BundleMissing as error:
            raise BundleMissing(f"{error}: name the file of a bundle") from error
    return ModelArgument(bundle, release, settings.inference, Path(settings.state_dir), Path(settings.control_socket))


def golden_questions(bundle: Bundle) -> list[ModelInput]:
    """The bundle's golden samples as inputs: what is measured with."""
    if not bundle.golden:
        raise BundleMissing(f"{bundle.path} holds no golden samples to measure with")
    return [to_input(sample) for sample in bundle.golden]
