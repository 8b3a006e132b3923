"""Pipelines with bounded queues: the engine on the real store, in front of a model that is not there yet."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.engine import Engine
from edge_agent.inference.answers import Answer, Failure, ModelInput
from edge_agent.inference.input_queue import InputQueue, Lane, Pending
from edge_agent.journal.batch import Priority
from edge_agent.journal.store import Store
from edge_agent.link.port import NO_PROPERTIES, Delivery
from edge_agent.loop import Loop
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.queues import INTERVAL, Queues
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    IngestSettings,
    PipelineSettings,
    QueuePolicy,
    QueueSettings,
    StoreSettings,
    WindowKind,
    WindowSettings,
)
from fleet_contract.manifest import Feature, InputKind, Manifest, Runtime, Tensor, WindowInput
from fleet_contract.messages import ModelRef, Note, Result, decode
from fleet_contract.reasons import Reason

REFERENCE = ModelRef(name="m", version="1.0.0", release=1, digest="sha256:0", provider="CPU")
MANIFEST = Manifest(
    schema=1,
    name="m",
    version="1.0.0",
    task="anomaly",
    runtime=Runtime.ONNX,
    file="m.onnx",
    golden="golden.json",
    kind=InputKind.WINDOW,
    inputs=(WindowInput(name="v"),),
    features=(Feature(op="last", input="v"),),
    input_tensor=Tensor(name="x", dtype="float32", shape=(-1, 1)),
    output_tensor=Tensor(name="y", dtype="float32", shape=(-1, 1)),
    licence="Apache-2.0",
)
OLDEST = QueueSettings(policy=QueuePolicy.DROP_OLDEST, max_windows=3)
SAMPLE = QueueSettings(policy=QueuePolicy.SAMPLE, max_windows=2, one_in=3)


class SlowModel:
    """The real queue of a model; its worker takes batches of `most` and answers the last value, when it is told."""

    def __init__(self) -> None:
        self.queue = InputQueue(lambda entries: self.give(entries))
        self.flight: list[Pending] = []

    def submit(
        self,
        name: str,
        item: ModelInput,
        done: Callable[[Answer | Failure], object],
        lane: Lane | None = None,
        sensor: str = "",
    ) -> None:
        self.queue.put(Pending(item, done, 0.0, lane), sensor)

    def give(self, entries: Any) -> None:
        for entry in entries:
            if entry.item is None:
                entry.done(entry.lane.outcome)
            else:
                entry.done(Answer((float(entry.item.values["v"][-1]),), REFERENCE, MANIFEST))

    def take(self, most: int) -> None:
        self.flight = self.queue.take(most)

    def answer(self) -> None:
        flight, self.flight = self.flight, []
        dropped = self.queue.owed(flight)
        self.give(flight)
        self.give(dropped)
        self.queue.answered(flight)


class World:
    """`restart` is a kill -9 and a fresh start on the same file, after what was submitted to the store is on disk."""

    def __init__(self, path: Path, *pipelines: PipelineSettings) -> None:
        self.path = path
        self.settings = AgentSettings(
            device="d",
            state_dir=str(path),
            control_socket="c",
            mqtt=BrokerSettings(),
            site=BrokerSettings(),
            store=StoreSettings(commit_delay=0.0),
            pipelines=pipelines,
        )
        self.acked: list[int] = []
        self.connected = True
        self.sent = 0
        self.start()

    def start(self) -> None:
        self.loop = Loop()
        self.store = Store(self.path / "agent.db", self.settings.store, self.loop.post)
        self.model = SlowModel()
        pipelines = [Pipeline(item) for item in self.settings.pipelines]
        for item in pipelines:
            item.restore(self.store.pipeline_states(item.settings.name))
        self.engine = Engine(self.settings, self.loop, self.store, pipelines, self.model)
        self.engine.attach(self)
        self.engine.rebuild()
        self.settle()

    def ack(self, deliveries: Any) -> None:
        self.acked += [delivery.mid for delivery in deliveries]

    def stop(self) -> None:
        assert self.store.close()
        self.loop.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def settle(self) -> None:
        assert self.loop.run_until(lambda: self.engine.idle, 20)

    def send(self, count: int, sensor: str = "a") -> None:
        for _ in range(count):
            self.sent += 1
            time = f"2024-01-01T00:{self.sent // 60:02}:{self.sent % 60:02}Z"
            payload = json.dumps({"id": f"e{self.sent}", "time": time, "v": self.sent}).encode()
            self.engine.on_deliveries([Delivery(f"s/{sensor}", payload, 1, False, False, self.sent, 0, NO_PROPERTIES)])
        self.settle()

    def answer_all(self) -> None:
        while self.model.queue or self.model.flight:
            if not self.model.flight:
                self.model.take(2)
            self.model.answer()
        self.settle()

    def rows(self, kind: str) -> list[bytes]:
        reader = self.store.open_reader()
        found = [row for priority in Priority for row in reader.outbox_page("fleet", priority, 0)[0]]
        reader.close()
        return [row.payload for row in sorted(found, key=lambda row: row.seq) if row.kind == kind]

    @property
    def scored(self) -> list[float | None]:
        return [decode(payload, Result).outcome.score for payload in self.rows("result")]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def build(*pipelines: PipelineSettings) -> World:
        worlds.append(World(tmp_path, *pipelines))
        return worlds[-1]

    yield build
    for world in worlds:
        world.stop()


def pipeline(queue: QueueSettings, name: str = "p", **window: Any) -> PipelineSettings:
    source = IngestSettings(topic="s/+", device_level=1)
    return PipelineSettings(
        name=name, model="m", durable=True, source=source, queue=queue, window=WindowSettings(max_jump=None, **window)
    )


def test_the_oldest_windows_are_dropped_counted_told_of_acknowledged_and_let_go_of(make: Callable[..., World]) -> None:
    world = make(pipeline(OLDEST))
    world.send(10)
    assert world.engine.counters["windows_dropped"] == 7
    assert world.store.counts.journal_rows == 3
    assert world.acked == list(range(1, 11))
    assert world.engine.queues.states() == [{"pipeline": "p", "policy": "drop_oldest", "max_windows": 3, "waiting": 3}]
    world.answer_all()
    assert world.scored == [8, 9, 10]
    assert world.store.counts.journal_rows == 0
    (note,) = (decode(payload, Note) for payload in world.rows("note"))
    assert (note.reason, note.model, note.fields["pipeline"]) == (Reason.WINDOWS_DROPPED, "m", "p")
    assert world.engine.counters["dead_windows_dropped"] == 0


def test_of_windows_beyond_the_bound_a_sample_of_each_sensor_is_scored(make: Callable[..., World]) -> None:
    world = make(pipeline(SAMPLE))
    for _ in range(8):
        world.send(1, "a")
        world.send(1, "b")
    assert world.acked == list(range(1, 17))
    world.answer_all()
    assert world.scored == [1, 2, 7, 8, 13, 14]
    assert world.engine.counters["windows_sampled"] == 10
    assert world.store.counts.journal_rows == 0


def test_without_a_bound_everything_waits(make: Callable[..., World]) -> None:
    world = make(pipeline(QueueSettings()))
    world.send(30)
    assert (world.store.counts.journal_rows, world.engine.queues.states()) == (30, [])
    world.answer_all()
    assert world.scored == list(range(1, 31))


@pytest.mark.parametrize(
    "window",
    [
        {"size": 1},
        {"size": 3, "step": 1},
        {"kind": WindowKind.TUMBLING, "size": 2},
        {"kind": WindowKind.HOPPING, "size": 4, "step": 2},
        {"kind": WindowKind.SLIDING, "size": 3},
    ],
    ids=["count", "overlapping", "tumbling", "hopping", "sliding"],
)
@pytest.mark.parametrize("queue", [OLDEST, SAMPLE], ids=["drop_oldest", "sample"])
def test_a_restart_brings_no_dropped_window_back_and_loses_none_that_waits(
    make: Callable[..., World], window: dict[str, Any], queue: QueueSettings
) -> None:
    world = make(pipeline(queue, **window), pipeline(QueueSettings(), "all", **window))
    counted = 0
    for answered in (True, False):
        world.send(6)
        world.model.take(3)
        world.send(6)
        if answered:
            world.model.answer()
        world.send(5)
        counted += dropped(world)
        world.restart()
    world.answer_all()
    counted += dropped(world)
    results = [decode(payload, Result) for payload in world.rows("result")]
    assert set(Counter(result.result_id for result in results).values()) == {1}
    of_all = [result.events for result in results if result.pipeline == "all"]
    kept = [result.events for result in results if result.pipeline == "p"]
    assert kept == [events for events in of_all if events in kept], "in order, and the same windows"
    assert len(kept) + counted == len(of_all), "each is scored or counted, once"
    assert counted > 5


def dropped(world: World) -> int:
    counters = world.engine.counters
    return counters["windows_dropped"] + counters["windows_sampled"]


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, delay: float, call: Callable[[], object]) -> None:
        self.timers.append((self.now + delay, call))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due, self.timers = [call for at, call in self.timers if at <= self.now], [t for t in self.timers if t[0] > self.now]
        for call in due:
            call()


def test_a_flood_of_dropped_windows_is_one_note_in_ten_minutes_with_what_has_gathered() -> None:
    time = Time()
    told: list[Any] = []
    counters: Counter[str] = Counter()
    queues = Queues(
        [pipeline(OLDEST)], counters, lambda **note: told.append(note["fields"]["windows"]), time, now=lambda: time.now
    )
    outcome = queues.lanes["p"].outcome
    for _ in range(5):
        assert queues.dropped("p", outcome)
    assert told == [1]
    time.advance(INTERVAL)
    assert told == [1, 4]
    time.advance(INTERVAL)
    assert told == [1, 4]
    assert queues.dropped("p", outcome)
    assert told == [1, 4, 1]
    assert counters["windows_dropped"] == 6


def test_what_went_wrong_otherwise_is_not_the_queue_s() -> None:
    queues = Queues([pipeline(OLDEST)], Counter(), lambda **_note: None, Time())
    assert not queues.dropped("p", Failure(Reason.POISON_INPUT, ""))
