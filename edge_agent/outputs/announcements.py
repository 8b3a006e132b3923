"""What Home Assistant was told of: remembered in agent.db, so that entities go when their pipeline does. Pure bookkeeping.

Each announcement is one retained message for one pipeline and sensor. It is made when the sensor's first result comes, again
when a result brings one more entity, and at the start of the agent when the configuration has changed. What it says is stored
under its topic in the commit that holds the message.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from edge_agent.outputs.homeassistant import MOST_READINGS, READING, Entity, config_topic, to_config

MOST_ANNOUNCED: Final = 10_000
"""Sensors that Home Assistant is told of: they stay, also in agent.db, until their pipeline or output goes."""
KEY: Final = "homeassistant."
"""Before the announcement's topic, the name of its value in agent.db."""


class Announcement(msgspec.Struct, array_like=True, frozen=True):
    """One pipeline's entities of one sensor, as they were announced."""

    pipeline: str
    source: str
    state_topic: str
    retained: bool
    """Whether states are: the last one is then deleted with the announcement."""
    entities: dict[str, Entity]
    digest: bytes
    """Of the message."""


class Announcer(NamedTuple):
    """How one pipeline announces its sensors' entities."""

    device: str
    pipeline: str
    prefix: str
    expire_after: float | None
    retained: bool

    def topic(self, source: str) -> str:
        """Where a sensor's entities are announced."""
        return config_topic(self.prefix, self.device, self.pipeline, source)

    def announce(self, source: str, state_topic: str, entities: Mapping[str, Entity]) -> tuple[Announcement, bytes]:
        """The announcement of these entities, and its message."""
        message = self._message(source, state_topic, entities, {})
        digest = blake2b(message, digest_size=16).digest()
        return Announcement(self.pipeline, source, state_topic, self.retained, dict(entities), digest), message

    def farewell(self, source: str, state_topic: str, entities: Mapping[str, Entity], gone: Mapping[str, Entity]) -> bytes:
        """The message before the next announcement, which removes the entities that are `gone`."""
        return self._message(source, state_topic, entities, gone)

    def _message(self, source: str, state_topic: str, entities: Mapping[str, Entity], gone: Mapping[str, Entity]) -> bytes:
        return to_config(
            self.device,
            self.pipeline,
            source,
            entities,
            state_topic=state_topic,
            expire_after=self.expire_after,
            removed=gone,
        )


class Change(NamedTuple):
    """What is to be published and remembered. All messages are retained; an empty one deletes what the broker keeps."""

    topic: str
    messages: list[bytes]
    """Announcements, in order."""
    values: dict[str, bytes | None]
    stale: str | None = None
    """A topic whose state the broker is to keep no longer."""


class Announcements:
    """All announcements of this agent, by topic."""

    def __init__(self, stored: Mapping[str, bytes]) -> None:
        """`stored`: the values of agent.db. Raises msgspec.DecodeError."""
        self._known = {
            key.removeprefix(KEY): msgspec.msgpack.decode(value, type=Announcement)
            for key, value in stored.items()
            if key.startswith(KEY)
        }

    def is_full_for(self, topic: str) -> bool:
        """Whether nothing more is announced on a topic because of the bound."""
        return len(self._known) >= MOST_ANNOUNCED and topic not in self._known

    def items(self) -> Iterator[tuple[str, Announcement]]:
        """Topic and announcement of each."""
        yield from list(self._known.items())

    def see(self, announcer: Announcer, source: str, state_topic: str, seen: Mapping[str, Entity]) -> Change | None:
        """Announce what a result has shown; None if it shows nothing new. An entity keeps the platform that it first had."""
        topic = announcer.topic(source)
        known = self._known.get(topic)
        entities = {} if known is None else known.entities
        if known is not None and seen.keys() <= entities.keys():
            return None
        merged = dict(entities)
        readings = sum(key.startswith(READING) for key in merged)
        for key, entity in seen.items():
            if key not in merged and (not key.startswith(READING) or readings < MOST_READINGS):
                merged[key] = entity
                readings += key.startswith(READING)
        if len(merged) == len(entities):
            return None
        made, message = announcer.announce(source, state_topic, merged)
        self._known[topic] = made
        return Change(topic, [message], {KEY + topic: msgspec.msgpack.encode(made)})

    def renew(self, topic: str, announcer: Announcer, state_topic: str, kept: Mapping[str, Entity]) -> Change | None:
        """Announce a known sensor as it is configured now, with the entities that are `kept`; None if nothing differs."""
        known = self._known[topic]
        made, message = announcer.announce(known.source, state_topic, kept)
        if made == known:
            return None
        messages = []
        gone = {key: entity for key, entity in known.entities.items() if key not in kept}
        if gone:
            messages.append(announcer.farewell(known.source, state_topic, kept, gone))
        messages.append(message)
        self._known[topic] = made
        stale = _stale(known, made.state_topic if made.retained else None)
        return Change(topic, messages, {KEY + topic: msgspec.msgpack.encode(made)}, stale)

    def withdraw(self, topic: str) -> Change:
        """Remove a sensor's entities, and the state that the broker keeps of them."""
        known = self._known.pop(topic)
        return Change(topic, [b""], {KEY + topic: None}, _stale(known, None))

    def repeat(self, topic: str, announcer: Announcer) -> Change:
        """The message of a known announcement once more."""
        known = self._known[topic]
        return Change(topic, [announcer.announce(known.source, known.state_topic, known.entities)[1]], {})


def _stale(known: Announcement, state_topic: str | None) -> str | None:
    return known.state_topic if known.retained and known.state_topic != state_topic else None
