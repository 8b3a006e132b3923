"""What a decoder that remembers made of a message, for the journal: after a later birth it would mean something else."""

import msgspec

from edge_agent.ingest.events import Decoded, Reading, Text


class _Kept(msgspec.Struct, array_like=True):
    readings: list[Reading]
    texts: list[Text]
    order: list[bool]
    """Of the events: True is the next reading, False the next text."""
    own_id: str | None
    time: str | None


def to_kept(decoded: Decoded) -> bytes:
    """The events with the message's own id and time, without the stream's state."""
    readings = [event for event in decoded.events if isinstance(event, Reading)]
    texts = [event for event in decoded.events if isinstance(event, Text)]
    order = [isinstance(event, Reading) for event in decoded.events]
    return msgspec.json.encode(_Kept(readings, texts, order, decoded.own_id, decoded.time))


def from_kept(kept: bytes) -> Decoded:
    """The inverse of `to_kept`; raises msgspec.DecodeError."""
    stored = msgspec.json.decode(kept, type=_Kept)
    readings, texts = iter(stored.readings), iter(stored.texts)
    events = tuple(next(readings) if is_reading else next(texts) for is_reading in stored.order)
    return Decoded(events, stored.own_id, stored.time)
