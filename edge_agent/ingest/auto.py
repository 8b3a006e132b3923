"""Format `auto`: each message is read in the format that its topic, content type or payload tells, with what that remembers."""

from typing import Any, Final, NamedTuple

import msgspec

from edge_agent.ingest.auto_table import format_of_content, format_of_topic
from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.formats import find_format
from edge_agent.ingest.port import Explain, Message, PayloadFormat, StatefulFormat, ignore
from edge_agent.settings import IngestSettings

_MAX_KNOWN_TOPICS: Final = 4096


class Remembered(NamedTuple):
    """The state of a stream, and the format whose state it is."""

    format: str
    state: Any


class AutoFormat:
    """The decoder of one source; it makes that of a format with the first message of it."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._formats: dict[str, PayloadFormat] = {}
        self._with_memory: dict[str, StatefulFormat] = {}
        self._topics: dict[str, str | None] = {}
        self._find("json")  # what the settings get wrong is said when the source is made

    def format_of(self, message: Message) -> str:
        """The name of the format that a message is read in."""
        return self._of_topic(message.topic) or format_of_content(message.payload, message.properties)

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """What the format of the message makes of it."""
        name = self.format_of(message)
        inner = state.state if isinstance(state, Remembered) and state.format == name else None
        decoded = self._find(name).decode(message, inner, explain)
        if isinstance(decoded, Decoded) and decoded.state is not None:
            return msgspec.structs.replace(decoded, state=Remembered(name, decoded.state))
        return decoded

    def stream_of(self, topic: str) -> str | None:
        """The stream in the format whose own topic it is; a format that only the content tells remembers nothing."""
        name = self._of_topic(topic)
        if name is None:
            return None
        self._find(name)
        decoder = self._with_memory.get(name)
        stream = None if decoder is None else decoder.stream_of(topic)
        return None if stream is None else f"{name}:{stream}"

    def dump(self, state: Remembered) -> bytes:
        """The format's name, NUL, and its own form."""
        return state.format.encode() + b"\0" + self._stateful(state.format).dump(state.state)

    def load(self, stored: bytes) -> Remembered:
        """The inverse of `dump`; raises ValueError."""
        name, _, inner = stored.partition(b"\0")
        return Remembered(name.decode(), self._stateful(name.decode()).load(inner))

    def _of_topic(self, topic: str) -> str | None:
        try:
            return self._topics[topic]
        except KeyError:
            name = format_of_topic(topic)
            if len(self._topics) < _MAX_KNOWN_TOPICS:
                self._topics[topic] = name
            return name

    def _find(self, name: str) -> PayloadFormat:
        decoder = self._formats.get(name)
        if decoder is None:
            decoder = self._formats[name] = find_format(name)(self._settings)
            if isinstance(decoder, StatefulFormat):  # slow enough to be asked once
                self._with_memory[name] = decoder
        return decoder

    def _stateful(self, name: str) -> StatefulFormat:
        self._find(name)
        try:
            return self._with_memory[name]
        except KeyError:
            raise ValueError(f"format {name!r} remembers nothing") from None
