"""Identity: the same event has the same id however often it is delivered, and the same window the same result id.

All ids can be recomputed from a recording. An event's id is its own; else, where the payload carries a time, BLAKE2b-128 of
topic, NUL and payload in hexadecimal; else a fresh one that the caller makes up. A result's id is BLAKE2b-128, in
hexadecimal, of the compact JSON array `[pipeline, source, kind, first, last]`, where first and last are: for `tumbling`,
`hopping` and `session` the window's bounds in microseconds since 1970, for `count` the first and last event id, for `sliding`
the id of the event that it ends with, twice. Of the backlog lane `"backlog"` is added to the array.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from edge_agent.ingest.events import Decoded

MAX_ID_LENGTH: Final = 128
"""An own id that is longer is replaced by its hash."""
KEY_BYTES: Final = 16

_encode = msgspec.json.Encoder().encode


class Identity(NamedTuple):
    """Of one event."""

    event_id: str
    key: bytes
    """16 bytes to know a repeat by."""
    fresh: bool
    """The id was made up: such an event is a repeat only if MQTT marks it so (DUP), and comes under its old packet id again."""


def identify(topic: str, payload: bytes, decoded: Decoded, fresh: Callable[[], str], packet_id: int = 0) -> Identity:
    """The identity of an event. `fresh` must give the same id when the same journal row is read again.

    Own ids are unique for one topic and sensor, not in the world, so the key covers all three.
    """
    own_id = decoded.own_id
    if own_id is not None:
        if len(own_id) > MAX_ID_LENGTH:
            own_id = blake2b(own_id.encode(), digest_size=KEY_BYTES).hexdigest()
        device = decoded.events[0].device if decoded.events else ""
        key = blake2b(f"{topic}\0{device}\0{own_id}".encode(), digest_size=KEY_BYTES).digest()
        return Identity(own_id, key, False)
    if decoded.time is not None:
        key = content_key(topic, payload)
        return Identity(key.hex(), key, False)
    return Identity(fresh(), packet_key(topic, payload, packet_id), True)


def packet_key(topic: str, payload: bytes, packet_id: int) -> bytes:
    """16 bytes to know a redelivered packet by that names itself in no way: another packet may hold the same bytes."""
    return blake2b(b"%d\0%b\0%b" % (packet_id, topic.encode(), payload), digest_size=KEY_BYTES).digest()


def content_key(topic: str, payload: bytes) -> bytes:
    """16 bytes that tell topic and payload from any other."""
    return blake2b(topic.encode() + b"\0" + payload, digest_size=KEY_BYTES).digest()


def sample_id(event_id: str, index: int) -> str:
    """The id of one sample of a message: the event's for the first, with its number appended for the others."""
    return event_id if index == 0 else f"{event_id}#{index}"


def result_id(pipeline: str, source: str, kind: str, first: str | int, last: str | int, timeliness: str | None = None) -> str:
    """32 hexadecimal digits; see the top of the module. `timeliness` is given for the backlog lane alone."""
    parts = (pipeline, source, kind, first, last)
    return blake2b(_encode(parts if timeliness is None else (*parts, timeliness)), digest_size=KEY_BYTES).hexdigest()
