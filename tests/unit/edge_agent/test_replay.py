from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from edge_agent.inference.input_queue import Lane
from edge_agent.inference.models import Models
from edge_agent.journal.batch import DeadLetterRow
from edge_agent.loop import Loop
from edge_agent.recording import from_entry
from edge_agent.replay import Replay
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    IngestSettings,
    PipelineSettings,
    QueuePolicy,
    QueueSettings,
    WindowKind,
    WindowSettings,
)
from fleet_contract.messages import Result


class Player:
    """A replay of one pipeline without a model."""

    def __init__(self, loop: Loop, size: float, **window: Any) -> None:
        pipeline = PipelineSettings(name="p", source=IngestSettings(topic="farm/+"), window=WindowSettings(size=size, **window))
        settings = AgentSettings(device="d", state_dir="s", control_socket="c", mqtt=BrokerSettings(), site=BrokerSettings())
        self.results: list[Result] = []
        self.letters: list[DeadLetterRow] = []
        self._replay = Replay(
            settings,
            [pipeline],
            loop,
            Models(loop, settings.inference),
            lambda _name, row: self.results.append(msgspec.json.decode(row, type=Result)),
            self.letters.append,
        )
        self.counters = self._replay.counters

    def play(self, *lines: dict[str, object]) -> list[tuple[str, ...]]:
        for entry in lines:
            self._replay.feed(from_entry(entry))
        self._replay.finish()
        return [result.events.ids for result in self.results]


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def line(number: int, topic: str = "farm/a") -> dict[str, object]:
    return {"topic": topic, "payload": {"id": f"e{number}", "x": number}, "time": "2024-01-01T00:00:00Z"}


def test_windows_close_as_in_the_daemon_and_other_topics_are_counted(loop: Loop) -> None:
    player = Player(loop, 2)
    ids = player.play(line(0), line(1, "farm/b"), line(2, "city/a"), line(3), line(4, "farm/b"))
    assert ids == [("e0", "e3"), ("e1", "e4")]
    assert player.counters["events_unrouted"] == 1


def test_a_repeated_event_is_dropped(loop: Loop) -> None:
    player = Player(loop, 1)
    assert player.play(line(0), line(1), line(0)) == [("e0",), ("e1",)]
    assert player.counters["events_repeated"] == 1


def test_an_unreadable_event_is_a_dead_letter_and_the_rest_goes_on(loop: Loop) -> None:
    player = Player(loop, 1)
    assert player.play({"topic": "farm/a", "payload": "{"}, line(1)) == [("e1",)]
    assert [(letter.reason, letter.payload) for letter in player.letters] == [("not_json", b"{")]
    assert player.counters["dead_not_json"] == 1


def test_two_replays_of_one_recording_give_the_same_ids(loop: Loop) -> None:
    lines: list[dict[str, object]] = [{"topic": "farm/a", "payload": {"x": 1}}, {"topic": "farm/a", "payload": {"x": 1}}]
    first = Player(loop, 1).play(*lines)
    assert first == Player(loop, 1).play(*lines)
    assert len(first) == 2


def timed(number: int, event: str, published: str) -> dict[str, object]:
    return {"topic": "farm/a", "payload": {"id": f"e{number}", "time": event, "x": number}, "time": published}


def test_silence_in_the_recording_closes_windows_as_on_a_device(loop: Loop) -> None:
    lines = [
        timed(0, "2020-01-01T00:00:01Z", "2024-01-01T00:00:01Z"),
        timed(1, "2020-01-01T00:00:02Z", "2024-01-01T00:00:02Z"),
        line(2, "elsewhere") | {"time": "2024-01-01T06:00:00Z"},
    ]
    tumbling: dict[str, Any] = {"kind": WindowKind.TUMBLING}
    assert Player(loop, 3600, **tumbling).play(*lines) == []
    assert Player(loop, 3600, idle_timeout=30.0, **tumbling).play(*lines) == [("e0", "e1")]
    assert Player(loop, 3600, idle_timeout=7 * 3600.0, **tumbling).play(*lines) == []


def test_a_retained_message_is_flagged_as_on_a_device(loop: Loop) -> None:
    player = Player(loop, 1)
    player.play(line(0) | {"retain": True})
    assert "retained" in player.results[0].quality


def test_how_fast_models_answer_drops_no_window_of_a_recording(loop: Loop) -> None:
    lanes: list[Lane | None] = []

    class NeverThere:
        def submit(self, _name: str, _item: object, _done: object, lane: Lane | None = None, _sensor: str = "") -> None:
            lanes.append(lane)

    queue = QueueSettings(policy=QueuePolicy.DROP_OLDEST, max_windows=1)
    pipeline = PipelineSettings(name="p", model="m", source=IngestSettings(topic="farm/+"), queue=queue)
    settings = AgentSettings(device="d", state_dir="s", control_socket="c", mqtt=BrokerSettings(), site=BrokerSettings())
    replay = Replay(settings, [pipeline], loop, NeverThere(), lambda *_: None, lambda _: None)
    for number in range(3):
        replay.feed(from_entry(line(number)))
    assert lanes == [None] * 3
