"""What a payload format is: pure functions from a message, and where a format remembers, from a state that is handed in."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

from edge_agent.ingest.events import DeadLetter, Decoded

NO_PROPERTIES: Final[Mapping[str, Any]] = {}

Explain: TypeAlias = Callable[[str, str], object]
"""Told (path, why) of each value of a payload that gives no reading; for `edge-agent decode --explain`."""


def ignore(_path: str, _why: str) -> None:
    """The explanation that nobody asked for."""


class Message(NamedTuple):
    """One MQTT message as a format sees it."""

    topic: str
    payload: bytes
    properties: Mapping[str, Any] = NO_PROPERTIES
    """`content_type` (str) and `user` (pairs of str), where the message carries them."""
    retain: bool = False


class PayloadFormat(Protocol):
    """One payload format, made once for one source from its `IngestSettings`."""

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """What the message holds. Pure: nothing is kept, and a new state is returned in `Decoded.state`.

        `state` is what the last message of the same stream returned; None for a format without memory and at the start.
        """
        ...


@runtime_checkable
class StatefulFormat(PayloadFormat, Protocol):
    """A format whose messages cannot be read alone: births, partial updates."""

    def stream_of(self, topic: str) -> str | None:
        """The stream that a topic belongs to, which has one state; None: the topic needs none."""
        ...

    def dump(self, state: Any) -> bytes:
        """The state as it is stored."""
        ...

    def load(self, stored: bytes) -> Any:
        """The inverse of `dump`; raises ValueError for what an older or newer release has stored in another form."""
        ...
