"""What the tests of the formats read messages with."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from edge_agent.decode_command import decode_message, lines, properties_of
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


class Printed:
    """What `edge-agent decode` prints of one message in the format FORMAT of the test's module, read back."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self,
        topic: str,
        document: Any,
        *,
        content_type: str | None = None,
        user: Sequence[tuple[str, str]] = (),
        prior: Sequence[tuple[str, Any]] = (),
        **settings: Any,
    ) -> list[dict[str, Any]]:
        decoded = decode_message(
            IngestSettings(topic="#", format=self.name, **settings),
            topic,
            payload_of(document),
            properties=properties_of(user, content_type),
            prior=[(earlier, payload_of(content)) for earlier, content in prior],
        )
        return [json.loads(line) for line in lines(decoded)]

    def check(self, expected: Sequence[tuple[Any, ...]], topic: str, document: Any, **more: Any) -> None:
        """Assert the readings in order: (name, quantity, value, unit), and behind them other fields that a case is about."""
        printed = self(topic, document, **more)
        found = [(row.get("name"), row.get("quantity"), json.dumps(row.get("value")), row.get("unit")) for row in printed]
        assert found == [(name, quantity, json.dumps(value), unit) for name, quantity, value, unit, *_ in expected], printed
        for row, (*_, last) in zip(printed, expected, strict=True):
            if type(last) is dict:
                assert {key: row[key] for key in last} == last

    def refused(self, topic: str, document: Any, **more: Any) -> str:
        """The reason of the dead letter that the message is, which is one line with three members."""
        (letter,) = self(topic, document, **more)
        assert list(letter) == ["dead_letter", "reason", "detail"], letter
        assert letter["dead_letter"] is True
        assert letter["detail"]
        return str(letter["reason"])


def payload_of(document: Any) -> bytes:
    """Bytes and texts as they are, anything else as JSON."""
    if isinstance(document, bytes):
        return document
    return document.encode() if isinstance(document, str) else json.dumps(document).encode()


@pytest.fixture
def printed(request: pytest.FixtureRequest) -> Printed:
    """The format that the test's module names in FORMAT, as the command line shows it."""
    return Printed(request.module.FORMAT)


@pytest.fixture
def reader(request: pytest.FixtureRequest) -> FormatReader:
    """The format that the test's module names in FORMAT."""
    return FormatReader(request.module.FORMAT)
