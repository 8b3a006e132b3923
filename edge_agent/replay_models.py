"""The models of a replay: from bundles named on the command line, or those that are active on this device."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from edge_agent.inference.answers import Failure
from edge_agent.inference.bundle_store import Bundle, BundleStore, open_bundle_file
from edge_agent.inference.models import Models
from edge_agent.journal.reader import Reader
from edge_agent.loop import Loop
from edge_agent.settings import AgentSettings, PipelineSettings
from edge_agent.updates.ledger import Ledger
from edge_agent.updates.store import LEDGER_KEY
from fleet_contract.bundle import BundleError
from fleet_contract.messages import ModelRef


class BundleMissing(Exception):
    """A model that a pipeline needs is not to be had, or does not work; the text says what to do."""


def load_models(
    loop: Loop, models: Models, settings: AgentSettings, pipelines: Iterable[PipelineSettings], bundles: Sequence[Path]
) -> None:
    """Have every model that the pipelines name answer on `loop`, golden samples tested; raises BundleMissing."""
    wanted = list(dict.fromkeys(item.model for item in pipelines if item.model is not None))
    given = {bundle.manifest.name: bundle for bundle in map(open_bundle, bundles)}
    for name, bundle in given.items():
        if name not in wanted:
            known = ", ".join(wanted) or "none"
            raise BundleMissing(f"{bundle.path} is a bundle of model {name!r}; the pipelines' models are: {known}")
    for name in wanted:
        try:
            release, bundle = (0, given[name]) if name in given else find_active(settings, name)
        except BundleMissing as error:
            raise BundleMissing(f"{error}: name a bundle with --bundle") from error
        _load(loop, models, bundle, release, settings.updates.test_timeout)


def open_bundle(path: Path) -> Bundle:
    """The bundle in a file; raises BundleMissing, OSError."""
    try:
        return open_bundle_file(path)
    except BundleError as error:
        raise BundleMissing(f"{path}: {error}") from error


def find_active(settings: AgentSettings, model: str) -> tuple[int, Bundle]:
    """The release that is recorded as active, with its bundle; raises BundleMissing."""
    database = Path(settings.state_dir) / "agent.db"
    if not database.exists():
        raise BundleMissing(f"model {model!r}: {settings.state_dir} holds no agent.db")
    reader = Reader(database)
    stored = reader.values().get(LEDGER_KEY)
    reader.close()
    ledger = msgspec.msgpack.decode(stored, type=Ledger) if stored else Ledger()
    active = ledger.active.get(model)
    if active is None:
        raise BundleMissing(f"no release of model {model!r} is active on this device")
    try:
        return active.release, BundleStore(Path(settings.state_dir) / "models").open(model, active.digest)
    except BundleError as error:
        raise BundleMissing(f"the stored bundle of {model!r}: {error}") from error


def _load(loop: Loop, models: Models, bundle: Bundle, release: int, timeout: float) -> None:
    outcome: list[ModelRef | Failure] = []
    models.activate(bundle, release, timeout, outcome.append)
    loop.run_until(lambda: bool(outcome), timeout + 5)
    if not outcome or isinstance(outcome[0], Failure):
        detail = outcome[0].detail if outcome and isinstance(outcome[0], Failure) else "no answer in time"
        raise BundleMissing(f"the model of {bundle.path} does not work: {detail}")
