"""What a content type says about how a payload is written; its parameters and its case say nothing."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

_CBOR: Final = frozenset({"application/cbor"})
_MSGPACK: Final = frozenset({"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"})
SENML: Final = frozenset(f"application/{name}+{form}" for name in ("senml", "sensml") for form in ("json", "cbor"))
"""The media types of SenML packs, and of streams of them."""


class Encoding(Enum):
    """How a document is written."""

    JSON = "json"
    CBOR = "cbor"
    MSGPACK = "msgpack"
    TEXT = "text"


def media_type(content_type: str) -> str:
    """The type and subtype alone, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def encoding_of(media: str) -> Encoding | None:
    """The encoding that a media type means, by its name or its suffix; None for any other."""
    if media in _CBOR or media.endswith("+cbor"):
        return Encoding.CBOR
    if media in _MSGPACK or media.endswith("+msgpack"):
        return Encoding.MSGPACK
    if media.endswith(("/json", "+json")):
        return Encoding.JSON
    if media.startswith("text/"):
        return Encoding.TEXT
    return None


def message_media_type(properties: Mapping[str, Any]) -> str | None:
    """The media type of an MQTT message, if it states one."""
    content_type = properties.get("content_type")
    return media_type(content_type) if content_type else None


def binary_encoding(properties: Mapping[str, Any]) -> Encoding | None:
    """CBOR or MessagePack if the message says so; anything else is read as what the source's format expects."""
    media = message_media_type(properties)
    encoding = None if media is None else encoding_of(media)
    return encoding if encoding is Encoding.CBOR or encoding is Encoding.MSGPACK else None
