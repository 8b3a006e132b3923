"""What cannot be used becomes a dead letter in the next group commit: counted, kept for a person to look at, and told of."""

import time
from collections import Counter
from collections.abc import Callable

from edge_agent.committing import Commits
from edge_agent.journal.batch import DeadLetterRow, pack_properties
from edge_agent.link.port import Delivery
from edge_agent.pipeline.result import window_as_json
from edge_agent.pipeline.windows import ClosedWindow
from fleet_contract.reasons import Reason


class Refusals:
    """Messages that cannot be read, and windows that cannot be scored.

    Args:
        tell: (topic, payload, reason, detail, pipeline) of each.
    """

    def __init__(
        self, commits: Commits, counters: Counter[str], tell: Callable[[str, bytes, Reason, str, str], object]
    ) -> None:
        self._commits = commits
        self._counters = counters
        self._tell = tell

    def message(self, delivery: Delivery, reason: Reason, detail: str, pipeline: str) -> None:
        """One that a pipeline (empty: none in particular) cannot use."""
        topic, payload, properties = delivery.topic, delivery.payload, pack_properties(delivery.properties)
        now = time.time()
        self._keep(
            DeadLetterRow(topic, payload, reason, detail, pipeline, delivery.qos, delivery.retain, properties, now), reason
        )

    def window(self, window: ClosedWindow, reason: Reason, detail: str, pipeline: str) -> None:
        """One that has no answer."""
        try:
            shown = window_as_json(window)
        except Exception as error:  # noqa: BLE001 - what broke its answer may break its view too
            shown = repr(error).encode()
        self._keep(DeadLetterRow(window.key, shown, reason, detail, pipeline, received=time.time(), is_message=False), reason)

    def _keep(self, row: DeadLetterRow, reason: Reason) -> None:
        self._counters[f"dead_{reason}"] += 1
        self._commits.next.batch.dead_letters.append(row)
        self._commits.next.touch()
        self._tell(row.topic, row.payload, reason, row.detail, row.pipeline)
