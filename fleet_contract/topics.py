"""Every topic of the contract is built and parsed here and nowhere else.

`sh/v1/{device}/up/...` is written by the device, `sh/v1/{device}/down/...` by the controller. The device id is also the MQTT
user name on the fleet broker, so the broker's rules are two lines: write `sh/v1/%u/up/#`, read `sh/v1/%u/down/#`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ROOT: Final = "sh/v1"
SITE_SUFFIX: Final = "-site"
"""The agent's user on the site broker is the device id with this suffix, so no device id may end in it."""

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class Up(StrEnum):
    """What a device publishes."""

    BIRTH = "birth"
    REPORTED = "reported"
    HEALTH = "health"
    RESULT = "result"
    NOTE = "note"
    REPLY = "reply"
    LOG = "log"


class Down(StrEnum):
    """What the controller publishes to one device."""

    DESIRED = "desired"
    COMMAND = "command"
    ACK = "ack"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class UpTopic:
    """A parsed device-to-controller topic; `pipeline` is set for results alone."""

    device: str
    channel: Up
    pipeline: str | None = None

    def __str__(self) -> str:
        return up(self.device, self.channel, self.pipeline)


@dataclass(frozen=True, slots=True)
class DownTopic:
    """A parsed controller-to-device topic."""

    device: str
    channel: Down

    def __str__(self) -> str:
        return down(self.device, self.channel)


def check_device_id(device: str) -> str:
    """Return `device`, or raise ValueError saying what a device id may look like."""
    if not _DEVICE.fullmatch(device):
        raise ValueError(f"device id {device!r}: 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or a digit")
    if device.endswith(SITE_SUFFIX):
        raise ValueError(f"device id {device!r} ends in {SITE_SUFFIX!r}, which names the agent's user on the site broker")
    return device


def check_name(name: str, what: str = "name") -> str:
    """Return `name` (of a pipeline or a model), or raise ValueError saying what it may look like."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r}: 1 to 63 of a-z, 0-9, '_' or '-', starting with a letter")
    return name


def up(device: str, channel: Up, pipeline: str | None = None) -> str:
    """Build a device-to-controller topic. Results, and only results, name their pipeline."""
    check_device_id(device)
    if (channel is Up.RESULT) != (pipeline is not None):
        raise ValueError("a result topic names its pipeline, and no other topic does")
    if pipeline is None:
        return f"{ROOT}/{device}/up/{channel}"
    return f"{ROOT}/{device}/up/{channel}/{check_name(pipeline, 'pipeline')}"


def down(device: str, channel: Down) -> str:
    """Build a controller-to-device topic."""
    return f"{ROOT}/{check_device_id(device)}/down/{channel}"


def up_filter(device: str = "+") -> str:
    """The subscription filter that covers everything a device (or every device) publishes."""
    return f"{ROOT}/{device}/up/#"


def down_filter(device: str) -> str:
    """The subscription filter that covers everything sent to one device."""
    return f"{ROOT}/{check_device_id(device)}/down/#"


def parse(topic: str) -> UpTopic | DownTopic:
    """Parse a topic of the contract; raises ValueError naming the part that is wrong."""
    if not topic.startswith(ROOT + "/"):
        raise ValueError(f"topic {topic!r} does not start with {ROOT}/")
    parts = topic[len(ROOT) + 1 :].split("/")
    if len(parts) < 3:
        raise ValueError(f"topic {topic!r} is too short")
    device, direction, channel, *rest = parts
    check_device_id(device)
    if direction == "up":
        try:
            kind = Up(channel)
        except ValueError:
            raise ValueError(f"topic {topic!r}: unknown channel {channel!r}") from None
        if kind is Up.RESULT and len(rest) == 1:
            return UpTopic(device, kind, check_name(rest[0], "pipeline"))
        if kind is not Up.RESULT and not rest:
            return UpTopic(device, kind)
        raise ValueError(f"topic {topic!r} has the wrong number of parts for {channel!r}")
    if direction == "down" and not rest:
        try:
            return DownTopic(device, Down(channel))
        except ValueError:
            raise ValueError(f"topic {topic!r}: unknown channel {channel!r}") from None
    raise ValueError(f"topic {topic!r} is neither up nor down")


def filter_matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT topic filter (with `+` and `#`) matches a topic name (MQTT 5.0, section 4.7)."""
    if topic.startswith("$") != pattern.startswith("$"):
        return False
    wanted = pattern.split("/")
    parts = topic.split("/")
    for position, want in enumerate(wanted):
        if want == "#":
            return True
        if position >= len(parts) or want not in ("+", parts[position]):
            return False
    return len(wanted) == len(parts)


def filters_overlap(one: str, other: str) -> bool:
    """Whether some topic name could match both filters: used to refuse source filters that cover the contract."""
    left, right = one.split("/"), other.split("/")
    for position in range(max(len(left), len(right))):
        a = left[position] if position < len(left) else None
        b = right[position] if position < len(right) else None
        if "#" in (a, b):
            return not (position == 0 and "$" in ((one[:1], other[:1])))
        if a is None or b is None:
            return False
        if "+" not in (a, b) and a != b:
            return False
    return True


def check_filter(pattern: str) -> str:
    """Return `pattern`, or raise ValueError saying what is wrong with it as an MQTT topic filter."""
    if not pattern or len(pattern.encode()) > 65535 or "\0" in pattern:
        raise ValueError(f"topic filter {pattern!r} is empty, too long or holds a NUL")
    parts = pattern.split("/")
    for position, part in enumerate(parts):
        if "#" in part and (part != "#" or position != len(parts) - 1):
            raise ValueError(f"topic filter {pattern!r}: '#' stands alone, as the last part")
        if "+" in part and part != "+":
            raise ValueError(f"topic filter {pattern!r}: '+' stands alone between slashes")
    return pattern
