"""Format `text`: the payload is the text, kept exactly; or a configured path inside JSON."""

from typing import Any

from edge_agent.ingest.envelope import plain_quality, read_envelope, topic_device
from edge_agent.ingest.events import DeadLetter, Decoded, Text
from edge_agent.ingest.instant import zone
from edge_agent.ingest.json_document import MISSING, find, parse
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason


class TextFormat:
    """The decoder of one source."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._zone = zone(settings.naive_zone)

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """One text, or none where the configured path holds null."""
        topic, payload, _, retain = message
        if self._settings.text_path is not None:
            return self._decode_json(self._settings.text_path, topic, payload, retain)
        if len(payload) > self._settings.max_bytes:
            return DeadLetter(Reason.TOO_LARGE, f"{len(payload)} bytes, allowed are {self._settings.max_bytes}")
        try:
            text = payload.decode("utf-8")
        except UnicodeDecodeError as error:
            return DeadLetter(Reason.NOT_UTF8, f"byte {error.start}: {error.reason}")
        return Decoded((Text(topic_device(self._settings, topic), text, None, "text", plain_quality(retain)),))

    def _decode_json(self, path: str, topic: str, payload: bytes, retain: bool) -> Decoded | DeadLetter:
        document = parse(self._settings, payload)
        if isinstance(document, DeadLetter):
            return document
        text = find(document, path)
        if text is MISSING:
            return DeadLetter(Reason.WRONG_SHAPE, f"{path}: the payload has nothing there")
        if text is not None and type(text) is not str:
            return DeadLetter(Reason.WRONG_SHAPE, f"{path}: a text is needed, not {type(text).__name__}")
        envelope = read_envelope(self._settings, self._zone, topic, payload, document, retain)
        if isinstance(envelope, DeadLetter):
            return envelope
        device, time, own_id, quality = envelope
        return Decoded(() if text is None else (Text(device, text, time, path, quality),), own_id, time)
