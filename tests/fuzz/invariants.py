"""What holds for every format and every message: shared by the property tests, the hostile cases and the fuzzer."""

import json
import math
import re
from decimal import Decimal
from typing import Any, Final

import msgspec

from edge_agent.ingest.events import DeadLetter, Decoded, Reading, Request, Text, Value
from edge_agent.ingest.formats import find_format, within_bounds
from edge_agent.ingest.identity import identify
from edge_agent.ingest.instant import seconds
from edge_agent.ingest.kept import from_kept, to_kept
from edge_agent.ingest.port import Message, PayloadFormat, StatefulFormat
from edge_agent.ingest.samples import to_samples
from edge_agent.settings import IngestSettings

MAX_OUTPUT: Final = 32 * 1024**2
"""Bytes of JSON that one message may become: 10,000 values of a name, a device and a text each."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_SCALARS: Final = (bool, int, float, str, type(None))


class Subject:
    """One format as a source has it, with the state of its streams. `hear` raises whatever breaks a promise."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.settings = IngestSettings(topic="#", format=name, **settings)
        self.format: PayloadFormat = find_format(name)(self.settings)
        self.states: dict[str, Any] = {}

    def hear(self, message: Message) -> Decoded | DeadLetter:
        """Decode one message by the format itself, for the room's door would hide an exception, and check what comes out."""
        stateful = self.format if isinstance(self.format, StatefulFormat) else None
        stream = None if stateful is None else stateful.stream_of(message.topic)
        state = None if stream is None else self.states.get(stream)
        before = None if stateful is None or state is None else stateful.dump(state)
        explained: list[tuple[str, str]] = []
        decoded = self.format.decode(message, state, lambda path, why: explained.append((path, why)))
        again = self.format.decode(message, state)
        assert _same(decoded, again), "the same message gives something else the second time"
        if stateful is not None and before is not None:
            assert stateful.dump(state) == before, "decoding has changed the state"
        for path, why in explained:
            assert type(path) is str, repr(path)
            assert why
        for request in decoded.requests:
            assert isinstance(request, Request)
            assert request.topic
        decoded = within_bounds(decoded)
        if isinstance(decoded, DeadLetter):
            assert decoded.detail
            assert len(decoded.detail) < 2000, "a detail is for a reader"
            decoded.detail.encode()
            return decoded
        check_decoded(message, decoded)
        if decoded.state is not None and stateful is not None:
            assert stream is not None, "a state without a stream"
            stored = stateful.dump(decoded.state)
            loaded = stateful.load(stored)
            assert stateful.dump(loaded) == stored
            self.states[stream] = decoded.state
        return decoded


def check_decoded(message: Message, decoded: Decoded) -> None:
    """Raise AssertionError for anything in it that the rest of the agent could not take."""
    size = 0
    for event in decoded.events:
        assert type(event) in (Reading, Text)
        assert type(event.device) is str
        assert event.device or not message.topic, "a device needs a name"
        assert type(event.name) is str
        assert event.time is None or _TIME.fullmatch(event.time), event.time
        assert math.isfinite(seconds(event.time)) if event.time else "no_time" in event.quality
        assert all(type(flag) is str and flag for flag in event.quality)
        encoded = msgspec.json.encode(event)
        size += len(encoded)
        again = json.loads(encoded)
        if isinstance(event, Text):
            assert type(event.text) is str
            assert again["text"] == event.text
        else:
            assert type(event.quantity) is str
            assert event.unit is None or (type(event.unit) is str and event.unit)
            _check_value(event.value, again["value"])
            assert again["attributes"] == json.loads(msgspec.json.encode(event.attributes))
    assert size <= MAX_OUTPUT, f"{len(message.payload)} bytes became {size}"
    assert decoded.own_id is None or (type(decoded.own_id) is str and decoded.own_id)
    assert decoded.time is None or math.isfinite(seconds(decoded.time))
    kept = from_kept(to_kept(decoded))
    assert (kept.events, kept.own_id, kept.time) == (decoded.events, decoded.own_id, decoded.time)
    assert len(to_samples(decoded.events)) <= len(decoded.events)
    assert identify(message.topic, message.payload, decoded, lambda: "fresh").event_id


def _check_value(value: Value, again: Any) -> None:
    assert type(value) in _SCALARS, type(value)
    assert type(value) is not float or math.isfinite(value)
    assert type(again) is type(value)
    assert again == value
    if type(value) is float:
        assert Decimal(repr(again)) == Decimal(repr(value))


def _same(one: Decoded | DeadLetter, other: Decoded | DeadLetter) -> bool:
    """Equal but for states, which are compared by what is stored of them."""
    if isinstance(one, Decoded) and isinstance(other, Decoded):
        return msgspec.structs.replace(one, state=None) == msgspec.structs.replace(other, state=None)
    return one == other
