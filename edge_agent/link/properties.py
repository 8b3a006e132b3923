"""MQTT 5 properties of a PUBLISH between paho's objects and plain mappings."""

from collections.abc import Mapping
from typing import Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.link.port import NO_PROPERTIES

_NAMES: Final = {
    "content_type": "ContentType",
    "response_topic": "ResponseTopic",
    "correlation": "CorrelationData",
    "expiry": "MessageExpiryInterval",
    "user": "UserProperty",
}
_BARE: Final = len(vars(Properties(PacketTypes.PUBLISH)))  # type: ignore[no-untyped-call]
"""Attributes of an object that holds no property: the quick way to see that a message has none."""


def from_paho(properties: Properties | None) -> Mapping[str, object]:
    """What a received PUBLISH carries, under our names."""
    if properties is None or len(vars(properties)) == _BARE:
        return NO_PROPERTIES
    return {ours: getattr(properties, theirs) for ours, theirs in _NAMES.items() if hasattr(properties, theirs)}


def to_paho(properties: Mapping[str, object] | None, expiry: float | None) -> Properties | None:
    """For a PUBLISH to be sent; `expiry` in seconds goes before the mapping's own.

    Raises ValueError for a name that we do not send.
    """
    if not properties and expiry is None:
        return None
    made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for ours, value in (properties or {}).items():
        if ours not in _NAMES:
            raise ValueError(f"publish property {ours!r}: one of {', '.join(sorted(_NAMES))}")
        setattr(made, _NAMES[ours], value)
    if expiry is not None:
        made.MessageExpiryInterval = max(1, round(expiry))
    return made
