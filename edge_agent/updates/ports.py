"""What the update room needs of its neighbours, as narrow as it goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_agent.updates.trust.job import Job, Message
from fleet_contract.messages import NoteKind
from fleet_contract.reasons import Reason
from fleet_contract.update_report import Evidence, Figures, UpdateState


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A release whose bundle is unpacked in `folder`."""

    model: str
    release: int
    version: str
    digest: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step did not work."""

    reason: Reason
    detail: str


class Values(Protocol):
    """Durable values of agent.db."""

    def get(self, key: str) -> bytes | None:
        """The value at start."""

    def put(self, values: dict[str, bytes], done: Callable[[Exception | None], None]) -> None:
        """Write all or nothing. `done` comes back on the loop after the durable commit, or with why it failed."""


class Stage(Protocol):
    """Unpacked bundles on disk."""

    def stage(self, model: str, release: int, path: Path, digest: str) -> Path:
        """Unpack a verified bundle durably and return its folder; doing it again is harmless. Called on a thread of its own.

        Checks the bytes against `digest` (`sha256:…`). Raises BundleError or OSError.
        """

    def folder(self, model: str, digest: str) -> Path | None:
        """The folder of an unpacked bundle, or None where there is none."""

    def models(self) -> frozenset[str]:
        """Those that have a bundle here."""

    def keep(self, model: str, digests: frozenset[str]) -> None:
        """Remove all other bundles of the model. Raises OSError."""


class Models(Protocol):
    """The models that answer. Each `done` comes on the loop, once, with None or with why it did not work."""

    def test(self, candidate: Candidate, done: Callable[[Failure | None], None]) -> None:
        """Run the golden samples in a fresh worker, beside the incumbent."""

    def cancel_test(self, model: str) -> None:
        """Forget a test, running or passed: nobody waits for it any more."""

    def shadow(self, model: str, on_lost: Callable[[Failure], None]) -> bool:
        """Let the candidate that has passed its test see live inputs beside the incumbent; False if it is gone.

        `on_lost` comes when its worker ends. `cancel_test` and `activate` end it.
        """

    def shadow_evidence(self, model: str) -> Evidence | None:
        """What the shadow did beside the incumbent so far."""

    def figures(self, model: str) -> Figures | None:
        """How the release that answers does since it was loaded; None where there is none."""

    def activate(self, candidate: Candidate, done: Callable[[Failure | None], None]) -> None:
        """Swap without a gap; on failure the incumbent goes on answering."""

    def suspend(self, model: str) -> None:
        """Stop answering, because the release is broken; a test of another one goes on."""

    def deactivate(self, model: str) -> None:
        """Stop answering; windows for this model wait."""


class Fetch(Protocol):
    """A running trust child."""

    def cancel(self) -> None:
        """End it at once; no call-back comes any more."""


class Trust(Protocol):
    """Starts trust children."""

    def start(self, job: Job, on_line: Callable[[Message], None], on_end: Callable[[str], None]) -> Fetch:
        """Start one; lines in order, then `on_end` once with how it ended. Raises OSError."""


class NoteWriter(Protocol):
    """Puts a note into the outbox."""

    def __call__(
        self,
        *,
        kind: NoteKind,
        detail: str,
        reason: str | None = None,
        model: str | None = None,
        release: int | None = None,
        state: UpdateState | None = None,
    ) -> None: ...
