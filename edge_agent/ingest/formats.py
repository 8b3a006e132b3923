"""The door of the room: the table of formats, and one decoder for each source, behind which nothing raises."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.json_format import JsonFormat
from edge_agent.ingest.text_format import TextFormat
from edge_agent.settings import Format, IngestSettings
from fleet_contract.reasons import Reason

log = logging.getLogger(__name__)


class PayloadFormat(Protocol):
    """One payload format, made for one source."""

    def decode(self, topic: str, payload: bytes, *, retain: bool = False) -> Decoded | DeadLetter:
        """What the payload holds. Pure."""
        ...


FORMATS: Final[dict[Format, Callable[[IngestSettings], PayloadFormat]]] = {
    Format.JSON: JsonFormat,
    Format.TEXT: TextFormat,
}

NO_PROPERTIES: Final[Mapping[str, Any]] = {}


class Ingest:
    """The decoder of one source: make it once, for it works out what its settings mean.

    Raises ValueError on an unknown zone.
    """

    def __init__(self, settings: IngestSettings) -> None:
        self.settings = settings
        self.errors = 0
        """Payloads that broke a decoder instead of being refused by it: each is a defect of ours."""
        self._format = FORMATS[settings.format](settings)

    def decode(
        self, topic: str, payload: bytes, properties: Mapping[str, Any] = NO_PROPERTIES, *, retain: bool = False
    ) -> Decoded | DeadLetter:
        """What one message holds; never raises. `properties` are for the formats that read them."""
        try:
            return self._format.decode(topic, payload, retain=retain)
        except RecursionError:
            return DeadLetter(Reason.TOO_DEEP, "nested too deeply")
        except Exception as error:  # the room's boundary: counted, logged, and the intake goes on
            self.errors += 1
            log.exception("a payload broke its decoder", extra={"topic": topic, "format": self.settings.format})
            return DeadLetter(Reason.WRONG_SHAPE, f"{type(error).__name__}: {error}")


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
