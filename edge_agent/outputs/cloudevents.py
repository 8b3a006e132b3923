"""CloudEvents 1.0 over MQTT 5: a result as an event, in structured or in binary mode. Pure.

Structured: a JSON envelope with the content type `application/cloudevents+json`. Binary: the result message itself, its
content type as MQTT's, and the attributes as user properties.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/mqtt-protocol-binding.md
"""

from typing import Final, NamedTuple

import msgspec

from edge_agent.settings import EventMode
from fleet_contract.messages import Result

TYPE: Final = "smallhold.result"
STRUCTURED: Final = "application/cloudevents+json"
JSON: Final = "application/json"

_encode = msgspec.json.Encoder().encode


class Event(NamedTuple):
    """What is published."""

    payload: bytes
    content_type: str
    user: tuple[tuple[str, str], ...] = ()


def attributes(device: str, result: Result) -> dict[str, str]:
    """The context attributes but `datacontenttype`. Source and id together are the event's, and a repeat keeps them."""
    made = {
        "specversion": "1.0",
        "type": TYPE,
        "source": f"/{device}/{result.pipeline}",
        "id": result.result_id if not result.revision else f"{result.result_id}.{result.revision}",
        "subject": result.source,
    }
    if result.time is not None:
        made["time"] = result.time
    return made


def to_event(device: str, result: Result, payload: bytes, mode: EventMode) -> Event:
    """The event of a result; `payload` is the result message."""
    named = attributes(device, result)
    if mode is EventMode.BINARY:
        return Event(payload, JSON, tuple(named.items()))
    return Event(_encode({**named, "datacontenttype": JSON, "data": msgspec.Raw(payload)}), STRUCTURED)
