import base64
import json

import pytest

from edge_agent.ingest.events import DeadLetter
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.replay import RecordingError, Replay, read_recording
from edge_agent.settings import IngestSettings, PipelineSettings, WindowSettings


def replay(lines: list[object], size: int = 1) -> tuple[list[list[str]], Replay, list[DeadLetter]]:
    letters: list[DeadLetter] = []
    pipeline = Pipeline(PipelineSettings(name="p", source=IngestSettings(topic="farm/+"), window=WindowSettings(size=size)))
    player = Replay(pipeline, lambda _topic, letter: letters.append(letter))
    ids = []
    for topic, payload in read_recording(json.dumps(line).encode() for line in lines):
        ids += [[event.event_id for event in window.events] for window in player.feed(topic, payload)]
    return ids, player, letters


def line(number: int, topic: str = "farm/a") -> dict[str, object]:
    return {"topic": topic, "payload": {"id": f"e{number}", "x": number}, "time": "2024-01-01T00:00:00Z"}


def test_a_payload_is_a_value_a_text_or_bytes() -> None:
    encoded = base64.b64encode(b"\xff\0").decode()
    lines = [
        b'{"topic": "t", "payload": {"a": [1, "\xc3\xa9"]}}',
        b"",
        b'{"topic": "t", "payload": "12.50"}',
        b'{"topic": "t", "payload": {"base64": "' + encoded.encode() + b'"}}',
    ]
    assert list(read_recording(lines)) == [("t", '{"a":[1,"é"]}'.encode()), ("t", b"12.50"), ("t", b"\xff\0")]


@pytest.mark.parametrize("bad", [b"{", b"[]", b'{"topic": "t"}', b'{"topic": "t", "payload": {"base64": "?"}}', b"\xff"])
def test_a_line_that_is_no_event_is_named(bad: bytes) -> None:
    with pytest.raises(RecordingError, match="line 2"):
        list(read_recording([b'{"topic": "t", "payload": 1}', bad]))


def test_windows_close_as_in_the_daemon_and_other_topics_are_counted() -> None:
    ids, player, _ = replay([line(0), line(1, "farm/b"), line(2, "city/a"), line(3), line(4, "farm/b")], size=2)
    assert ids == [["e0", "e3"], ["e1", "e4"]]
    assert player.counters["events_unrouted"] == 1


def test_a_repeated_event_is_dropped() -> None:
    ids, player, _ = replay([line(0), line(1), line(0)])
    assert ids == [["e0"], ["e1"]]
    assert player.counters["events_repeated"] == 1


def test_an_unreadable_event_is_a_dead_letter_and_the_rest_goes_on() -> None:
    ids, player, letters = replay([{"topic": "farm/a", "payload": "{"}, line(1)])
    assert ids == [["e1"]]
    assert [letter.reason for letter in letters] == ["not_json"]
    assert player.counters["dead_not_json"] == 1


def test_two_replays_of_one_recording_give_the_same_ids() -> None:
    lines: list[object] = [{"topic": "farm/a", "payload": {"x": 1}}, {"topic": "farm/a", "payload": {"x": 1}}]
    assert replay(lines)[0] == replay(lines)[0]
    assert len(replay(lines)[0]) == 2
