"""A decided window's result is given out: the message and what the outputs make of it, as rows of the next group commit."""

from collections import Counter
from collections.abc import Sequence

from edge_agent.committing import Commits
from edge_agent.journal.answered_table import encode_answer
from edge_agent.journal.batch import AnsweredRow, OutboxRow, Priority
from edge_agent.outputs.port import ResultOutputs
from edge_agent.pipeline.decision import Decided
from edge_agent.pipeline.pipeline import Pipeline, units_of
from edge_agent.pipeline.quality import OF_WINDOWS, count_names
from edge_agent.pipeline.result import make_result
from edge_agent.pipeline.windows import ClosedWindow
from fleet_contract.feedback import said
from fleet_contract.messages import ModelRef, Result, encode
from fleet_contract.topics import Up, up


class Giving:
    """For all pipelines of one device."""

    def __init__(
        self,
        device: str,
        pipelines: Sequence[Pipeline],
        commits: Commits,
        counters: Counter[str],
        outputs: ResultOutputs | None,
        *,
        remember: bool,
    ) -> None:
        self.topics = {item.settings.name: up(device, Up.RESULT, item.settings.name) for item in pipelines}
        """By pipeline."""
        self._commits = commits
        self._counters = counters
        self._outputs = outputs
        self._remember = remember

    def give(self, pipeline: Pipeline, window: ClosedWindow, decided: Decided, model: ModelRef | None) -> Result:
        """The result, whose rows are in the next commit."""
        settings, batch = pipeline.settings, self._commits.next.batch
        result = make_result(pipeline, window, decided.outcome, model)
        payload = encode(result)
        priority = Priority.NOTE if decided.urgent else None
        batch.outbox.append(
            OutboxRow("result", self.topics[settings.name], payload, durable=settings.durable, priority=priority)
        )
        if self._remember and model is not None:
            answer = encode_answer(said(result.outcome))
            batch.answered.append(AnsweredRow(result.result_id, model.name, model.release, answer))
        if result.quality:
            self._counters.update(count_names(result.quality, OF_WINDOWS))
        self._counters["results"] += 1
        if settings.outputs and self._outputs is not None:
            self._outputs.add(result, payload, lambda: units_of(window), batch, urgent=decided.urgent)
        return result
