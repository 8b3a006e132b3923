"""Dead letters on the real store and the real engine: kept in the commit that acknowledges, taken in again, dropped."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_agent.dead_letters import AT_ONCE, DeadLetters
from edge_agent.engine import Engine
from edge_agent.journal.batch import Batch, DeadLetterRow, OutboxRow, pack_properties
from edge_agent.journal.store import Store
from edge_agent.link.port import NO_PROPERTIES, Delivery
from edge_agent.loop import Loop
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.settings import AgentSettings, BrokerSettings, IngestSettings, PipelineSettings
from fleet_contract.messages import Result, decode


class NoModels:
    """There are none."""

    def submit(self, name: str, item: object, done: object, lane: object = None, sensor: str = "") -> None:
        raise AssertionError(name)


class World:
    """An agent's store and engine with one pipeline, whose format can be mended."""

    def __init__(self, path: Path, **source: Any) -> None:
        pipeline = PipelineSettings(name="p", durable=True, source=IngestSettings(topic="s/+", **source))
        self.settings = AgentSettings(
            device="d", state_dir="s", control_socket="c", mqtt=BrokerSettings(), site=BrokerSettings(), pipelines=(pipeline,)
        )
        self.loop = Loop()
        self.store = Store(path / "agent.db", self.settings.store, self.loop.post)
        self.results: list[Result] = []
        self.store.on_outbox(self._see)
        self.engine = Engine(self.settings, self.loop, self.store, [Pipeline(pipeline)], NoModels())  # type: ignore[arg-type]
        self.reader = self.store.open_reader()
        self.letters = DeadLetters(self.reader, self.store.submit, self.engine)

    def _see(self, rows: list[OutboxRow]) -> None:
        self.results += [decode(row.payload, Result) for row in rows if row.kind == "result"]

    def deliver(self, *payloads: bytes, topic: str = "s/a", qos: int = 1) -> None:
        self.engine.on_deliveries([Delivery(topic, item, qos, False, False, 1, 1, NO_PROPERTIES) for item in payloads])
        self.settle()

    def settle(self) -> None:
        assert self.loop.run_until(lambda: self.engine.idle and not self.store.busy, 10)

    def numbers(self) -> list[int]:
        return [item["number"] for item in self.letters.newest()["letters"]][::-1]

    def close(self) -> None:
        self.reader.close()
        assert self.store.close()
        self.loop.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_what_cannot_be_read_is_kept_with_reason_topic_and_payload(world: World) -> None:
    world.deliver(b"{", b"\xff")
    listed = world.letters.newest()
    assert (listed["total"], listed["bytes"], listed["newest"]) == (2, 2, 2)
    assert [(item["number"], item["topic"], item["size"]) for item in listed["letters"]] == [(2, "s/a", 1), (1, "s/a", 1)]
    assert "payload" not in listed["letters"][0]
    assert world.letters.show(1) | {"received": ""} == {
        "number": 1,
        "received": "",
        "kind": "message",
        "topic": "s/a",
        "reason": "not_json",
        "detail": "Input data was truncated",
        "pipeline": "p",
        "size": 1,
        "truncated": False,
        "qos": 1,
        "retain": False,
        "payload": "{",
    }
    assert world.letters.show(2)["payload_base64"] == "/w=="
    with pytest.raises(KeyError):
        world.letters.show(3)


def test_a_letter_is_taken_in_again_once_it_can_be_read(tmp_path: Path) -> None:
    first = World(tmp_path)
    first.deliver(b"a text", qos=0)
    first.close()
    mended = World(tmp_path, format="text")
    assert mended.letters.replay([1]) == {"replayed": 1, "skipped": 0, "left": 0}
    mended.settle()
    assert [result.outcome.values for result in mended.results] == [{"text": "a text"}]
    assert mended.numbers() == []
    mended.close()


def test_a_letter_that_still_cannot_be_read_comes_back_under_a_new_number(world: World) -> None:
    world.deliver(b"{", b"[")
    assert world.letters.replay(None, 2)["replayed"] == 2
    world.settle()
    assert world.numbers() == [3, 4]


def test_no_letter_is_taken_in_twice_while_its_commit_is_on_its_way(world: World) -> None:
    world.deliver(b"{")
    assert world.letters.replay([1])["replayed"] == 1
    with pytest.raises(KeyError):
        world.letters.replay([1])
    assert world.letters.replay(None, 1)["replayed"] == 0
    world.settle()
    assert world.numbers() == [2]


def test_windows_and_messages_that_nobody_reads_are_skipped_and_stay(world: World) -> None:
    rows = [
        DeadLetterRow("sensor", b"{}", "bad_output", "why", "p", is_message=False),
        DeadLetterRow("elsewhere", b"{", "not_json", "why", "p"),
    ]
    world.store.submit(Batch(dead_letters=rows))
    world.settle()
    assert world.letters.replay([1, 2]) == {"replayed": 0, "skipped": 2, "left": 0}
    assert world.numbers() == [1, 2]


def test_a_letter_keeps_the_properties_that_formats_read(world: World) -> None:
    properties = pack_properties({"content_type": "application/json", "user": [("a", "b")]})
    world.store.submit(Batch(dead_letters=[DeadLetterRow("s/a", b"{", "not_json", "why", "p", properties=properties)]))
    world.settle()
    taken: list[Delivery] = []

    class Intake:
        def wants(self, _topic: str) -> bool:
            return True

        def take_again(self, deliveries: Sequence[Delivery], _numbers: Sequence[int]) -> None:
            taken.extend(deliveries)

    shown = world.letters.show(1)
    assert (shown["content_type"], shown["user"]) == ("application/json", [("a", "b")])
    DeadLetters(world.reader, world.store.submit, Intake()).replay([1])
    assert taken[0].properties == {"content_type": "application/json", "user": [("a", "b")], "replayed": "p"}


def test_many_letters_are_taken_in_portions(world: World) -> None:
    world.store.submit(Batch(dead_letters=[DeadLetterRow("s/a", b"{", "not_json", "why", "p")] * (AT_ONCE + 1)))
    world.settle()
    assert world.letters.replay(None, AT_ONCE + 1) == {"replayed": AT_ONCE, "skipped": 0, "left": 1}
    assert world.letters.replay(None, AT_ONCE + 1) == {"replayed": 1, "skipped": 0, "left": 0}
    world.settle()
    assert world.letters.newest()["total"] == AT_ONCE + 1


def test_letters_are_dropped_by_number_or_all_up_to_one(world: World) -> None:
    world.deliver(b"{", b"[", b"{{")
    assert world.letters.drop([2]) == {"dropped": 1}
    world.settle()
    assert world.numbers() == [1, 3]
    world.deliver(b"]")
    assert world.letters.drop(None, 3) == {"dropped": 2}
    world.settle()
    assert world.numbers() == [4]
