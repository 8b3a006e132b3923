"""Which format a message is of, as a table: first what its topic says, then its content type, then how its payload begins."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from edge_agent.ingest.content_type import SENML, Encoding, encoding_of, message_media_type

TOPICS: Final[tuple[tuple[str, str], ...]] = (
    # the format, and the topics that are its own whatever the payload
    ("sparkplug", r"spBv1\.0/.+"),
    ("chirpstack", r"application/[^/]+/device/[^/]+/(?:event|command)/[^/]+"),
    ("ttn", r"v3/[^/]+/devices/[^/]+/.+"),
    ("zigbee2mqtt", r"zigbee2mqtt/.+"),
    ("tasmota", r"(?:tele|stat|cmnd)/.+/[A-Z][A-Za-z]*[0-9]*|.+/tele/[A-Z]+[0-9]*"),
    (
        "shelly",
        r".+/events/rpc|.+/status/(?:[a-z0-9_]+:[0-9]+|sys|wifi|eth|cloud|mqtt|ble|ws|ui)|shelly[^/]*-[0-9A-Fa-f]{6,12}/.+",
    ),
    (
        "fiware",
        r"/?json/[^/]*/[^/]+/(?:attrs(?:/.+)?|cmd|cmdexe|configuration/.+)"
        r"|/[^/]+/[^/]+/(?:attrs(?:/.+)?|cmd)|[^/]+/[^/]+/attrs(?:/[^/]+)?",
    ),
)
_ENCODINGS: Final[Mapping[Encoding, str]] = {Encoding.CBOR: "json", Encoding.MSGPACK: "json", Encoding.TEXT: "text"}
_BY_TOPIC: Final = tuple((name, re.compile(pattern)) for name, pattern in TOPICS)
_EVENT: Final = frozenset({"specversion", "id", "source", "type"})
_SENML_VALUES: Final = frozenset({"v", "vs", "vb", "vd", "s"})


def format_of_topic(topic: str) -> str | None:
    """The format whose own topic this is."""
    for name, pattern in _BY_TOPIC:
        if pattern.fullmatch(topic):
            return name
    return None


def format_of_content(payload: bytes, properties: Mapping[str, Any]) -> str:
    """The format of a message whose topic says nothing; a payload that is nothing else is a text."""
    media = message_media_type(properties)
    if media is not None:
        if media.startswith("application/cloudevents"):
            return "cloudevents"
        if media in SENML:
            return "senml"
    if {name for name, _ in properties.get("user", ())} >= _EVENT:
        return "cloudevents"
    encoding = None if media is None else encoding_of(media)
    if encoding is not None and encoding is not Encoding.JSON:
        return _ENCODINGS[encoding]
    if encoding is None and _is_senml_cbor(payload):
        return "senml"
    found = _format_of_json(payload)
    return "json" if encoding is Encoding.JSON and found == "text" else found


def _format_of_json(payload: bytes) -> str:
    start = payload.lstrip()[:1]
    if start == b"{":
        return "cloudevents" if b'"specversion"' in payload and _keys(_parsed(payload)) >= _EVENT else "json"
    if start != b"[":
        return "text"
    document = _parsed(payload)
    if document is _UNREADABLE:
        return "text"
    return "senml" if type(document) is list and _is_senml(document) else "json"


_UNREADABLE: Final = object()


def _parsed(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except RecursionError:
        return None  # nobody writes a text of a thousand brackets
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _UNREADABLE


def _keys(document: Any) -> set[str]:
    return set(document) if type(document) is dict else set()


def _is_senml(records: list[Any]) -> bool:
    """Records, the first of them with a name: one that stands from there on, or its own beside a value."""
    first = records[0] if records else None
    if type(first) is not dict or not all(type(record) is dict for record in records):
        return False
    return type(first.get("bn")) is str or (type(first.get("n")) is str and not _SENML_VALUES.isdisjoint(first))


def _is_senml_cbor(payload: bytes) -> bool:
    """An array of maps, which as UTF-8 would be no text: MQTT 3.1.1 has no content type."""
    start = payload.removeprefix(b"\xd9\xd9\xf7")[:2]
    return len(start) == 2 and 0x80 <= start[0] <= 0x9F and (0xA0 <= start[1] <= 0xB8 or start[1] == 0xBF)
