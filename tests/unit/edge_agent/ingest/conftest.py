"""What the tests of the formats read messages with."""

import json
from typing import Any

import pytest

from edge_agent.ingest.events import DeadLetter, Decoded, Reading
from edge_agent.ingest.formats import Ingest
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason


class FormatReader:
    """One format; each call is a source of its own, so nothing is remembered between calls."""

    def __init__(self, name: str) -> None:
        self.name = name

    def source(self, **settings: Any) -> Ingest:
        return Ingest(IngestSettings(topic="#", format=self.name, **settings))

    def decode(self, topic: str, document: Any, retain: bool = False, **settings: Any) -> Decoded:
        ingest = self.source(**settings)
        decoded = ingest.decode(topic, payload_of(document), retain=retain)
        assert ingest.errors == 0, decoded
        assert isinstance(decoded, Decoded), decoded
        return decoded

    def readings(self, topic: str, document: Any, retain: bool = False, **settings: Any) -> dict[str, Reading]:
        """By name; no two may share one."""
        events = self.decode(topic, document, retain, **settings).events
        readings = {event.name: event for event in events if isinstance(event, Reading)}
        assert len(readings) == len(events)
        return readings

    def table(self, topic: str, document: Any, **settings: Any) -> dict[str, tuple[str, Any, str | None]]:
        """Name to quantity, value and unit."""
        readings = self.readings(topic, document, **settings)
        return {name: (reading.quantity, reading.value, reading.unit) for name, reading in readings.items()}

    def refuse(self, topic: str, document: Any, **settings: Any) -> tuple[Reason, str]:
        """Reason and detail of the dead letter that the message becomes."""
        ingest = self.source(**settings)
        letter = ingest.decode(topic, payload_of(document))
        assert ingest.errors == 0, letter
        assert isinstance(letter, DeadLetter), letter
        return letter.reason, letter.detail

    def explain(self, topic: str, document: Any, **settings: Any) -> dict[str, str]:
        """Path to why it gives no reading."""
        told: dict[str, str] = {}
        self.source(**settings).decode(topic, payload_of(document), explain=told.setdefault)
        return told


def payload_of(document: Any) -> bytes:
    """Bytes and texts as they are, anything else as JSON."""
    if isinstance(document, bytes):
        return document
    return document.encode() if isinstance(document, str) else json.dumps(document).encode()


@pytest.fixture
def reader(request: pytest.FixtureRequest) -> FormatReader:
    """The format that the test's module names in FORMAT."""
    return FormatReader(request.module.FORMAT)
