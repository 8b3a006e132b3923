"""The door of the room: the table of formats, and one decoder for each source, behind which nothing raises.

A format's module is imported when a source asks for it, so that a device holds in memory only what it reads. Installed packages
add formats by an entry point of the group `smallhold.formats` (docs/formats.md).
"""

import difflib
import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from edge_agent.ingest.events import DeadLetter, Decoded, Reading
from edge_agent.ingest.port import NO_PROPERTIES, Explain, Message, PayloadFormat, StatefulFormat, ignore
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

log = logging.getLogger(__name__)

ENTRY_POINTS: Final = "smallhold.formats"
FORMATS: Final[dict[str, str]] = {
    "auto": "edge_agent.ingest.auto:AutoFormat",
    "json": "edge_agent.ingest.json_format:JsonFormat",
    "sparkplug": "edge_agent.ingest.sparkplug:SparkplugFormat",
    "text": "edge_agent.ingest.text_format:TextFormat",
    "cloudevents": "edge_agent.ingest.cloudevents:CloudeventsFormat",
    "senml": "edge_agent.ingest.senml:SenmlFormat",
    "chirpstack": "edge_agent.ingest.chirpstack:ChirpstackFormat",
    "ttn": "edge_agent.ingest.ttn:TtnFormat",
    "zigbee2mqtt": "edge_agent.ingest.zigbee2mqtt:Zigbee2mqttFormat",
    "fiware": "edge_agent.ingest.fiware:FiwareFormat",
    "tasmota": "edge_agent.ingest.tasmota:TasmotaFormat",
    "shelly": "edge_agent.ingest.shelly:ShellyFormat",
}
"""Name to module and class, which is called with the source's IngestSettings."""
MAX_TOPIC: Final = 1024
"""Characters of a topic, which is the device of each reading in many formats; MQTT would allow 65,535."""
MAX_CHARACTERS: Final = 16 * 1024**2
"""Of all texts in the readings of one message: a long device id over thousands of values must not fill memory and journal."""
_SMALL: Final = 4096
"""A payload of so few bytes cannot become much, and its readings are not measured."""
MAX_STREAMS: Final = 10_000
"""States that one source remembers; a hostile sender must not fill the memory."""
MAX_STATE_BYTES: Final = 64 * 1024**2
"""Of all that one source has stored of them: beyond, no further stream is remembered."""


def format_names() -> list[str]:
    """All formats, those of installed packages included."""
    return [*FORMATS, *sorted({item.name for item in _added()} - FORMATS.keys())]


def find_format(name: str) -> Callable[[IngestSettings], PayloadFormat]:
    """The class of a format; raises ValueError that names the nearest known one, or what cannot be imported."""
    place = FORMATS.get(name)
    try:
        if place is not None:
            module, _, attribute = place.partition(":")
            return cast(Callable[[IngestSettings], PayloadFormat], getattr(importlib.import_module(module), attribute))
        for item in _added():
            if item.name == name:
                return cast(Callable[[IngestSettings], PayloadFormat], item.load())
    except Exception as error:  # a third party's module may raise anything while it is imported
        raise ValueError(f"format {name!r} cannot be loaded: {error}") from error
    known = format_names()
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise ValueError(f"there is no format {name!r}; the nearest is {near[0]!r}, all are: {', '.join(known)}")


def _added() -> Any:
    from importlib.metadata import entry_points  # half a megabyte that few devices need

    return entry_points(group=ENTRY_POINTS)


