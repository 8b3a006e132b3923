"""The site link's handler: events in, outputs out of the outbox, and for Home Assistant whether the agent is there."""

import logging
from collections.abc import Callable, Collection
from typing import Final, Protocol

from edge_agent.link.port import Delivery, Receipt, Will
from edge_agent.uplink import OutboxSender

log = logging.getLogger(__name__)

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"
TOKEN: Final = -1
"""Of our availability: the outbox's rows, which share the link, have numbers from 1 on."""


class Intake(Protocol):
    """What is needed of the engine."""

    def on_deliveries(self, deliveries: list[Delivery]) -> None: ...


class SiteLink(Protocol):
    """What is needed of the site link."""

    @property
    def connected(self) -> bool: ...

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, token: int) -> bool: ...


class SiteHandler:
    """Events in, outputs out.

    Args:
        availability: the topic that says whether the agent is there; None: nobody asks.
        births: topics on which Home Assistant says `online` when it has started.
        is_event: whether a pipeline wants what comes on a topic; a birth may be an event too.
        on_birth: (topic) Home Assistant has started; None: the broker has no session of ours, so it may have lost everything.
    """

    def __init__(
        self,
        intake: Intake,
        availability: str | None = None,
        births: Collection[str] = (),
        *,
        is_event: Callable[[str], bool] = lambda _topic: True,
        on_birth: Callable[[str | None], object] = lambda _topic: None,
    ) -> None:
        self._intake = intake
        self._availability = availability
        self._births = frozenset(births)
        self._is_event = is_event
        self._on_birth = on_birth
        self._sender: OutboxSender | None = None
        self._link: SiteLink | None = None

    def attach(self, link: SiteLink, sender: OutboxSender) -> None:
        """Wire the parts that need this object to be built first."""
        self._link, self._sender = link, sender

    def will(self) -> Will:
        """What the broker says for us if the connection breaks. Called on the link's thread; only with an availability."""
        assert self._availability is not None
        return Will(self._availability, OFFLINE)

    def leave(self) -> bool:
        """Say that we are going, before a stop in order; False: the link has no room yet, try again."""
        link = self._link
        if self._availability is None or link is None or not link.connected:
            return True
        return link.publish(self._availability, OFFLINE, qos=1, retain=True, token=TOKEN)

    def on_up(self, session_present: bool) -> None:
        """Connected to the site broker."""
        log.info("site link up", extra={"session_present": session_present})
        if self._availability is not None and self._link is not None:
            self._link.publish(self._availability, ONLINE, qos=1, retain=True, token=TOKEN)
        if not session_present:
            self._on_birth(None)
        if self._sender is not None:
            self._sender.on_up()

    def on_down(self, reason: str) -> None:
        """The site broker is gone; what was not acknowledged comes again."""
        log.warning("site link down", extra={"reason": reason})
        if self._sender is not None:
            self._sender.on_down()

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Events, and Home Assistant's births."""
        if self._births:
            deliveries = [delivery for delivery in deliveries if not self._take_birth(delivery)]
        self._intake.on_deliveries(deliveries)

    def _take_birth(self, delivery: Delivery) -> bool:
        """True: a birth and nothing else. It came with QoS 0, as it was subscribed to, so it needs no acknowledgement."""
        if delivery.topic not in self._births:
            return False
        if delivery.payload == ONLINE:
            log.info("Home Assistant has started", extra={"topic": delivery.topic})
            self._on_birth(delivery.topic)
        return not self._is_event(delivery.topic)

    def on_published(self, outcomes: list[tuple[int, Receipt]]) -> None:
        """PUBACKs of outputs."""
        if self._sender is not None:
            self._sender.on_published([outcome for outcome in outcomes if outcome[0] > 0])
