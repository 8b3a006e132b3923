"""Joins the update room to the inference room: what an update stages, tests and activates are bundles and workers there."""

from collections.abc import Callable
from pathlib import Path

from edge_agent.inference.answers import Failure as Refusal
from edge_agent.inference.bundle_store import Bundle, BundleStore
from edge_agent.inference.models import Models
from edge_agent.updates.ports import Candidate, Failure
from fleet_contract.bundle import BundleError
from fleet_contract.messages import ModelRef
from fleet_contract.reasons import Reason
from fleet_contract.update_report import Evidence, Figures

Done = Callable[[Failure | None], None]


class BundleStage:
    """The bundle store as the update room's `Stage`. A bundle stays one tar: its path is what is passed on as the folder."""

    def __init__(self, store: BundleStore) -> None:
        self._store = store

    def stage(self, model: str, release: int, path: Path, digest: str) -> Path:
        """Move a verified bundle into the store; called on a thread of its own. Raises BundleError or OSError."""
        stored = self.folder(model, digest)
        if stored is not None and not path.exists():
            return stored
        bundle = self._store.add(path, digest)
        if bundle.manifest.name != model:
            raise BundleError(Reason.MANIFEST_INVALID, f"the bundle is of model {bundle.manifest.name!r}, not {model!r}")
        return bundle.path

    def folder(self, model: str, digest: str) -> Path | None:
        """Where the bundle lies, or None."""
        try:
            return self._store.open(model, digest).path
        except (BundleError, ValueError, OSError):
            return None

    def models(self) -> frozenset[str]:
        """Those that have a bundle here."""
        return frozenset(model for model, _ in self._store.list())

    def keep(self, model: str, digests: frozenset[str]) -> None:
        """Remove all other bundles of the model. Raises OSError."""
        self._store.remove_unused(item for item in self._store.list() if item[0] != model or item[1] in digests)


class ModelSwitch:
    """The inference room as the update room's `Models`; tells `on_change` when what answers has changed."""

    def __init__(self, models: Models, store: BundleStore, timeout: float, on_change: Callable[[], object]) -> None:
        self._models = models
        self._store = store
        self._timeout = timeout
        self._on_change = on_change

    def test(self, candidate: Candidate, done: Done) -> None:
        """Run the golden samples in a fresh worker, beside the incumbent."""
        bundle = self._open(candidate, done)
        if bundle is not None:
            self._models.test(bundle, candidate.release, self._timeout, lambda outcome: done(_failure(outcome)))

    def cancel_test(self, model: str) -> None:
        """Forget a test, running or passed: its worker ends."""
        self._models.cancel_test(model)

    def shadow(self, model: str, on_lost: Callable[[Failure], None]) -> bool:
        """Let the candidate that has passed see live inputs, unpublished."""
        return self._models.shadow(model, lambda refusal: on_lost(Failure(refusal.reason, refusal.detail)))

    def shadow_evidence(self, model: str) -> Evidence | None:
        """What it did beside the incumbent."""
        return self._models.shadow_evidence(model)

    def figures(self, model: str) -> Figures | None:
        """How the release that answers does."""
        return self._models.figures(model)

    def activate(self, candidate: Candidate, done: Done) -> None:
        """Switch without a gap; on failure the incumbent goes on answering."""

        def switched(outcome: ModelRef | Refusal) -> None:
            done(_failure(outcome))
            self._on_change()

        bundle = self._open(candidate, done)
        if bundle is not None:
            self._models.activate(bundle, candidate.release, self._timeout, switched)

    def suspend(self, model: str) -> None:
        """Stop answering, because the release is broken; a test of another one goes on."""
        self._models.suspend(model)
        self._on_change()

    def deactivate(self, model: str) -> None:
        """Stop answering; windows for this model wait."""
        self._models.remove(model)
        self._on_change()

    def _open(self, candidate: Candidate, done: Done) -> Bundle | None:
        try:
            return self._store.open(candidate.model, candidate.digest)
        except (BundleError, ValueError, OSError) as error:
            reason = error.reason if isinstance(error, BundleError) else Reason.BUNDLE_INVALID
            done(Failure(reason, str(error)))
            return None


def _failure(outcome: ModelRef | Refusal) -> Failure | None:
    return Failure(outcome.reason, outcome.detail) if isinstance(outcome, Refusal) else None
