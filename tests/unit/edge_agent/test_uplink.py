from collections.abc import Callable, Iterable, Sequence

import pytest

from edge_agent.link.port import NO_PROPERTIES, Delivery
from edge_agent.uplink import WAITING_REPLIES, Uplink
from fleet_contract.messages import Ack, Desired, DesiredModel, Log, Message, Reported, encode
from fleet_contract.topics import Down, Up, down


class FakeLink:
    """A link that can be down or full."""

    def __init__(self) -> None:
        self.connected = False
        self.room = 100
        self.published: list[tuple[str, bool, int]] = []
        self.acked: list[Delivery] = []

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, token: int) -> bool:
        if not self.connected or self.room <= 0:
            return False
        self.room -= 1
        self.published.append((topic, retain, token))
        return True

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        self.acked += deliveries


class FakeSender:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[int, bool]] = []
        self.acks: list[Ack] = []
        self.ups = 0
        self.on_outcomes: Callable[[], object] = lambda: None

    def on_up(self) -> None:
        self.ups += 1

    def on_down(self) -> None:
        pass

    def on_published(self, outcomes: Sequence[tuple[int, bool]]) -> None:
        self.outcomes += outcomes
        self.on_outcomes()

    def acknowledged(self, ack: Ack) -> None:
        self.acks.append(ack)


def slot() -> Message:
    return Reported(stream="s", counter=1, boot_id="b", revision=0, time="t")


def log_lines(part: int) -> Log:
    return Log(correlation="c", part=part, last=False, lines=())


@pytest.fixture
def parts() -> tuple[Uplink, FakeLink, FakeSender]:
    uplink, link, sender = Uplink("d"), FakeLink(), FakeSender()
    uplink.attach(link, sender, {Up.BIRTH: slot, Up.REPORTED: slot})
    return uplink, link, sender


def deliver(uplink: Uplink, channel: Down, payload: bytes, device: str = "d") -> None:
    uplink.on_deliveries([Delivery(down(device, channel), payload, 1, False, False, 1, 1, NO_PROPERTIES)])


def test_slots_are_published_retained_at_every_connect(parts: tuple[Uplink, FakeLink, FakeSender]) -> None:
    uplink, link, sender = parts
    for _ in range(2):
        link.connected = True
        uplink.on_up(session_present=True)
    assert sorted(topic for topic, _, _ in link.published) == sorted(["sh/v1/d/up/birth", "sh/v1/d/up/reported"] * 2)
    assert all(retain for _, retain, _ in link.published)
    assert sender.ups == 2


def test_a_slot_that_changed_while_the_link_was_full_is_published_when_there_is_room(
    parts: tuple[Uplink, FakeLink, FakeSender],
) -> None:
    uplink, link, _ = parts
    link.connected, link.room = True, 0
    uplink.publish_slot(Up.REPORTED)
    link.room = 1
    uplink.on_published([(7, True)])
    assert link.published == [("sh/v1/d/up/reported", True, -2)]


def test_a_slot_that_the_broker_refused_is_published_again_with_the_next_health_report(
    parts: tuple[Uplink, FakeLink, FakeSender],
) -> None:
    uplink, link, _ = parts
    link.connected = True
    uplink.publish_slot(Up.BIRTH)
    uplink.on_published([(-1, False)])
    assert [token for _, _, token in link.published] == [-1]
    uplink.publish_health(slot())
    assert [token for _, _, token in link.published] == [-1, -1, -3]


def test_a_slot_and_a_health_report_are_not_kept_out_by_a_backlog(parts: tuple[Uplink, FakeLink, FakeSender]) -> None:
    uplink, link, sender = parts
    link.connected, link.room = True, 0
    sender.on_outcomes = lambda: setattr(link, "room", 0)  # it fills the window
    uplink.publish_slot(Up.REPORTED)
    uplink.publish_health(slot())
    for _ in range(2):
        link.room += 1
        uplink.on_published([(7, True)])
    assert [token for _, _, token in link.published] == [-2, -3]


