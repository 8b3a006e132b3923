"""Topics of outputs: what is filled in, and what a sensor's id may do to them. Pure."""

import re
from hashlib import blake2b
from typing import Final

PLACEHOLDERS: Final = ("{device}", "{pipeline}", "{source}")
MAX_TOPIC_BYTES: Final = 1024
"""MQTT allows 65,535, many brokers and clients less; a longer one comes from a sensor id that is none."""
ROOT: Final = "smallhold"
_UNSAFE: Final = re.compile(r"[%+#\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NO_ID: Final = re.compile(r"[^a-zA-Z0-9_-]+")
SLUG_LENGTH: Final = 40


def fill(template: str, device: str, pipeline: str, source: str) -> str:
    """The topic for one sensor. Raises ValueError if it is longer than `MAX_TOPIC_BYTES`.

    In the sensor's id a `/` stays, and what no topic may hold is percent-encoded, so that two sensors never share a topic.
    """
    safe = _UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass")), source)
    topic = template.replace("{device}", device).replace("{pipeline}", pipeline).replace("{source}", safe)
    if len(topic.encode()) > MAX_TOPIC_BYTES:
        raise ValueError(f"the topic for a sensor is longer than {MAX_TOPIC_BYTES} bytes")
    return topic


def as_filter(template: str, device: str, pipeline: str) -> str:
    """A filter that matches every topic that `fill` can make: from the level with the sensor's id on, anything."""
    levels = template.replace("{device}", device).replace("{pipeline}", pipeline).split("/")
    for number, level in enumerate(levels):
        if "{source}" in level:
            return "/".join([*levels[:number], "#"])
    return "/".join(levels)


def status_topic(device: str) -> str:
    """Where the agent says `online` and `offline` on the site broker, retained and as its last will."""
    return f"{ROOT}/{device}/status"


def slug(text: str) -> str:
    """Letters, digits, `_` and `-` that people recognise the text by; not unique."""
    return _NO_ID.sub("_", text).strip("_")[:SLUG_LENGTH]


def identifier(*parts: str) -> str:
    """An id of `[a-zA-Z0-9_-]` for these parts and no others."""
    digest = blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return "_".join([*(found for part in parts if (found := slug(part))), digest])
