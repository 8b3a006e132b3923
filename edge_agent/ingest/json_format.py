"""Format `json`: every leaf is a reading named by its path, or the configured paths alone. CBOR and MessagePack likewise."""

from typing import Any, Final

from edge_agent.ingest.binary_document import parse_binary, with_floats
from edge_agent.ingest.content_type import binary_encoding
from edge_agent.ingest.envelope import read_envelope
from edge_agent.ingest.events import DeadLetter, Decoded, Reading
from edge_agent.ingest.instant import zone
from edge_agent.ingest.json_document import MISSING, find, leaves, parse
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.quantities import name_quantity, unit_of
from edge_agent.settings import IngestSettings

ROOT_NAME: Final = "value"
"""The name of the reading where the whole payload is one bare value."""
NULL: Final = "null: no value"
ENVELOPE: Final = "the id, time or device of the event"
NO_ATTRIBUTES: Final[dict[str, Any]] = {}
_MAX_KNOWN_NAMES: Final = 4096
_MAX_KNOWN_LENGTH: Final = 256


class JsonFormat:
    """The decoder of one source; what depends on its settings alone is worked out once."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._zone = zone(settings.naive_zone)
        self._not_readings = frozenset(
            path for path in (settings.id_path, settings.time_path, settings.device_path) if path is not None
        )
        self._known: dict[str, tuple[str, str | None]] = {}

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """Readings of one payload. Nulls, empty objects and arrays, and the leaves of id, time and device give none."""
        topic, payload, properties, retain = message
        encoding = binary_encoding(properties) if properties else None
        document = parse(self._settings, payload) if encoding is None else parse_binary(self._settings, payload, encoding)
        if isinstance(document, DeadLetter):
            return document
        envelope = read_envelope(self._settings, self._zone, topic, payload, document, retain)
        if isinstance(envelope, DeadLetter):
            return envelope
        device, time, own_id, quality = envelope
        if encoding is not None:
            document = with_floats(document)
        if explain is not ignore:
            self.explain(document, explain)
        return Decoded(tuple(self.readings(document, device, time, quality)), own_id, time)

    def readings(
        self, document: Any, device: str, time: str | None, quality: tuple[str, ...], attributes: dict[str, Any] = NO_ATTRIBUTES
    ) -> list[Reading]:
        """The readings of a parsed document, or of a part of one that another format carries."""
        known = self._known
        events: list[Reading] = []
        if self._settings.values:
            for name, path in self._settings.values.items():
                value = find(document, path)
                if value is not MISSING and value is not None and type(value) is not dict and type(value) is not list:
                    meaning = known.get(name) or self._meaning(name, path)
                    events.append(Reading(device, meaning[0], value, meaning[1], time, name, quality, attributes))
            return events
        skipped = self._not_readings
        if type(document) is dict:
            for key, value in document.items():
                if type(value) is dict or type(value) is list:
                    for path, leaf in leaves(value, key):
                        if leaf is not None and path not in skipped:
                            meaning = known.get(path) or self._meaning(path, path)
                            events.append(Reading(device, meaning[0], leaf, meaning[1], time, path, quality, attributes))
                elif value is not None and key not in skipped:
                    meaning = known.get(key) or self._meaning(key, key)
                    events.append(Reading(device, meaning[0], value, meaning[1], time, key, quality, attributes))
            return events
        for path, leaf in leaves(document, "") if type(document) is list else ((ROOT_NAME, document),):
            if leaf is not None and path not in skipped:
                quantity, unit = known.get(path) or self._meaning(path, path)
                events.append(Reading(device, quantity, leaf, unit, time, path, quality, attributes))
        return events

    def explain(self, document: Any, explain: Explain) -> None:
        """Say of each value of a document that gives no reading why."""
        wanted = self._settings.values
        for name, path in wanted.items():
            value = find(document, path)
            if value is MISSING:
                explain(path, f"the payload has nothing there for {name!r}")
            elif value is None:
                explain(path, NULL)
            elif type(value) is dict or type(value) is list:
                explain(path, f"{name!r} needs a single value, not {'an object' if type(value) is dict else 'an array'}")
        if wanted:
            read = set(wanted.values())
            for path, _ in leaves(document, ""):
                if path not in read:
                    explain(path, ENVELOPE if path in self._not_readings else "the configured values do not name it")
            return
        for path, value in leaves(document, ""):
            if value is None:
                explain(path or ROOT_NAME, NULL)
            elif path in self._not_readings:
                explain(path, ENVELOPE)

    def _meaning(self, name: str, path: str) -> tuple[str, str | None]:
        quantity = name_quantity(name, path)
        meaning = quantity, self._settings.units.get(name) or unit_of(quantity)
        # names come from payloads: a hostile one must not fill the memory
        if len(self._known) < _MAX_KNOWN_NAMES and len(name) <= _MAX_KNOWN_LENGTH:
            self._known[name] = meaning
        return meaning
