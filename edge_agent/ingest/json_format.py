"""Format `json`: every leaf is a reading named by its path, or the configured paths alone."""

from collections.abc import Iterator
from typing import Any, Final

from edge_agent.ingest.envelope import read_envelope
from edge_agent.ingest.events import DeadLetter, Decoded, Reading
from edge_agent.ingest.instant import zone
from edge_agent.ingest.json_document import MISSING, find, leaves, parse
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.quantities import name_quantity, unit_of
from edge_agent.settings import IngestSettings

ROOT_NAME: Final = "value"
"""The name of the reading where the whole payload is one bare value."""
_MAX_KNOWN_NAMES: Final = 4096


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
        topic, payload, _, retain = message
        document = parse(self._settings, payload)
        if isinstance(document, DeadLetter):
            return document
        envelope = read_envelope(self._settings, self._zone, topic, payload, document, retain)
        if isinstance(envelope, DeadLetter):
            return envelope
        device, time, own_id, quality = envelope
        known = self._known
        events: list[Reading] = []
        for name, path, value in self._values(document):
            meaning = known.get(name) or self._meaning(name, path)
            events.append(Reading(device, meaning[0], value, meaning[1], time, name, quality))
        return Decoded(tuple(events), own_id, time)

    def _values(self, document: Any) -> Iterator[tuple[str, str, Any]]:
        wanted = self._settings.values
        if wanted:
            for name, path in wanted.items():
                value = find(document, path)
                if value is not MISSING and value is not None and type(value) is not dict and type(value) is not list:
                    yield name, path, value
            return
        if type(document) is dict:
            skipped = self._not_readings
            for key, value in document.items():
                if type(value) is dict or type(value) is list:
                    for path, leaf in leaves(value, key):
                        if leaf is not None and path not in skipped:
                            yield path, path, leaf
                elif value is not None and key not in skipped:
                    yield key, key, value
        elif type(document) is list:
            for path, leaf in leaves(document, ""):
                if leaf is not None and path not in self._not_readings:
                    yield path, path, leaf
        elif document is not None:
            yield ROOT_NAME, ROOT_NAME, document

    def _meaning(self, name: str, path: str) -> tuple[str, str | None]:
        quantity = name_quantity(name, path)
        meaning = quantity, self._settings.units.get(name) or unit_of(quantity)
        if len(self._known) < _MAX_KNOWN_NAMES:  # names come from payloads: a hostile one must not fill the memory
            self._known[name] = meaning
        return meaning
