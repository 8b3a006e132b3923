"""What a payload becomes: readings, texts, or a dead letter; and the sample that windows hold."""

from typing import Any, TypeAlias

from msgspec import Struct

from fleet_contract.reasons import Reason

Value: TypeAlias = float | int | bool | str | None


class Reading(Struct, frozen=True, gc=False):
    """One measured value. The fields, in this order, are what `edge-agent decode` prints."""

    device: str
    """The sensor's own id."""
    quantity: str
    value: Value
    unit: str | None
    """SenML unit; None when neither payload nor quantity says."""
    time: str | None
    """RFC 3339 with a zone and all the digits that were sent."""
    name: str
    """Path of the value inside the payload, or the name that the configuration gives it."""
    quality: tuple[str, ...] = ()
    attributes: dict[str, Any] = {}


class Text(Struct, frozen=True, gc=False):
    """One text, exactly as sent."""

    device: str
    text: str
    time: str | None
    name: str
    quality: tuple[str, ...] = ()


class Request(Struct, frozen=True):
    """A message that a format wants sent back to the sensors' side, such as the call for a new birth."""

    topic: str
    payload: bytes


class DeadLetter(Struct, frozen=True, gc=False):
    """A payload that cannot be read: the code that travels, and what is wrong where."""

    reason: Reason
    detail: str
    requests: tuple[Request, ...] = ()
    """What would make the next one readable."""


class Decoded(Struct, frozen=True):
    """What one message holds. `own_id` is the id that the payload gives itself, `time` the first event time in it."""

    events: tuple[Reading | Text, ...]
    own_id: str | None = None
    time: str | None = None
    state: Any = None
    """The stream's new state, for a format that remembers; None: it is as before."""
    stored: bool = False
    """Whether the new state must outlive a restart; what changes with every message need not."""
    requests: tuple[Request, ...] = ()


class Sample(Struct):
    """The readings (or the text) of one message with one device and one time, joined: what windows hold."""

    device: str
    time: float | None
    """Seconds since 1970."""
    time_text: str | None
    values: dict[str, Value]
    """Reading name to its value."""
    units: dict[str, str | None]
    text: str | None = None
    quality: tuple[str, ...] = ()
    """The flags of all its readings, each once."""
