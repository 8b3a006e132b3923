from typing import Any

import pytest

from edge_agent.link.port import NO_PROPERTIES, Delivery, Receipt
from edge_agent.site import TOKEN, SiteHandler
from fleet_contract.messages import Ack

BIRTH = "homeassistant/status"


class Link:
    """Takes publishes while there is room."""

    def __init__(self) -> None:
        self.connected = True
        self.room = 9
        self.published: list[tuple[str, bytes, bool]] = []

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, token: int) -> bool:
        assert token < 0
        if len(self.published) >= self.room:
            return False
        self.published.append((topic, payload, retain))
        return True


class Sender:
    def __init__(self, link: Link) -> None:
        self.link = link
        self.seen: list[object] = []

    def on_up(self) -> None:
        self.seen.append(("up", len(self.link.published)))

    def on_down(self) -> None:
        self.seen.append("down")

    def on_published(self, outcomes: Any) -> None:
        self.seen.append(outcomes)

    def acknowledged(self, ack: Ack) -> None:
        raise AssertionError("the site link has no controller")


class World:
    def __init__(self, availability: str | None = "there", events: tuple[str, ...] = ("farm/a",)) -> None:
        self.taken: list[str] = []
        self.births: list[str | None] = []
        self.handler = SiteHandler(
            self, availability, {BIRTH}, is_event=lambda topic: topic in events, on_birth=self.births.append
        )
        self.link = Link()
        self.sender = Sender(self.link)
        self.handler.attach(self.link, self.sender)

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        self.taken += [delivery.topic for delivery in deliveries]

    def deliver(self, *messages: tuple[str, bytes]) -> None:
        self.handler.on_deliveries(
            [Delivery(topic, payload, 0, False, False, 0, 0, NO_PROPERTIES) for topic, payload in messages]
        )


def test_the_agent_says_that_it_is_there_before_anything_else_is_sent() -> None:
    world = World()
    world.handler.on_up(session_present=True)
    assert world.link.published == [("there", b"online", True)]
    assert world.sender.seen == [("up", 1)]


def test_the_last_will_says_offline_where_online_was_said() -> None:
    will = World().handler.will()
    assert (will.topic, will.payload, will.retain) == ("there", b"offline", True)


def test_leaving_is_said_when_there_is_room_for_it() -> None:
    world = World()
    world.link.room = 0
    assert not world.handler.leave()
    world.link.room = 1
    assert world.handler.leave()
    assert world.link.published == [("there", b"offline", True)]


@pytest.mark.parametrize(("availability", "connected"), [(None, True), ("there", False)])
def test_leaving_waits_for_nothing_where_nobody_can_be_told(availability: str | None, connected: bool) -> None:
    world = World(availability)
    world.link.connected = connected
    assert world.handler.leave()
    world.handler.on_up(session_present=True)
    assert [message for message in world.link.published if availability is None] == []


def test_a_birth_is_told_and_is_no_event() -> None:
    world = World()
    world.deliver(("farm/a", b"1"), (BIRTH, b"online"), (BIRTH, b"offline"))
    assert (world.taken, world.births) == (["farm/a"], [BIRTH])


def test_a_birth_that_a_pipeline_wants_is_an_event_too() -> None:
    world = World(events=("farm/a", BIRTH))
    world.deliver((BIRTH, b"online"))
    assert (world.taken, world.births) == ([BIRTH], [BIRTH])


def test_a_broker_without_our_session_may_have_lost_what_was_announced() -> None:
    world = World()
    world.handler.on_up(session_present=True)
    assert world.births == []
    world.handler.on_up(session_present=False)
    assert world.births == [None]


def test_the_outcomes_of_our_own_publishes_are_none_of_the_outboxs() -> None:
    world = World()
    world.handler.on_published([(5, Receipt.TAKEN), (TOKEN, Receipt.FAILED), (0, Receipt.TAKEN)])
    assert world.sender.seen == [[(5, Receipt.TAKEN)]]
