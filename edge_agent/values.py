"""The durable key-value part of agent.db as a small dictionary: read once at start, written through the store."""

from collections.abc import Callable

from edge_agent.journal.batch import Batch
from edge_agent.journal.store import Store


class StoredValues:
    """What other rooms see of agent.db: `get` what was there, `put` all or nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._values = store.values()

    def get(self, key: str) -> bytes | None:
        """The value, as of the last `put` that was durable."""
        return self._values.get(key)

    def put(self, values: dict[str, bytes], done: Callable[[Exception | None], None]) -> None:
        """Write all or nothing; `done` comes back on the loop after the durable commit, or with why it failed."""

        def finished(error: Exception | None) -> None:
            if error is None:
                self._values.update(values)
            done(error)

        self._store.submit(Batch(values=dict(values)), finished)
