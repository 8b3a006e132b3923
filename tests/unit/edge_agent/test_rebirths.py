from itertools import pairwise

import pytest

from edge_agent import rebirths
from edge_agent.ingest.events import Request
from edge_agent.rebirths import Rebirths


class Link:
    """Remembers what was published; `full` refuses it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.full = False

    def publish(self, topic: str, payload: bytes, *, qos: int, token: int) -> bool:
        if not self.full:
            self.sent.append((topic, qos))
        return not self.full


class World:
    def __init__(self) -> None:
        self.link, self.now = Link(), 1000.0
        self.rebirths = Rebirths(self.link, lambda: self.now)

    def ask(self, topic: str = "a", after: float = 0.0) -> bool:
        """Whether a request that comes `after` seconds is sent."""
        self.now += after
        before = len(self.link.sent)
        self.rebirths.ask([Request(topic, b"")])
        return len(self.link.sent) > before


@pytest.fixture
def world() -> World:
    return World()


def test_a_topic_is_asked_once_in_thirty_seconds_and_others_at_once(world: World) -> None:
    assert [world.ask(), world.ask(after=29.9), world.ask("b"), world.ask(after=0.2)] == [True, False, True, True]
    assert world.link.sent == [("a", 0), ("b", 0), ("a", 0)]
    assert world.rebirths.requested == 3


def test_a_node_that_does_not_answer_is_asked_ever_more_rarely(world: World) -> None:
    times = [world.now for _ in range(24 * 360) if world.ask(after=10.0)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:3] == [30.0, 60.0, 120.0]
    assert max(gaps) == gaps[-1] == rebirths.WAIT_MAX


def test_after_a_quiet_time_the_first_gap_is_asked_for_at_once_again(world: World) -> None:
    assert [world.ask(), world.ask(after=30), world.ask(after=120), world.ask(after=30)] == [True] * 4


def test_what_the_link_did_not_take_is_asked_for_by_the_next_message(world: World) -> None:
    world.link.full = True
    assert not world.ask()
    assert world.rebirths.requested == 0
    world.link.full = False
    assert world.ask()


def test_only_so_many_topics_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebirths, "MAX_TOPICS", 2)
    assert [world.ask(topic) for topic in "abcbca"] == [True, True, True, False, False, True]
