"""What is written together: the rows of one batch, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

import msgspec

from fleet_contract.feedback import Truth

FLEET: Final = "fleet"
SITE: Final = "site"


class Priority(IntEnum):
    """Classes of outbox rows: a lower number is sent first and evicted last. The numbers are stored."""

    NOTE = 0
    """Notes, and results that raise or clear an alarm."""
    RESULT = 1
    """Durable results."""
    PLAIN = 2
    """Results that the broker's PUBACK settles, and local outputs."""


class JournalRow(NamedTuple):
    """A message as it was taken over, kept until every window that holds it is done."""

    event_no: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: bytes | None
    """From `pack_properties`."""
    received: float
    """Wall clock, seconds since 1970."""


class Publishing(msgspec.Struct, array_like=True, frozen=True):
    """How a row is published, where that is not the plain way: QoS 1, not retained, without properties."""

    retain: bool = False
    content_type: str | None = None
    user: tuple[tuple[str, str], ...] = ()
    """MQTT user properties."""

    def properties(self) -> dict[str, object]:
        """As the link takes them."""
        made: dict[str, object] = {}
        if self.content_type is not None:
            made["content_type"] = self.content_type
        if self.user:
            made["user"] = list(self.user)
        return made


class OutboxRow:
    """A message on its way out. `seq` is given by `Store.submit`: it grows with the order of submission and is never reused."""

    __slots__ = ("durable", "kind", "link", "payload", "priority", "publishing", "seq", "topic")

    def __init__(
        self,
        kind: str,
        topic: str,
        payload: bytes,
        *,
        durable: bool,
        link: str = FLEET,
        seq: int = 0,
        priority: Priority | None = None,
        publishing: Publishing | None = None,
    ) -> None:
        """`kind` is `result`, `note` or `output`; a durable `payload` is a JSON object.

        Its stream and seq are left out or empty: they are filled in when it is sent. `priority`
        follows from kind and durable unless it is given, as for a result that raises an alarm.
        """
        self.kind = kind
        self.topic = topic
        self.payload = payload
        self.durable = durable
        self.link = link
        self.seq = seq
        if priority is None:
            priority = Priority.NOTE if kind == "note" else Priority.RESULT if durable else Priority.PLAIN
        self.priority = priority
        self.publishing = publishing

    def __repr__(self) -> str:
        return f"OutboxRow(seq={self.seq}, {self.kind}, {self.link}:{self.topic}, {self.priority.name})"


class DeadLetterRow(NamedTuple):
    """A message that could not be read, or a window that could not be scored, kept for a person to look at."""

    topic: str
    """Of the message; for a window the sensor."""
    payload: bytes
    """Of the message; for a window its events, as JSON."""
    reason: str
    detail: str
    pipeline: str
    qos: int = 1
    retain: bool = False
    properties: bytes | None = None
    """From `pack_properties`."""
    received: float = 0.0
    """Wall clock, seconds since 1970."""
    is_message: bool = True
    """False for a window: it cannot be taken in again."""


class AnsweredRow(NamedTuple):
    """A model's answer, remembered so that what was right can be held against it."""

    result_id: str
    model: str
    release: int
    answer: bytes
    """A `Said` of the contract, packed."""


@dataclass(slots=True)
class Batch:
    """One transaction: all of it or nothing. Applied in the order of the fields.

    A submitted batch must not be changed; it may be submitted again after an error.
    """

    journal: list[JournalRow] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    dead_letters: list[DeadLetterRow] = field(default_factory=list)
    pipeline_states: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    """(pipeline, key) to its state; None removes it."""
    values: dict[str, bytes | None] = field(default_factory=dict)
    """Key to value; None removes it."""
    taken: list[bytes] = field(default_factory=list)
    """16-byte keys of events taken over."""
    forget: list[int] = field(default_factory=list)
    """Event numbers of journal rows that are no longer needed; unknown ones are ignored."""
    delivered: list[int] = field(default_factory=list)
    """Seqs of outbox rows that have reached their end; unknown ones are ignored."""
    dead_letters_gone: list[int] = field(default_factory=list)
    """Numbers of dead letters that somebody has dealt with; unknown ones are ignored."""
    answered: list[AnsweredRow] = field(default_factory=list)
    """Answers to be remembered for feedback."""
    truths: list[Truth] = field(default_factory=list)
    """What was right, to be held against the answers that are remembered."""
    last_event_no: int = 0
    """The highest event number given so far, also to events that never get a journal row; kept so that none is given twice."""

    def adds(self) -> bool:
        """Whether the bounds of the store apply: the batch brings rows that somebody still has to take away."""
        return bool(self.journal or self.outbox)


class Counts(NamedTuple):
    """What the store holds."""

    journal_rows: int = 0
    outbox_rows: int = 0
    outbox_bytes: int = 0
    """Of the payloads."""
    last_seq: int = 0
    last_event_no: int = 0
    result_rows: int = 0
    """Of class RESULT in the outbox."""
    result_bytes: int = 0
    plain_rows: int = 0
    """Of class PLAIN in the outbox."""
    plain_bytes: int = 0


def pack_properties(properties: Mapping[str, object]) -> bytes | None:
    """MQTT properties of a delivery for a JournalRow; None when there are none."""
    return msgspec.msgpack.encode(dict(properties)) if properties else None


def unpack_properties(packed: bytes | None) -> dict[str, object]:
    """The inverse of `pack_properties`; user properties are pairs again."""
    if packed is None:
        return {}
    properties: dict[str, object] = msgspec.msgpack.decode(packed)
    user = properties.get("user")
    if isinstance(user, list):
        properties["user"] = [tuple(pair) for pair in user]
    return properties
