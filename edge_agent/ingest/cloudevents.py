"""Format `cloudevents`: CloudEvents 1.0 over MQTT, in binary mode (user properties) and structured mode (a JSON object).

Both modes give the same readings: `data` is read by its content type, and names are paths inside it.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from msgspec import structs

from edge_agent.ingest.binary_document import parse_binary, with_floats
from edge_agent.ingest.content_type import SENML, Encoding, encoding_of, media_type, message_media_type
from edge_agent.ingest.envelope import event_time, topic_device
from edge_agent.ingest.events import DeadLetter, Decoded, Reading, Text
from edge_agent.ingest.instant import read_time, zone
from edge_agent.ingest.json_document import find, find_exactly, parse
from edge_agent.ingest.json_format import JsonFormat
from edge_agent.ingest.measured import WrongShape, quality_of
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.senml import SenmlFormat
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

VERSION: Final = "1.0"
STRUCTURED: Final = "application/cloudevents"
_JSON_EVENTS: Final = (STRUCTURED, f"{STRUCTURED}+json")
_REQUIRED: Final = ("id", "source", "type")


class _Data(NamedTuple):
    """The event's data: a document, or a text."""

    document: Any
    payload: bytes
    """The JSON that the document stands in,"""
    inside: str
    """and where in it."""
    is_text: bool = False
    pack: bool | None = None
    """Of a SenML pack, whether its labels are those of CBOR."""


_NO_DATA: Final = _Data(None, b"null", "")


class CloudeventsFormat:
    """The decoder of one source."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._zone = zone(settings.naive_zone)
        self._json = JsonFormat(settings)
        self._senml = SenmlFormat(settings)

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """Readings of the leaves of JSON, CBOR and MessagePack data, or the text of text data. No data gives none."""
        topic, payload, properties, retain = message
        media = message_media_type(properties)
        user = dict(properties.get("user", ()))
        try:
            if media is not None and media.startswith(STRUCTURED):
                if media not in _JSON_EVENTS:
                    return DeadLetter(Reason.UNKNOWN_CONTENT_TYPE, _unread_event(media))
                event = self._structured(payload)
            elif "specversion" in user:
                event = self._binary(user, payload, media)
            else:
                event = self._structured(payload)
            if isinstance(event, DeadLetter):
                return event
            return self._read(topic, *event, retain, explain)
        except WrongShape as error:
            return DeadLetter(Reason.WRONG_SHAPE, str(error))

    def _binary(
        self, user: Mapping[str, str], payload: bytes, media: str | None
    ) -> tuple[Mapping[str, Any], _Data] | DeadLetter:
        problem = _check_attributes(user)
        if problem is not None:
            return problem
        stated = user.get("datacontenttype")
        data = self._bytes(payload, media or (media_type(stated) if stated else None))
        return data if isinstance(data, DeadLetter) else (user, data)

    def _structured(self, payload: bytes) -> tuple[Mapping[str, Any], _Data] | DeadLetter:
        document = parse(self._settings, payload)
        if isinstance(document, DeadLetter):
            return document
        if type(document) is list:
            raise WrongShape("a batch of events, which MQTT does not have: one message is one event")
        if type(document) is not dict or "specversion" not in document:
            raise WrongShape("no CloudEvent: neither a user property nor a member of the payload is named specversion")
        problem = _check_attributes(document)
        if problem is not None:
            return problem
        stated = document.get("datacontenttype")
        media = media_type(stated) if stated else None
        encoded = document.get("data_base64")
        if encoded is not None:
            if document.get("data") is not None:
                raise WrongShape("both data and data_base64")
            try:
                data = self._bytes(b64decode(encoded, validate=True), media)
            except (Base64Error, ValueError, TypeError) as error:
                raise WrongShape(f"data_base64: {error}") from error
            return data if isinstance(data, DeadLetter) else (document, data)
        value = document.get("data")
        encoding = Encoding.JSON if media is None else encoding_of(media)
        if value is not None and media in SENML and encoding is Encoding.JSON:
            return document, _Data(find_exactly(payload, "data"), payload, "data", pack=False)
        if value is None or encoding is Encoding.JSON:
            return document, _Data(value, payload, "data")
        if encoding is Encoding.TEXT:
            if type(value) is not str:
                raise WrongShape(f"data: {media} needs a text")
            return document, _Data(value, payload, "data", True)
        if encoding is None:
            return DeadLetter(Reason.UNKNOWN_CONTENT_TYPE, f"data of the content type {str(media)[:128]}")
        raise WrongShape(f"data of the content type {media} is bytes, and belongs into data_base64")

    def _bytes(self, data: bytes, media: str | None) -> _Data | DeadLetter:
        if not data:
            return _NO_DATA
        encoding = Encoding.JSON if media is None else encoding_of(media)
        if encoding is Encoding.JSON:
            document = parse(self._settings, data, exact=media in SENML)
            return document if isinstance(document, DeadLetter) else _Data(document, data, "", pack=_labels(media, False))
        if encoding is Encoding.CBOR or encoding is Encoding.MSGPACK:
            document = parse_binary(self._settings, data, encoding)
            return document if isinstance(document, DeadLetter) else _Data(document, data, "", pack=_labels(media, True))
        if encoding is not Encoding.TEXT:
            return DeadLetter(Reason.UNKNOWN_CONTENT_TYPE, f"data of the content type {str(media)[:128]}")
        if len(data) > self._settings.max_bytes:
            return DeadLetter(Reason.TOO_LARGE, f"{len(data)} bytes, allowed are {self._settings.max_bytes}")
        try:
            return _Data(data.decode("utf-8"), data, "", True)
        except UnicodeDecodeError as error:
            return DeadLetter(Reason.NOT_UTF8, f"byte {error.start}: {error.reason}")

    def _read(self, topic: str, event: Mapping[str, Any], data: _Data, retain: bool, explain: Explain) -> Decoded | DeadLetter:
        timed = self._time(event, data)
        if isinstance(timed, DeadLetter):
            return timed
        time, naive = timed
        quality = quality_of(time, naive, retain)
        device = self._device(topic, event, data)
        own_id = f"{event['source']} {event['id']}"  # a source is a URI reference, in which there is no space
        if data.is_text:
            return Decoded((Text(device, data.document, time, "text", quality),), own_id, time)
        attributes = {"source": event["source"], "type": event["type"]}
        if data.pack is not None:
            decoded = self._senml.read(data.document, topic, retain, explain, cbor=data.pack, fallback=device)
            if isinstance(decoded, DeadLetter):
                return decoded
            return Decoded(tuple(_measured(decoded.events, time, quality, attributes)), own_id, decoded.time or time)
        document = with_floats(data.document)
        if explain is not ignore:
            self._json.explain(document, explain)
        return Decoded(tuple(self._json.readings(document, device, time, quality, attributes)), own_id, time)

    def _time(self, event: Mapping[str, Any], data: _Data) -> tuple[str | None, bool] | DeadLetter:
        """The event's own time; if it states none, that under the configured path in the data."""
        stated = _text(event, "time")
        if stated is not None:
            try:
                return read_time(stated, self._zone)
            except (ValueError, OverflowError) as error:
                return DeadLetter(Reason.BAD_TIME, f"time: {error}")
        path = self._settings.time_path
        if path is None or data.is_text or data.pack is not None:
            return None, False
        place = f"{data.inside}.{path}" if data.inside else path
        return event_time(find(data.document, path), place, self._zone, data.payload)

    def _device(self, topic: str, event: Mapping[str, Any], data: _Data) -> str:
        if self._settings.device_path is not None:
            found = find(data.document, self._settings.device_path)
            if (type(found) is str or type(found) is int) and str(found):
                return str(found)
        if self._settings.device_level is not None:
            return topic_device(self._settings, topic)
        return _text(event, "subject") or str(event["source"])


