"""`down/feedback`: what was right for earlier results is stored once, and the number of the message is then reported.

The controller sends one message at a time and sends it again until the report says that it was taken in. What is stored and the
number are one commit, so a crash between them cannot count a truth twice or lose it.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from edge_agent.journal.batch import Batch
from edge_agent.journal.errors import StoreError
from fleet_contract.feedback import MAX_TRUTHS, Feedback

log = logging.getLogger(__name__)

NUMBER_KEY: Final = "feedback.number"


class Submits(Protocol):
    """What is needed of the store."""

    def submit(self, batch: Batch, done: Callable[[StoreError | None], None] | None = None, *, urgent: bool = True) -> None: ...


class Values(Protocol):
    """What is needed of the stored values."""

    def get(self, key: str) -> bytes | None: ...


class FeedbackIntake:
    """Takes messages in, in the order of their numbers."""

    def __init__(self, store: Submits, values: Values, on_taken: Callable[[], object]) -> None:
        """`on_taken` is called when `number` is to be reported."""
        self._store = store
        self._on_taken = on_taken
        self.number = int(values.get(NUMBER_KEY) or b"0")
        """Of the last message that is stored."""
        self.counters: Counter[str] = Counter()

    def on_feedback(self, message: Feedback) -> None:
        """Store a message. A repeat changes nothing and is reported again; what the store refuses comes again."""
        if message.number <= self.number:
            self.counters["feedback_messages_repeated"] += 1
            self._on_taken()
            return
        truths = list(message.truths[:MAX_TRUTHS])
        if len(message.truths) > MAX_TRUTHS:
            self.counters["feedback_beyond_bound"] += len(message.truths) - MAX_TRUTHS

        def done(error: StoreError | None) -> None:
            if error is not None:
                log.warning("feedback was not stored, it will come again", extra={"error": str(error)})
                return
            self.number = max(self.number, message.number)
            self._on_taken()

        self._store.submit(Batch(truths=truths, values={NUMBER_KEY: str(message.number).encode()}), done, urgent=False)
