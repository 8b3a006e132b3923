"""The site link's handler: events to the engine, local outputs from the outbox's sender for this link."""

import logging
from typing import Protocol

from edge_agent.link.port import Delivery, Receipt
from edge_agent.uplink import OutboxSender

log = logging.getLogger(__name__)


class Intake(Protocol):
    """What is needed of the engine."""

    def on_deliveries(self, deliveries: list[Delivery]) -> None: ...


class SiteHandler:
    """Events in, local outputs out."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._sender: OutboxSender | None = None

    def attach(self, sender: OutboxSender) -> None:
        """The sender, which needs the link to be built first."""
        self._sender = sender

    def on_up(self, session_present: bool) -> None:
        """Connected to the site broker."""
        log.info("site link up", extra={"session_present": session_present})
        if self._sender is not None:
            self._sender.on_up()

    def on_down(self, reason: str) -> None:
        """The site broker is gone; what was not acknowledged comes again."""
        log.warning("site link down", extra={"reason": reason})
        if self._sender is not None:
            self._sender.on_down()

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Events."""
        self._intake.on_deliveries(deliveries)

    def on_published(self, outcomes: list[tuple[int, Receipt]]) -> None:
        """PUBACKs of local outputs."""
        if self._sender is not None:
            self._sender.on_published(outcomes)
