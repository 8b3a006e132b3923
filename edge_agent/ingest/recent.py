"""The last event keys seen, to drop repeats."""

from collections.abc import Iterable
from typing import Final

MAX_KEYS: Final = 65_536


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