def _labels(media: str | None, cbor: bool) -> bool | None:
    return cbor if media in SENML else None


def _measured(
    events: Iterable[Any], time: str | None, quality: tuple[str, ...], attributes: dict[str, Any]
) -> Iterator[Reading]:
    """The readings of a pack as those of the event, whose time is that of records which carry none."""
    for reading in events:
        untimed = reading.time is None and "relative_time" not in reading.quality
        yield structs.replace(
            reading,
            time=time if untimed else reading.time,
            quality=quality if untimed else reading.quality,
            attributes=attributes | reading.attributes,
        )


def _text(event: Mapping[str, Any], name: str) -> str | None:
    value = event.get(name)
    if value is None or type(value) is str:
        return value
    raise WrongShape(f"{name}: a text is needed, not {type(value).__name__}")


def _check_attributes(event: Mapping[str, Any]) -> DeadLetter | None:
    version = _text(event, "specversion")
    if version is None:
        raise WrongShape("specversion: a CloudEvent needs it")
    if version != VERSION:
        return DeadLetter(Reason.UNKNOWN_VERSION, f"specversion {version[:64]!r}, known is {VERSION}")
    for name in _REQUIRED:
        if not _text(event, name):
            raise WrongShape(f"{name}: a CloudEvent needs it")
    _text(event, "datacontenttype")
    return None


def _unread_event(media: str) -> str:
    if media.startswith(f"{STRUCTURED}-batch"):
        return f"{media}: MQTT has no batches, one message is one event"
    return f"{media[:128]}: of the event formats, JSON is read"
