"""The fleet link's traffic that is not in the outbox: last-value slots, health, replies and logs up; desired, commands,
feedback and acknowledgements down.

Slots (birth, reported) are published again at every connect; what they say is asked for at that moment, so it is never old.
Health is not kept: the next report replaces it. Replies and logs wait in a bounded queue while the link is away.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from edge_agent.link.port import Delivery, Receipt
from fleet_contract.feedback import Feedback
from fleet_contract.messages import Ack, Command, Desired, Message, MessageError, decode, encode
from fleet_contract.topics import Down, DownTopic, Up, parse, up

log = logging.getLogger(__name__)

WAITING_REPLIES: Final = 256
SLOT_TOKENS: Final = {Up.BIRTH: -1, Up.REPORTED: -2}
OTHER_TOKEN: Final = -3


class FleetLink(Protocol):
    """What is needed of the link."""

    @property
    def connected(self) -> bool: ...

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, token: int) -> bool: ...

    def ack(self, deliveries: Iterable[Delivery]) -> None: ...


class OutboxSender(Protocol):
    """What is needed of the outbox's sender."""

    def on_up(self) -> None: ...

    def on_down(self) -> None: ...

    def on_published(self, outcomes: Sequence[tuple[int, Receipt]]) -> None: ...

    def acknowledged(self, ack: Ack) -> None: ...


class Uplink:
    """The handler of the fleet link. Tokens above 0 are the outbox's sequence numbers, those below are ours."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._link: FleetLink | None = None
        self._sender: OutboxSender | None = None
        self._slots: dict[Up, Callable[[], Message]] = {}
        self._unsent: set[Up] = set()
        self._refused: set[Up] = set()
        """Slots that the broker did not take: published again with the next health report, not at once and for ever."""
        self._health: bytes | None = None
        """The newest report, while there is no room for it."""
        self._replies: deque[tuple[str, bytes]] = deque()
        self.on_desired: Callable[[Desired], object] = lambda _: None
        self.on_command: Callable[[Command], object] = lambda _: None
        self.on_connected: Callable[[], object] = lambda: None
        self.on_feedback: Callable[[Feedback], object] = lambda _: None
        self.counters: Counter[str] = Counter()

    def attach(self, link: FleetLink, sender: OutboxSender, slots: dict[Up, Callable[[], Message]]) -> None:
        """Wire the parts that need this object to be built first."""
        self._link, self._sender, self._slots = link, sender, slots

    # ---- up

    def publish_slot(self, slot: Up) -> None:
        """Publish a last-value slot now, or at the next connect."""
        link = self._link
        assert link is not None
        payload = encode(self._slots[slot]())
        sent = link.connected and link.publish(up(self._device, slot), payload, qos=1, retain=True, token=SLOT_TOKENS[slot])
        self._refused.discard(slot)
        if sent:
            self._unsent.discard(slot)
        else:
            self._unsent.add(slot)

    def publish_health(self, message: Message) -> None:
        """Publish a health report if the link is there; otherwise the next one will do. On a full link it waits for room."""
        link = self._link
        if link is None or not link.connected:
            return
        self.counters["health_skipped"] += self._health is not None
        self._health = encode(message)
        self._unsent |= self._refused
        self._flush()

    def publish_reply(self, channel: Up, message: Message) -> None:
        """Publish a reply or log lines, in order; kept (bounded, oldest dropped and counted) while the link is away."""
        if len(self._replies) >= WAITING_REPLIES:
            self._replies.popleft()
            self.counters["replies_dropped"] += 1
        self._replies.append((up(self._device, channel), encode(message)))
        self._flush()

    def _flush(self) -> None:
        link = self._link
        if link is None or not link.connected:
            return
        for slot in list(self._unsent):
            self.publish_slot(slot)
        if self._health is not None and link.publish(up(self._device, Up.HEALTH), self._health, qos=0, token=OTHER_TOKEN):
            self._health = None
        while self._replies:
            topic, payload = self._replies[0]
            if not link.publish(topic, payload, qos=1, token=OTHER_TOKEN):
                return
            self._replies.popleft()

    # ---- the link's handler

    def on_up(self, session_present: bool) -> None:
        """Connected: the slots first, then the outbox."""
        self._unsent.update(self._slots)
        self._flush()
        if self._sender is not None:
            self._sender.on_up()
        self.on_connected()

    def on_down(self, reason: str) -> None:
        """The connection is lost."""
        self._health = None
        if self._sender is not None:
            self._sender.on_down()

    def on_published(self, outcomes: list[tuple[int, Receipt]]) -> None:
        """PUBACKs: the outbox's go to its sender; a slot that did not arrive is published again later.

        What waits here goes first, because the sender fills the window; and the sender hears of any room that there is.
        """
        rows = []
        for token, receipt in outcomes:
            if token > 0:
                rows.append((token, receipt))
            elif not receipt:
                self._refused.update(slot for slot, own in SLOT_TOKENS.items() if own == token)
        self._flush()
        if self._sender is not None:
            self._sender.on_published(rows)

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Take in what the controller sent. A message that cannot be read is counted, logged and acknowledged."""
        for delivery in deliveries:
            try:
                self._take(delivery)
            except (MessageError, ValueError) as error:
                self.counters["bad_messages"] += 1
                log.warning("a message on the fleet link cannot be read", extra={"topic": delivery.topic, "error": str(error)})
            except Exception:  # a receiver's defect must not withhold the acknowledgements of all that follows
                self.counters["bad_messages"] += 1
                log.exception("a message on the fleet link was not taken in", extra={"topic": delivery.topic})
        if self._link is not None:
            self._link.ack(deliveries)

    def _take(self, delivery: Delivery) -> None:
        topic = parse(delivery.topic)
        if not isinstance(topic, DownTopic) or topic.device != self._device:
            raise ValueError("the topic is not for this device")
        if topic.channel is Down.ACK:
            if self._sender is not None:
                self._sender.acknowledged(decode(delivery.payload, Ack))
        elif topic.channel is Down.DESIRED:
            # an empty retained message deletes the slot: nothing is desired, which is not the same as "remove everything"
            if delivery.payload:
                self.on_desired(decode(delivery.payload, Desired))
        elif topic.channel is Down.FEEDBACK:
            self.on_feedback(decode(delivery.payload, Feedback))
        else:
            self.on_command(decode(delivery.payload, Command))
