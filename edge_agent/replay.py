"""Recorded events through the engine itself, without broker, disk and wall clock: what comes out is what a device would give.

The engine gets a store that keeps nothing and commits at once; everything else is the code of the live path.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from edge_agent.engine import Engine
from edge_agent.engine_ports import Scorer
from edge_agent.journal.batch import Batch, Counts, DeadLetterRow, JournalRow, OutboxRow
from edge_agent.journal.errors import StoreError
from edge_agent.link.port import Delivery
from edge_agent.loop import Loop
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.recording import Recorded
from edge_agent.settings import AgentSettings, PipelineSettings, QueueSettings
from fleet_contract.topics import Up, up

MAX_SCORING: Final = 512
"""Windows that may wait for their models before the next event is taken."""
STREAM: Final = "replay"


class UnansweredError(Exception):
    """A model did not answer in time."""


class PassingStore:
    """Commits at once and keeps nothing; shows each batch to `on_batch`."""

    def __init__(self, post: Callable[..., None], on_batch: Callable[[Batch], object]) -> None:
        self._post = post
        self._on_batch = on_batch
        self.stream = STREAM
        self.counts = Counts()

    def submit(self, batch: Batch, done: Callable[[StoreError | None], None] | None = None, *, urgent: bool = True) -> None:
        """As `Store.submit`, without a disk."""
        self._on_batch(batch)
        if done is not None:
            self._post(done, None)

    def journal_rows(self) -> Iterator[JournalRow]:
        """None."""
        return iter(())

    def taken_keys(self) -> list[bytes]:
        """None."""
        return []

    def pipeline_states(self, _pipeline: str) -> Mapping[str, bytes]:
        """None."""
        return {}


class RecordedSite:
    """The link of a recording: always there, and nobody waits for its acknowledgements."""

    connected = True

    def ack(self, _deliveries: Sequence[Delivery]) -> None:
        """Nothing."""


def longest_silence(pipelines: Sequence[PipelineSettings]) -> int:
    """Seconds after which every idle time-out of these pipelines has passed; 0 if none has any."""
    windows = [item.window for item in pipelines]
    times = [time for window in windows for time in (window.idle_timeout, window.backlog_idle_timeout) if time is not None]
    return math.ceil(max(times)) + 2 if times else 0


class Replay:
    """Feeds the chosen pipelines; what they cannot use is counted as the daemon counts it.

    Args:
        models: answers on `loop`.
        on_result: (pipeline, message) of each result, in the order in which a device would send them.
    """

    def __init__(
        self,
        settings: AgentSettings,
        pipelines: Sequence[PipelineSettings],
        loop: Loop,
        models: Scorer,
        on_result: Callable[[str, bytes], object],
        on_dead_letter: Callable[[DeadLetterRow], object],
    ) -> None:
        logging.getLogger("edge_agent.notes").setLevel(logging.ERROR)  # what notes would tell, `on_dead_letter` is told
        self._loop = loop
        self._on_result = on_result
        self._on_dead_letter = on_dead_letter
        self._patience = settings.inference.deadline * 10
        self._pipelines = {up(settings.device, Up.RESULT, item.name): item.name for item in pipelines}
        # how fast a device was does not matter here: each window is scored
        pipelines = [replace(item, queue=QueueSettings()) for item in pipelines]
        settings = replace(settings, pipelines=tuple(pipelines), store=replace(settings.store, commit_delay=0.0))
        store = PassingStore(loop.post, self._show)
        self._engine = Engine(settings, loop, store, [Pipeline(item) for item in pipelines], models, wall=None)
        self._engine.attach(RecordedSite())
        self._published: float | None = None
        self._longest_silence = longest_silence(pipelines)

    @property
    def counters(self) -> Counter[str]:
        """The engine's."""
        return self._engine.counters

    def feed(self, message: Recorded) -> None:
        """Take one recorded message; raises UnansweredError when the models stand still."""
        self._pass_time(message.time)
        # QoS 0 events may be dropped by a device that cannot keep up; a replay always keeps up
        delivery = Delivery(message.topic, message.payload, 1, message.retain, False, 0, 0, message.properties)
        self._engine.on_deliveries([delivery])
        if self._engine.scoring >= MAX_SCORING:
            self._settle()
        else:
            self._loop.turn(0.0)

    def finish(self) -> None:
        """Wait for all answers; windows that are open stay open, as on a device. Raises UnansweredError."""
        self._settle()

    def _pass_time(self, published: float | None) -> None:
        """Let the seconds between two messages pass for the idle time-outs; a silence longer than all of them does no more."""
        if published is None or not self._longest_silence:
            return
        if self._published is not None:
            for _ in range(min(int(published - self._published), self._longest_silence)):
                self._engine.sweep()
        self._published = published if self._published is None else max(published, self._published)

    def _settle(self) -> None:
        engine = self._engine
        if not self._loop.run_until(lambda: not engine.scoring and engine.idle, self._patience):
            raise UnansweredError(f"the models did not answer within {self._patience:g} s")

    def _show(self, batch: Batch) -> None:
        for letter in batch.dead_letters:
            self._on_dead_letter(letter)
        for row in batch.outbox:
            self._show_row(row)

    def _show_row(self, row: OutboxRow) -> None:
        name = self._pipelines.get(row.topic)
        if name is not None:
            self._on_result(name, row.payload)
