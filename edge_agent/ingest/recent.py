"""The last events taken over, to drop repeats."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from edge_agent.ingest.identity import Identity, content_key

MAX_KEYS: Final = 65_000
"""Fewer than there are packet ids: a packet that says nothing of itself must not be taken for the last one with its number."""
TAG_BYTES: Final = 4
EARLIER_REMEMBERED: Final = 8192
"""Far more than a broker has on its way at a restart."""


class RecentKeys:
    """A bounded set that forgets the oldest."""

    def __init__(self, keys: Iterable[bytes] = (), limit: int = MAX_KEYS) -> None:
        self._limit = limit
        self._keys: dict[bytes, None] = {}
        for key in keys:
            self.add(key)

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes) -> bool:
        """Remember a key; False if it is remembered already."""
        if key in self._keys:
            return False
        if len(self._keys) >= self._limit:
            del self._keys[next(iter(self._keys))]
        self._keys[key] = None
        return True


def tag_of(name: str) -> bytes:
    """What tells one way of reading from the others in its keys, whatever else is configured beside it."""
    return blake2b(name.encode(), digest_size=TAG_BYTES).digest()


def tagged(key: bytes, tag: bytes) -> bytes:
    """The key of an event in one way of reading it: what one took over, another may have refused."""
    return key[:-TAG_BYTES] + tag


class Taken(RecentKeys):
    """What was taken over, by each way of reading.

    Args:
        stored: keys of earlier runs, oldest first. The newest of them are repeats for every way of reading, as sources may have
            been split, joined or renamed since.
    """

    def __init__(self, stored: Sequence[bytes]) -> None:
        super().__init__(stored)
        self._earlier = frozenset(key[:-TAG_BYTES] for key in stored[-EARLIER_REMEMBERED:])

    def before_start(self, identity: Identity, topic: str, payload: bytes) -> bool:
        """Whether an earlier run has taken it over."""
        if identity.key[:-TAG_BYTES] in self._earlier:
            return True
        # the first release knew a packet that names itself in no way by its content
        return identity.fresh and content_key(topic, payload)[:-TAG_BYTES] in self._earlier
