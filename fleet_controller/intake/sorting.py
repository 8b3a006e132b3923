"""From topic and payload to what the database takes. Pure.

Payloads are read leniently: only the fields that queries need, so that a message of a newer contract (a kind of note that this
version does not know, an added field) is stored as it came instead of being sent again for ever.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from fleet_contract import topics
from fleet_contract.topics import Up

_LARGEST: Final = 2**63 - 1
Whole = Annotated[int, Meta(ge=0, le=_LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=_LARGEST)]
Small = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Word = Annotated[str, Meta(min_length=1, max_length=63)]
StreamId = Annotated[str, Meta(min_length=1, max_length=64)]


class Malformed(ValueError):
    """The message is not what its topic promises."""


class SlotFields(Struct, frozen=True):
    """Birth and reported."""

    stream: StreamId
    counter: Whole
    state: str = ""
    revision: Whole = 0
    """Of reported."""

    @property
    def order(self) -> tuple[int, bool]:
        """Position within the stream: an `offline` comes after an `online` of the same counter, since it is that one's end."""
        return self.counter, self.state == "offline"


class HealthFields(Struct, frozen=True):
    """Health: what rollouts look at must be there."""

    time: str
    models: tuple[dict[str, object], ...] = ()


class _Model(Struct, frozen=True):
    name: Word
    release: Small


class AlarmFields(Struct, frozen=True):
    """The columns of an alarm."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    state: Annotated[str, Meta(min_length=1, max_length=16)]
    severity: Annotated[str, Meta(min_length=1, max_length=16)]
    since: Annotated[str, Meta(max_length=64)] | None = None
    text: str | None = None


class _Outcome(Struct, frozen=True):
    alarm: Any = None


class ResultFields(Struct, frozen=True):
    """A result's columns."""

    result_id: Annotated[str, Meta(min_length=1, max_length=128)]
    source: str
    stream: Annotated[str, Meta(max_length=64)] = ""
    seq: Whole = 0
    revision: Small = 0
    time: Annotated[str, Meta(max_length=64)] | None = None
    model: _Model | None = None
    outcome: _Outcome | None = None

    @property
    def alarm(self) -> AlarmFields | None:
        """The alarm that the result carries; one that cannot be read does not cost the result."""
        if self.outcome is None or self.outcome.alarm is None:
            return None
        try:
            return msgspec.convert(self.outcome.alarm, AlarmFields)
        except msgspec.ValidationError:
            return None


class NoteFields(Struct, frozen=True):
    """A note's columns."""

    stream: StreamId
    seq: Positive
    kind: Annotated[str, Meta(min_length=1, max_length=32)]
    detail: str = ""
    time: Annotated[str, Meta(max_length=64)] | None = None
    reason: Annotated[str, Meta(max_length=64)] | None = None
    model: Word | None = None
    release: Small | None = None
    state: Annotated[str, Meta(max_length=32)] | None = None


class ReplyFields(Struct, frozen=True):
    """A reply's columns."""

    correlation: Annotated[str, Meta(min_length=1, max_length=64)]
    status: Annotated[str, Meta(min_length=1, max_length=16)]


class LogFields(Struct, frozen=True):
    """The columns of log lines."""

    correlation: Annotated[str, Meta(min_length=1, max_length=64)]
    part: Small
    last: bool


class _Place(Struct, frozen=True):
    stream: StreamId
    seq: Positive


Fields = SlotFields | HealthFields | ResultFields | NoteFields | ReplyFields | LogFields

_DECODERS: Final[dict[Up, msgspec.json.Decoder[Fields]]] = {
    Up.BIRTH: msgspec.json.Decoder(SlotFields),
    Up.REPORTED: msgspec.json.Decoder(SlotFields),
    Up.HEALTH: msgspec.json.Decoder(HealthFields),
    Up.RESULT: msgspec.json.Decoder(ResultFields),
    Up.NOTE: msgspec.json.Decoder(NoteFields),
    Up.REPLY: msgspec.json.Decoder(ReplyFields),
    Up.LOG: msgspec.json.Decoder(LogFields),
}
_place = msgspec.json.Decoder(_Place)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came from the broker."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Sorted:
    """A message that is what its topic promises. The device is the topic's: the broker has checked that one."""

    device: str
    channel: Up
    pipeline: str | None
    fields: Fields
    payload: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is not; with its place in the stream where one can be read, so that it can be kept and acknowledged."""

    device: str | None
    channel: Up | None
    detail: str
    payload: bytes
    stream: str | None = None
    seq: int | None = None


def sort(message: Incoming) -> Sorted | Refused | None:
    """Read one message; None is an emptied slot, which says nothing. Never raises."""
    try:
        topic = topics.parse(message.topic)
    except ValueError as error:
        return Refused(None, None, str(error), message.payload)
    if not isinstance(topic, topics.UpTopic):
        return Refused(None, None, f"topic {message.topic!r} is not one that devices write", message.payload)
    if not message.payload and topic.channel in (Up.BIRTH, Up.REPORTED):
        return None
    try:
        fields = _DECODERS[topic.channel].decode(message.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return refuse(topic.device, topic.channel, str(error), message.payload)
    return Sorted(topic.device, topic.channel, topic.pipeline, fields, message.payload)


def refuse(device: str, channel: Up, detail: str, payload: bytes) -> Refused:
    """Refuse a message, with its place in the stream if it has one."""
    if channel not in (Up.RESULT, Up.NOTE):
        return Refused(device, channel, detail, payload)
    try:
        place = _place.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused(device, channel, detail, payload)
    return Refused(device, channel, detail, payload, place.stream, place.seq)


def is_newer(stream: str, order: tuple[int, bool], than_stream: str, than: tuple[int, bool]) -> bool:
    """Whether a slot's value replaces another: of one stream the higher order does; of two streams the later arrival does.

    A last will is made before the birth that it will end, so it may carry the birth's own counter or the next one: both
    replace that birth, and neither replaces the birth of the next connect.
    """
    return stream != than_stream or order > than
