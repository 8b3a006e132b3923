"""Which values the status of a Shelly device has: what is remembered between messages, and what a null takes away."""

from collections.abc import Iterable
from typing import Final

NOTHING: Final[frozenset[str]] = frozenset()
_MAX_BYTES: Final = 64 * 1024
_NAME_BYTES: Final = 64
"""What a remembered name takes besides its letters."""


class StatusNames:
    """The names of one device's status while one message is read."""

    def __init__(self, known: frozenset[str], partial: bool) -> None:
        self.known = known
        """What the status has had until now."""
        self.present: list[str] = []
        """What the message says that it has,"""
        self.removed: set[str] = set()
        """and what it took away."""
        self._standing = known if partial else NOTHING
        self._below: dict[str, list[str]] | None = None

    def has(self, name: str) -> bool:
        """Whether the status before a partial message has a value of this name, which the message did not take away."""
        return name in self._standing and name not in self.removed

    def remove(self, name: str) -> list[str]:
        """Take away a value, or all below a name; returns those that were known, in order."""
        if self._below is None:
            self._below = _by_name_above(self.known)
        gone = self._below.get(name, [])
        self.removed.update(gone)
        return gone

    def after(self) -> frozenset[str]:
        """What the status has after the message."""
        return remember(self._standing - self.removed, self.present)


def remember(known: frozenset[str], names: Iterable[str]) -> frozenset[str]:
    """The names with new ones, as long as they take no more memory than a device's status needs."""
    new = [name for name in names if name not in known]
    if not new:
        return known
    room = _MAX_BYTES - sum(len(name) + _NAME_BYTES for name in known)
    kept = []
    for name in new:
        room -= len(name) + _NAME_BYTES
        if room < 0:
            break
        kept.append(name)
    return known.union(kept)


def _by_name_above(known: Iterable[str]) -> dict[str, list[str]]:
    """Each name and each of its beginnings to the names that begin so; a payload may hold thousands of nulls."""
    above: dict[str, list[str]] = {}
    for name in sorted(known):
        above.setdefault(name, []).append(name)
        cut = name.find(".")
        while cut >= 0:
            above.setdefault(name[:cut], []).append(name)
            cut = name.find(".", cut + 1)
    return above
