"""Fuzzer inputs: some messages of one stream as bytes, each with a selector of its topic and of its properties."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_agent.ingest.port import Message
from tests.fuzz.seeds import seeds_of

MAX_MESSAGES: Final = 4
_RETAINED: Final = 0x80
_HEAD: Final = 4


class Frames:
    """Reads and writes the inputs of one format. A frame is topic, properties and retain flag, length (2 bytes), payload."""

    def __init__(self, name: str) -> None:
        self.seeds = seeds_of(name)
        self.topics = list(dict.fromkeys([*(message.topic for message in self.seeds), "farm/a"]))
        self.properties: list[Mapping[str, Any]] = []
        for message in self.seeds:
            if message.properties not in self.properties:
                self.properties.append(message.properties)

    def read(self, data: bytes) -> list[Message]:
        """The messages of an input; any bytes are some."""
        messages = []
        while data and len(messages) < MAX_MESSAGES:
            head, data = data[:_HEAD].ljust(_HEAD, b"\0"), data[_HEAD:]
            size = int.from_bytes(head[2:], "big")
            if len(messages) == MAX_MESSAGES - 1:
                size = len(data)
            payload, data = data[:size], data[size:]
            topic = self.topics[head[0] % len(self.topics)]
            properties = self.properties[(head[1] & ~_RETAINED) % len(self.properties)]
            messages.append(Message(topic, payload, properties, bool(head[1] & _RETAINED)))
        return messages

    def write(self, messages: Sequence[Message]) -> bytes:
        """The input that is read as these messages."""
        data = b""
        for message in messages:
            flags = self.properties.index(message.properties) | (_RETAINED if message.retain else 0)
            data += bytes([self.topics.index(message.topic), flags]) + len(message.payload).to_bytes(2, "big") + message.payload
        return data

    def corpus(self) -> list[bytes]:
        """Each seed alone, and each pair of neighbours: births before data, a whole status before a part of one."""
        pairs = zip(self.seeds, self.seeds[1:], strict=False)
        return [self.write([message]) for message in self.seeds] + [self.write(pair) for pair in pairs]
