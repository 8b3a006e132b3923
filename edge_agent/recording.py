"""Recordings: JSON lines of messages as they were published. Read by `replay` and `test`, written by `record`.

A line is `{"time": ..., "topic": ..., "payload": ...}`, and where they say anything `qos`, `retain`, `content_type` and `user`
(pairs). `payload` is what was published: a JSON object, array, number, boolean or null stands for its compact encoding, a text
for itself, and `{"base64": "..."}` for any bytes. `time` (RFC 3339) says when it was published.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from edge_agent.link.port import NO_PROPERTIES


class Recorded(NamedTuple):
    """One message of a recording."""

    topic: str
    payload: bytes
    properties: Mapping[str, object] = NO_PROPERTIES
    qos: int = 1
    retain: bool = False
    time: float | None = None
    """When it was published, seconds since 1970."""


class RecordingError(ValueError):
    """A line of the recording is not an event; the text names the line."""


def read_recording(lines: Iterable[bytes]) -> Iterator[Recorded]:
    """Every message, in order; raises RecordingError."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise TypeError("not an object")
            yield from_entry(entry)
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
            raise RecordingError(f"line {number}: not an event of topic and payload: {error!r}") from error


def from_entry(entry: Mapping[str, Any]) -> Recorded:
    """One message from its line's object; raises ValueError, KeyError or TypeError."""
    properties: dict[str, object] = {}
    if entry.get("content_type") is not None:
        properties["content_type"] = str(entry["content_type"])
    if entry.get("user"):
        properties["user"] = [(str(key), str(value)) for key, value in entry["user"]]
    qos = entry.get("qos", 1)
    if qos not in (0, 1, 2) or isinstance(qos, bool):
        raise ValueError(f"qos: {qos!r} is not 0, 1 or 2")
    return Recorded(
        str(entry["topic"]),
        _payload(entry["payload"]),
        properties or NO_PROPERTIES,
        qos,
        bool(entry.get("retain", False)),
        _time(entry.get("time")),
    )


def to_line(message: Recorded) -> bytes:
    """The message as a line that `read_recording` reads back to the same bytes."""
    entry: dict[str, object] = {}
    if message.time is not None:
        entry["time"] = datetime.fromtimestamp(message.time, UTC).isoformat().replace("+00:00", "Z")
    entry["topic"] = message.topic
    entry["payload"] = _shown(message.payload)
    if message.qos != 1:
        entry["qos"] = message.qos
    if message.retain:
        entry["retain"] = True
    for name in ("content_type", "user"):
        if message.properties.get(name):
            entry[name] = message.properties[name]
    return _compact(entry) + b"\n"


def _payload(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"base64"}:
        return base64.b64decode(value["base64"], validate=True)
    return _compact(value)


def _shown(payload: bytes) -> object:
    """The form that reads best and gives the very same bytes back."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(payload).decode()}
    try:
        value = json.loads(text)
        if not isinstance(value, str) and _payload(value) == payload:
            return value
    except (ValueError, TypeError, RecursionError):
        pass  # no JSON, or other JSON than ours would be: the text says it as it is
    return text


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _time(value: Any) -> float | None:
    return None if value is None else datetime.fromisoformat(str(value)).timestamp()