def test_the_outbox_hears_of_room_that_slots_and_replies_have_left(parts: tuple[Uplink, FakeLink, FakeSender]) -> None:
    uplink, _, sender = parts
    calls: list[int] = []
    sender.on_outcomes = lambda: calls.append(1)
    uplink.on_published([(-3, True)])
    assert calls == [1]


def test_a_message_that_breaks_its_receiver_is_acknowledged_and_the_next_is_taken_in(
    parts: tuple[Uplink, FakeLink, FakeSender],
) -> None:
    uplink, link, sender = parts

    def breaks(_: Desired) -> None:
        raise KeyError("a defect")

    uplink.on_desired = breaks
    desired = Delivery(down("d", Down.DESIRED), encode(Desired(revision=1)), 1, False, False, 1, 1, NO_PROPERTIES)
    ack = Delivery(down("d", Down.ACK), encode(Ack(stream="s", ranges=((1, 2),))), 1, False, False, 2, 1, NO_PROPERTIES)
    uplink.on_deliveries([desired, ack])
    assert ([item.mid for item in link.acked], len(sender.acks)) == ([1, 2], 1)


def test_outcomes_of_the_outbox_go_to_its_sender_alone(parts: tuple[Uplink, FakeLink, FakeSender]) -> None:
    uplink, _, sender = parts
    uplink.on_published([(5, True), (-3, True), (6, False)])
    assert sender.outcomes == [(5, True), (6, False)]


def test_replies_wait_for_the_link_in_order_and_their_number_is_bounded(
    parts: tuple[Uplink, FakeLink, FakeSender],
) -> None:
    uplink, link, _ = parts
    for part in range(WAITING_REPLIES + 3):
        uplink.publish_reply(Up.LOG, log_lines(part))
    assert uplink.counters["replies_dropped"] == 3
    link.connected, link.room = True, 1000
    uplink.on_up(session_present=True)
    assert sum(topic.endswith("/log") for topic, _, _ in link.published) == WAITING_REPLIES


def test_desired_state_and_acknowledgements_reach_those_who_want_them(
    parts: tuple[Uplink, FakeLink, FakeSender],
) -> None:
    uplink, link, sender = parts
    seen: list[Desired] = []
    uplink.on_desired = seen.append
    desired = Desired(revision=3, models=(DesiredModel(model="m", release=1),))
    deliver(uplink, Down.DESIRED, encode(desired))
    deliver(uplink, Down.ACK, encode(Ack(stream="s", ranges=((1, 4),))))
    assert (seen, sender.acks) == ([desired], [Ack(stream="s", ranges=((1, 4),))])
    assert len(link.acked) == 2


def test_an_empty_desired_state_is_no_order_to_remove_everything(parts: tuple[Uplink, FakeLink, FakeSender]) -> None:
    uplink, _, _ = parts
    seen: list[Desired] = []
    uplink.on_desired = seen.append
    deliver(uplink, Down.DESIRED, b"")
    assert seen == []


@pytest.mark.parametrize("payload", [b"\xff", b"[]", b"{}", b'{"revision": "x"}', b"[" * 50_000])
def test_a_message_that_cannot_be_read_is_counted_and_acknowledged(
    parts: tuple[Uplink, FakeLink, FakeSender], payload: bytes
) -> None:
    uplink, link, _ = parts
    for channel in Down:
        deliver(uplink, channel, payload)
    assert uplink.counters["bad_messages"] == len(Down)
    assert len(link.acked) == len(Down)


def test_a_message_for_another_device_is_refused(parts: tuple[Uplink, FakeLink, FakeSender]) -> None:
    uplink, _, sender = parts
    deliver(uplink, Down.ACK, encode(Ack(stream="s", ranges=())), device="other")
    assert (uplink.counters["bad_messages"], sender.acks) == (1, [])