class Ingest:
    """The decoder of one source with the states of its streams: make it once, for it works out what its settings mean.

    `decode` changes nothing; `accept` takes a message's new state over once it is known to be no repeat. Raises ValueError on
    an unknown format or zone.
    """

    def __init__(self, settings: IngestSettings, name: str = "") -> None:
        self.settings = settings
        self.name = name or f"{settings.format}:{settings.topic}"
        """Under which the states of its streams are stored."""
        self.errors = 0
        """Payloads that broke a decoder instead of being refused by it: each is a defect of ours."""
        try:
            self._format = find_format(settings.format)(settings)
        except ValueError:
            raise
        except Exception as error:  # as above
            raise ValueError(f"format {settings.format!r} cannot be made: {type(error).__name__}: {error}") from error
        self._stateful: StatefulFormat | None = self._format if isinstance(self._format, StatefulFormat) else None
        self._states: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        """Bytes of each state that is stored."""
        self._stored_bytes = 0

    @property
    def remembers(self) -> bool:
        """Whether what a message means depends on those before it."""
        return self._stateful is not None

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take the stored states, before the first message. One that cannot be read is left out: the stream starts anew."""
        if self._stateful is None:
            return
        for stream, stored in states.items():
            try:
                self._states[stream] = self._stateful.load(stored)
                self._measure(stream, stored)
            except Exception as error:  # noqa: BLE001 - a third party's decoder may raise anything: that state alone is lost
                log.warning("a stored state of a format is not read", extra={"stream": stream, "error": str(error)})

    def state(self, stream: str) -> bytes:
        """What to store for one stream."""
        assert self._stateful is not None
        stored = self._stateful.dump(self._states[stream])
        self._measure(stream, stored)
        return stored

    def accept(self, topic: str, decoded: Decoded) -> str | None:
        """Take over the new state that a message brought; the stream whose state is to be stored, if any."""
        if decoded.state is None or self._stateful is None:
            return None
        stream = self._stateful.stream_of(topic)
        if stream is None:
            return None
        full = len(self._states) >= MAX_STREAMS or self._stored_bytes >= MAX_STATE_BYTES
        if full and stream not in self._states:
            return None
        self._states[stream] = decoded.state
        return stream if decoded.stored else None

    def _measure(self, stream: str, stored: bytes) -> None:
        self._stored_bytes += len(stored) - self._sizes.get(stream, 0)
        self._sizes[stream] = len(stored)

    def decode(
        self,
        topic: str,
        payload: bytes,
        properties: Mapping[str, Any] = NO_PROPERTIES,
        *,
        retain: bool = False,
        explain: Explain = ignore,
    ) -> Decoded | DeadLetter:
        """What one message holds; never raises."""
        if len(topic) > MAX_TOPIC:
            return DeadLetter(Reason.TOO_LARGE, f"the topic has {len(topic)} characters, allowed are {MAX_TOPIC}")
        try:
            state = None
            if self._stateful is not None:
                stream = self._stateful.stream_of(topic)
                state = None if stream is None else self._states.get(stream)
            decoded = self._format.decode(Message(topic, payload, properties, retain), state, explain)
            if type(decoded) is not Decoded and type(decoded) is not DeadLetter:
                raise TypeError(f"format {self.settings.format!r} gave {type(decoded).__name__}")
            return decoded if len(payload) <= _SMALL else within_bounds(decoded)
        except RecursionError:
            return DeadLetter(Reason.TOO_DEEP, "nested too deeply")
        except Exception as error:  # the room's boundary: counted, logged, and the intake goes on
            self.errors += 1
            log.exception("a payload broke its decoder", extra={"topic": topic, "format": self.settings.format})
            return DeadLetter(Reason.WRONG_SHAPE, f"{type(error).__name__}: {error}")


def within_bounds(decoded: Decoded | DeadLetter) -> Decoded | DeadLetter:
    """The same, or a dead letter if its readings repeat so much that they are many times the payload."""
    if isinstance(decoded, DeadLetter):
        return decoded
    characters = 0
    for event in decoded.events:
        characters += len(event.device) + len(event.name) + len(event.time or "")
        if isinstance(event, Reading):
            characters += len(event.quantity) + len(event.unit or "")
            if event.attributes:
                characters += sum(len(item) for item in event.attributes.values() if type(item) is str)
    if characters > MAX_CHARACTERS:
        detail = f"the texts of its {len(decoded.events)} readings have {characters} characters, allowed are {MAX_CHARACTERS}"
        return DeadLetter(Reason.TOO_LARGE, detail)
    return decoded


def decode(
    settings: IngestSettings,
    topic: str,
    payload: bytes,
    properties: Mapping[str, Any] = NO_PROPERTIES,
    *,
    retain: bool = False,
) -> Decoded | DeadLetter:
    """Decode one message of a source that is not worth keeping a decoder for."""
    return Ingest(settings).decode(topic, payload, properties, retain=retain)
