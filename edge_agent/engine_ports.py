"""What the engine needs of the rooms around it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from edge_agent.inference.answers import Answer, Failure, ModelInput
from edge_agent.inference.input_queue import Lane
from edge_agent.journal.batch import Batch, Counts, JournalRow
from edge_agent.journal.errors import StoreError
from edge_agent.link.port import Delivery


class SiteLink(Protocol):
    """What is needed of the site link."""

    @property
    def connected(self) -> bool:
        """Whether events can come: idle time-outs stand still while they cannot."""
        ...

    def ack(self, deliveries: Sequence[Delivery]) -> None: ...


class Scorer(Protocol):
    """What is needed of the inference room."""

    def submit(
        self,
        name: str,
        item: ModelInput,
        done: Callable[[Answer | Failure], object],
        lane: Lane | None = None,
        sensor: str = "",
    ) -> None: ...


class EventStore(Protocol):
    """What is needed of the store."""

    @property
    def stream(self) -> str: ...

    @property
    def counts(self) -> Counts: ...

    def taken_keys(self) -> list[bytes]: ...

    def journal_rows(self) -> Iterator[JournalRow]: ...

    def pipeline_states(self, pipeline: str, /) -> Mapping[str, bytes]: ...

    def submit(self, batch: Batch, done: Callable[[StoreError | None], None] | None = None, *, urgent: bool = True) -> None: ...
