"""What the link gives to the rest of the agent and what it asks of it: deliveries, the last will, the handler."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Protocol

NO_PROPERTIES: Final[Mapping[str, object]] = MappingProxyType({})
"""Shared by all messages that carry none, which is nearly all of them."""


@dataclass(slots=True)
class Delivery:
    """An incoming PUBLISH.

    `properties` may hold `content_type` (str), `response_topic` (str), `correlation` (bytes), `expiry` (int, seconds) and
    `user` (list of pairs of str). `mid` and `generation` together name the packet: an acknowledgement that comes after its
    connection is gone is void, because the broker delivers the message again.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int
    generation: int
    properties: Mapping[str, object]


class Receipt(IntEnum):
    """What the broker said to a publish. Only FAILED is false."""

    FAILED = 0
    """Refused, or lost with the connection."""
    TAKEN = 1
    UNHEARD = 2
    """Taken, but nobody subscribes to the topic now (MQTT 5 reason 0x10): who must have it will not get it."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when the connection ends without a DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


class LinkHandler(Protocol):
    """Who uses a link. Everything is called on the loop's thread."""

    def on_up(self, session_present: bool) -> None:
        """Connected and subscribed; False: the broker had no session of ours, so it queued nothing while we were away."""

    def on_down(self, reason: str) -> None:
        """The connection ended; the link is already trying again."""

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Messages in the order of their arrival; those with QoS above 0 are to be acknowledged."""

    def on_published(self, outcomes: list[tuple[int, Receipt]]) -> None:
        """(token, receipt) of accepted publishes."""
