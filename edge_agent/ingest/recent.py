"""The last events taken over, to drop repeats."""

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Final

from edge_agent.ingest.identity import KEY_BYTES, Identity, content_key

MAX_KEYS: Final = 65_000
"""Fewer than there are packet ids: a packet that says nothing of itself must not be taken for the last one with its number."""
TAG_BYTES: Final = 4
OTHERS_REMEMBERED: Final = 8192
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
        stored: keys of earlier runs, oldest first.
        tags: of the ways of reading that there are now. What others have taken over, which are configured no more or were of
            the first release, is a repeat for all.
    """

    def __init__(self, stored: Sequence[bytes], tags: Collection[bytes]) -> None:
        super().__init__(key for key in stored if key[-TAG_BYTES:] in tags)
        others = (key[:-TAG_BYTES] for key in stored[-OTHERS_REMEMBERED:] if key[-TAG_BYTES:] not in tags)
        self.others = frozenset(others)
        """What ways of reading that are gone have taken over, without their tags."""

    def by_others(self, identity: Identity, topic: str, payload: bytes, number: int) -> bool:
        """Whether a way of reading that is gone has taken it; `number` is the place of this one among those of the topic."""
        first_release = content_key(topic, payload) if identity.fresh else identity.key
        if number:
            first_release = blake2b(first_release + b"%d" % number, digest_size=KEY_BYTES).digest()
        return identity.key[:-TAG_BYTES] in self.others or first_release[:-TAG_BYTES] in self.others
