"""What a large CBOR or MessagePack payload is made of, found by walking over its heads before anything is built.

The libraries make a hash table of each map. Arrays as keys have hashes that anybody can make equal, so a payload of 256 KiB
would cost minutes; and a limit on the number of values that is looked at afterwards comes too late.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from edge_agent.ingest.content_type import Encoding

SCANNED_FROM: Final = 4096
"""Bytes; below, nothing that is built can cost much."""

_UNTIL_BREAK: Final = -1


class Head(NamedTuple):
    """Of one value."""

    children: int
    """Values that follow inside it, -1 until a break. A map has two for each entry."""
    end: int
    """Where the next head is."""
    is_map: bool = False
    is_key: bool = False
    """Whether it may be a key: a text, bytes or a plain integer."""
    is_break: bool = False


ReadHead: TypeAlias = Callable[[bytes, int], Head]


class Shape(NamedTuple):
    """What the walk has seen."""

    values: int
    """Values that hold no others."""
    plain_keys: bool


def scan(payload: bytes, encoding: Encoding, enough: int) -> Shape:
    """Walk to the end, to the first key that is no plain one, or until there are more values than `enough`.

    A payload that breaks off or is malformed ends the walk too: it is the library that says so.
    """
    head_at = _cbor_head if encoding is Encoding.CBOR else _msgpack_head
    values = place = 0
    levels: list[list[int]] = [[1, 0, 0]]  # values left, whether a map, values seen
    while levels:
        level = levels[-1]
        if level[0] == level[2]:
            levels.pop()
            continue
        try:
            head = head_at(payload, place)
        except (IndexError, ValueError):
            break
        place = head.end
        if head.is_break:
            if level[0] != _UNTIL_BREAK:
                break
            levels.pop()
            continue
        if level[1] and not level[2] % 2 and not head.is_key:
            return Shape(values, False)
        level[2] += 1
        if head.children:
            levels.append([head.children, head.is_map, 0])
        else:
            values += 1
            if values > enough:
                break
    return Shape(values, True)


def _cbor_head(payload: bytes, place: int) -> Head:
    first = payload[place]
    major, info = first >> 5, first & 31
    place += 1
    argument = info
    if 24 <= info < 28:
        size = 1 << (info - 24)
        argument = int.from_bytes(payload[place : place + size], "big")
        place += size
    elif info == 31:
        if major == 7:
            return Head(0, place, is_break=True)
        return Head(_UNTIL_BREAK, place, is_map=major == 5)
    elif info > 27:
        raise ValueError("a reserved head")
    if major < 2:
        return Head(0, place, is_key=True)
    if major < 4:
        return Head(0, place + argument, is_key=True)
    if major == 7:
        return Head(0, place)
    return Head(1 if major == 6 else argument * (major - 3), place, is_map=major == 5)


_MSGPACK_SIZES: Final[dict[int, tuple[int, int]]] = {
    # first byte: bytes of the length that follows, and bytes besides
    0xC0: (0, 0),
    0xC2: (0, 0),
    0xC3: (0, 0),
    **{0xC4 + power: (1 << power, 0) for power in range(3)},
    **{0xC7 + power: (1 << power, 1) for power in range(3)},
    0xCA: (0, 4),
    0xCB: (0, 8),
    **{0xCC + power: (0, 1 << power) for power in range(4)},
    **{0xD0 + power: (0, 1 << power) for power in range(4)},
    **{0xD4 + power: (0, 1 + (1 << power)) for power in range(5)},
    **{0xD9 + power: (1 << power, 0) for power in range(3)},
}
_MSGPACK_KEYS: Final = frozenset((0xC4, 0xC5, 0xC6, *range(0xCC, 0xD4), 0xD9, 0xDA, 0xDB))


def _msgpack_head(payload: bytes, place: int) -> Head:
    first = payload[place]
    place += 1
    if first < 0x80 or first >= 0xE0:
        return Head(0, place, is_key=True)
    if first < 0xA0:
        return Head((first & 15) * (2 if first < 0x90 else 1), place, is_map=first < 0x90)
    if first < 0xC0:
        return Head(0, place + (first & 31), is_key=True)
    if first >= 0xDC:
        size = 2 if first in (0xDC, 0xDE) else 4
        count = int.from_bytes(payload[place : place + size], "big")
        return Head(count * (2 if first > 0xDD else 1), place + size, is_map=first > 0xDD)
    if first not in _MSGPACK_SIZES:
        raise ValueError("a head that MessagePack does not have")
    size, more = _MSGPACK_SIZES[first]
    length = int.from_bytes(payload[place : place + size], "big") if size else 0
    return Head(0, place + size + length + more, is_key=first in _MSGPACK_KEYS)
