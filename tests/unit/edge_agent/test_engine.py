"""The engine on the real store and the real loop; the site link and the model are in memory, with answers when told."""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.engine import Engine
from edge_agent.inference.answers import Answer, Failure, ModelInput
from edge_agent.inference.input_queue import Lane
from edge_agent.journal.batch import Batch, OutboxRow, Priority
from edge_agent.journal.errors import StoreError
from edge_agent.journal.store import Store
from edge_agent.link.port import NO_PROPERTIES, Delivery
from edge_agent.loop import Loop
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.windows import Event
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    DecisionSettings,
    IngestSettings,
    JoinSettings,
    PipelineSettings,
    StoreSettings,
    WindowKind,
    WindowSettings,
)
from fleet_contract.manifest import Feature, InputKind, Manifest, Runtime, Tensor, WindowInput
from fleet_contract.messages import ModelRef, Note, Result, decode
from fleet_contract.reasons import Reason

REFERENCE = ModelRef(name="m", version="1.0.0", release=1, digest="sha256:0", provider="CPU")


def manifest() -> Manifest:
    return Manifest(
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


class SiteLink:
    """Remembers what was acknowledged."""

    def __init__(self) -> None:
        self.acked: list[int] = []
        self.connected = True

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        self.acked += [delivery.mid for delivery in deliveries if delivery.qos]


class Models:
    """Answers the oldest question when `answer` is called: the sum of what it was asked."""

    def __init__(self) -> None:
        self.waiting: list[tuple[ModelInput, Callable[[Answer | Failure], object]]] = []
        self.failing: Failure | None = None

    def submit(
        self,
        name: str,
        item: ModelInput,
        done: Callable[[Answer | Failure], object],
        lane: Lane | None = None,
        sensor: str = "",
    ) -> None:
        self.waiting.append((item, done))

    def answer(self, count: int = 1) -> None:
        for _ in range(min(count, len(self.waiting))):
            item, done = self.waiting.pop(0)
            total = float(sum(value or 0.0 for value in item.values.get("v", ())))
            done(self.failing or Answer((total,), REFERENCE, manifest()))


def pipeline(name: str, *, model: str | None = None, qos: int = 1, **window: Any) -> PipelineSettings:
    return PipelineSettings(
        name=name,
        model=model,
        durable=True,
        source=IngestSettings(topic="s/+", device_level=1, qos=qos),
        window=WindowSettings(**window),
    )


def chained(name: str, source: str, *, model: str | None = None, **window: Any) -> PipelineSettings:
    """A pipeline whose events are the results of another; a model's input is their score."""
    return PipelineSettings(
        name=name,
        model=model,
        durable=True,
        source=IngestSettings(pipeline=source),
        inputs={"v": "score"},
        window=WindowSettings(**window),
    )


class World:
    """One agent's engine; `restart` is a kill -9 and a fresh start on the same file."""

    def __init__(self, path: Path, pipelines: tuple[PipelineSettings, ...], **store: Any) -> None:
        self.path = path
        self.settings = AgentSettings(
            device="d",
            state_dir=str(path),
            control_socket="c",
            qos0_buffer=5,
            mqtt=BrokerSettings(),
            site=BrokerSettings(),
            store=StoreSettings(**store),
            pipelines=pipelines,
        )
        self.generation = 0
        self.wall = time.time
        self.start()

    def start(self) -> None:
        self.loop = Loop()
        self.store = Store(self.path / "agent.db", self.settings.store, self.loop.post)
        self.models = Models()
        self.link = SiteLink()
        pipelines = [Pipeline(item) for item in self.settings.pipelines]
        for item in pipelines:
            item.restore(self.store.pipeline_states(item.settings.name))
        self.refused: list[StoreError] = []
        self.engine = Engine(
            self.settings, self.loop, self.store, pipelines, self.models, on_refused=self.refused.append, wall=self.wall
        )
        self.engine.attach(self.link)
        self.engine.rebuild()

    def restart(self) -> None:
        """What was submitted to the store may have been committed or not; here it is, as the writer ends in order."""
        self.stop()
        self.start()

    def stop(self) -> None:
        assert self.store.close()
        self.loop.close()

    def deliver(self, *payloads: bytes, topic: str = "s/a", qos: int = 1, dup: bool = False, first: int = 1) -> None:
        self.engine.on_deliveries(
            [
                Delivery(topic, payload, qos, False, dup, mid, self.generation, NO_PROPERTIES)
                for mid, payload in enumerate(payloads, first)
            ]
        )

    def settle(self) -> None:
        """Until everything that can be committed is."""
        assert self.loop.run_until(lambda: self.engine.idle, 10)

    def rows(self, kind: str) -> list[Any]:
        reader = self.store.open_reader()
        found: list[Any] = []
        for priority in Priority:
            after, more = 0, True
            while more:
                page, after, more = reader.outbox_page("fleet", priority, after)
                found += page
        reader.close()
        return [row.payload for row in sorted(found, key=lambda row: row.seq) if row.kind == kind]

    def results(self) -> list[Result]:
        return [decode(payload, Result) for payload in self.rows("result")]

    def notes(self) -> list[Note]:
        return [decode(payload, Note) for payload in self.rows("note")]


def event(number: int, value: Any = None) -> bytes:
    seconds = f"2024-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    return json.dumps({"id": f"e{number}", "time": seconds, "v": number if value is None else value}).encode()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def build(*pipelines: PipelineSettings, **store: Any) -> World:
        worlds.append(World(tmp_path, pipelines, **store))
        return worlds[-1]

    yield build
    for world in worlds:
        world.stop()


def test_an_event_whose_result_is_ready_becomes_an_outbox_row_alone(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"))
    world.deliver(event(1), event(2))
    world.settle()
    assert [result.outcome.values for result in world.results()] == [{"v": 1}, {"v": 2}]
    assert world.store.counts.journal_rows == 0
    assert world.link.acked == [1, 2]


def test_nothing_is_acknowledged_before_it_is_on_disk(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"))
    world.deliver(event(1))
    assert world.link.acked == []
    world.settle()
    assert world.link.acked == [1]


def test_an_event_that_waits_for_a_slow_model_is_journaled_and_acknowledged(make: Callable[..., World]) -> None:
    world = make(pipeline("p", model="m"))
    world.deliver(event(1))
    world.settle()
    assert (world.link.acked, world.store.counts.journal_rows, world.results()) == ([1], 1, [])
    world.models.answer()
    world.settle()
    assert world.store.counts.journal_rows == 0
    assert [result.outcome.score for result in world.results()] == [1.0]
    assert world.results()[0].model == REFERENCE


def test_a_waiting_event_is_scored_after_a_restart(make: Callable[..., World]) -> None:
    world = make(pipeline("p", model="m"))
    world.deliver(event(1), event(2))
    world.settle()
    world.restart()
    assert len(world.models.waiting) == 2
    world.models.answer(2)
    world.settle()
    assert [result.outcome.score for result in world.results()] == [1.0, 2.0]


def test_one_pipeline_does_not_let_go_of_what_another_still_needs(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"), pipeline("three", size=3, step=1))
    world.deliver(event(1), event(2), event(3))
    world.settle()
    assert world.store.counts.journal_rows == 2
    world.restart()
    world.deliver(event(4))
    world.settle()
    windows = [result.outcome.values["v"] for result in world.results() if result.pipeline == "three"]
    assert windows == [[1, 2, 3], [2, 3, 4]]
    assert [result.outcome.values["v"] for result in world.results() if result.pipeline == "echo"] == [1, 2, 3, 4]


def test_a_repeat_gives_no_second_result_and_is_acknowledged(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"))
    world.deliver(event(1))
    world.settle()
    world.restart()
    world.deliver(event(1), event(1, 99))
    world.settle()
    assert len(world.results()) == 1
    assert world.engine.counters["events_repeated"] == 2
    assert world.link.acked == [1, 2]


def test_an_event_without_id_and_time_is_a_repeat_only_if_it_is_marked_so(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"))
    world.deliver(b'{"v": 1}')
    world.deliver(b'{"v": 1}', first=2)
    world.settle()
    assert len(world.results()) == 2
    world.deliver(b'{"v": 1}', first=2, dup=True)
    world.settle()
    assert len(world.results()) == 2
    world.deliver(b'{"v": 3}', first=3, dup=True)
    world.settle()
    assert len(world.results()) == 3


def test_another_packet_of_the_same_bytes_is_no_repeat_even_if_the_broker_had_to_send_it_twice(
    make: Callable[..., World],
) -> None:
    world = make(pipeline("echo"))
    world.deliver(b'{"v": 1}')
    world.deliver(b'{"v": 1}', first=2, dup=True)  # its first delivery was lost on the wire
    world.settle()
    assert len(world.results()) == 2


def test_a_packet_is_known_again_after_many_others_and_a_restart(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"))
    world.deliver(*(b'{"v": %d}' % number for number in range(500)))
    world.settle()
    world.restart()
    world.deliver(b'{"v": 0}', dup=True)
    world.settle()
    assert len(world.results()) == 500


def test_an_unreadable_packet_that_comes_again_is_no_second_dead_letter(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"))
    world.deliver(b"{", first=7)
    world.deliver(b"{", first=7, dup=True)
    world.deliver(b"{", first=8)
    world.settle()
    assert (world.engine.counters["dead_not_json"], world.engine.counters["events_repeated"]) == (2, 1)


def test_bytes_that_are_no_payload_are_counted_told_and_acknowledged(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"))
    world.deliver(b"\xff\xfe", b"{", event(1), b"{")
    world.settle()
    assert world.link.acked == [1, 2, 3, 4]
    assert len(world.results()) == 1
    assert world.engine.counters["dead_not_json"] + world.engine.counters["dead_not_utf8"] == 3
    assert {note.reason for note in world.notes()} <= {Reason.NOT_JSON, Reason.NOT_UTF8}
    assert world.notes()


def test_an_event_that_no_pipeline_wants_is_counted_and_acknowledged(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"))
    world.deliver(event(1), topic="other/a")
    world.settle()
    assert (world.link.acked, world.engine.counters["events_unrouted"]) == ([1], 1)


def test_a_failed_answer_becomes_a_note_and_the_window_is_done(make: Callable[..., World]) -> None:
    world = make(pipeline("p", model="m"))
    world.models.failing = Failure(Reason.POISON_INPUT, "it kills")
    world.deliver(event(1))
    world.models.answer()
    world.settle()
    assert (world.results(), [note.reason for note in world.notes()]) == ([], [Reason.POISON_INPUT])
    world.restart()
    assert world.models.waiting == []


def test_a_full_store_withholds_acknowledgements_until_there_is_room(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"), max_outbox_rows=2)
    world.deliver(event(1), event(2))
    world.settle()
    world.deliver(event(3), first=3)
    assert not world.loop.run_until(lambda: world.engine.idle, 0.3)
    assert world.link.acked == [1, 2]
    assert world.engine.counters["commits_refused"] >= 1
    world.store.submit(Batch(delivered=[1]))
    world.settle()
    assert world.link.acked == [1, 2, 3]
    assert [result.outcome.values["v"] for result in world.results()] == [2, 3]


def test_what_has_come_while_the_outbox_was_full_is_taken_over_however_much_it_is(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"), max_outbox_rows=40)
    world.deliver(*(event(number) for number in range(38)))
    world.settle()
    world.deliver(event(38))
    world.loop.run_until(lambda: world.engine.counters["commits_refused"] > 0, 10)
    world.deliver(*(event(number) for number in range(39, 139)))
    world.store.submit(Batch(delivered=list(range(1, 38))))
    world.settle()
    assert len(world.results()) == 1 + 101


def test_a_full_outbox_that_refuses_events_still_takes_their_notes(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"), max_outbox_rows=20)
    world.deliver(*[event(number) for number in range(19)])
    world.settle()
    world.deliver(event(19), b"no event", first=20)
    assert world.loop.run_until(lambda: world.store.counts.outbox_rows == 20, 10)
    assert [note.reason for note in world.notes()] == ["not_json"]
    assert world.link.acked == list(range(1, 20))
    world.store.submit(Batch(delivered=[1, 2]))
    world.settle()
    assert world.link.acked == list(range(1, 22))
    assert (len(world.notes()), len(world.results())) == (1, 18)


def test_qos_0_beyond_its_buffer_is_dropped_and_counted(make: Callable[..., World]) -> None:
    world = make(pipeline("echo", qos=0), max_outbox_rows=1)
    world.deliver(event(0), qos=0)
    world.settle()
    for number in range(1, 20):
        world.deliver(event(number), qos=0)
    world.loop.run_until(lambda: False, 0.2)
    counters = world.engine.counters
    assert counters["events"] == 20
    assert counters["qos0_overflow"] + counters["results"] == 20
    assert counters["results"] <= 1 + 5 + 1  # committed, buffered, and in the commit that is refused


def test_a_late_event_is_counted_and_not_scored(make: Callable[..., World]) -> None:
    world = make(pipeline("p", kind=WindowKind.TUMBLING, size=10))
    world.deliver(event(1), event(25), event(3))
    world.settle()
    assert world.engine.counters["events_late"] == 1
    assert [result.outcome.values["v"] for result in world.results()] == [1]


WINDOWS = (
    {"size": 1},
    {"size": 4, "step": 1},
    {"size": 3, "backlog_after": 3.0},
    {"kind": WindowKind.TUMBLING, "size": 5, "lateness": 2},
    {"kind": WindowKind.HOPPING, "size": 6, "step": 2, "delay": 3, "backlog_after": 3.0},
    {"kind": WindowKind.SLIDING, "size": 4, "lateness": 5},
    {"kind": WindowKind.SESSION, "gap": 2, "max_length": 7, "delay": 1},
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), crashes=st.lists(st.integers(1, 6), max_size=5))
def test_restarts_anywhere_give_the_results_of_an_uninterrupted_run(
    tmp_path_factory: pytest.TempPathFactory, seed: int, crashes: list[int]
) -> None:
    """Three sensors, some events late or repeated, answers late too; what was not acknowledged comes again after a crash."""
    chance = random.Random(seed)
    pipelines = tuple(
        pipeline(f"p{number}", model="m" if number % 2 else None, **window) for number, window in enumerate(WINDOWS)
    )
    pipelines += (
        chained("echo-of-model", "p1"),
        chained("model-of-model", "p3", model="m", size=2),
        chained("near-in-time", "p4", kind=WindowKind.SLIDING, size=9, lateness=9),
        chained("end-of-chain", "model-of-model", size=2, step=1),
    )
    stream = []
    for number in range(40):
        at = max(0, number - (chance.randrange(6) if chance.random() < 0.2 else 0))
        stream.append((f"s/{chance.choice('abc')}", _event(number, at)))
    stream += [chance.choice(stream) for _ in range(3)]

    def run(path: Path, pauses: list[int]) -> set[tuple[str, str, str]]:
        world = World(path, pipelines)
        pending = list(enumerate(stream, 1))
        acked = 0
        for size in [*pauses, len(stream)]:
            for mid, (topic, payload) in pending[:size]:
                world.deliver(payload, topic=topic, first=mid)
                if chance.random() < 0.3:
                    world.models.answer(chance.randrange(4))
                if chance.random() < 0.3:
                    world.settle()
            if size >= len(pending):
                break
            acked += len(world.link.acked)
            world.link.acked.clear()
            world.restart()  # also what was submitted but not yet acknowledged is on disk: the broker sends it again
            pending = list(enumerate(stream, 1))[acked:]
        for _ in range(100):
            world.settle()
            if not world.models.waiting:
                break
            world.models.answer(50)
        found = [
            (item.pipeline, f"{item.result_id} {item.revision}", json.dumps(item.outcome.scores or item.outcome.values))
            for item in world.results()
        ]
        assert len({result_id for _, result_id, _ in found}) == len(found)
        world.stop()
        return set(found)

    expected = run(tmp_path_factory.mktemp("whole"), [])
    assert run(tmp_path_factory.mktemp("cut"), crashes) == expected


def _event(number: int, at: int) -> bytes:
    return json.dumps({"id": f"e{number}", "time": f"2024-01-01T00:00:{at:02}Z", "v": number}).encode()


def read_otherwise(name: str, topic: str, **window: Any) -> PipelineSettings:
    """A pipeline that reads the topics of `pipeline` in a way of its own: nested payloads are refused."""
    source = IngestSettings(topic=topic, device_level=1, max_depth=1)
    return PipelineSettings(name=name, durable=True, source=source, window=WindowSettings(**window))


NESTED = json.dumps({"id": "n1", "time": "2024-01-01T00:00:01Z", "deep": {"er": {"v": 1}}}).encode()


@pytest.mark.parametrize("refuses_first", [True, False])
def test_an_event_that_one_reading_refuses_is_on_disk_for_the_other_before_it_is_acknowledged(
    make: Callable[..., World], *, refuses_first: bool
) -> None:
    pipelines = [read_otherwise("strict", "s/+", size=2), pipeline("lax", size=2)]
    world = make(*(pipelines if refuses_first else reversed(pipelines)))
    world.deliver(NESTED)
    world.settle()
    assert (world.link.acked, world.store.counts.journal_rows) == ([1], 1)
    world.restart()
    world.deliver(event(2))
    world.settle()
    assert [result.events.count for result in world.results() if result.pipeline == "lax"] == [2]


def test_an_events_id_does_not_depend_on_who_else_reads_it(make: Callable[..., World]) -> None:
    world = make(pipeline("one"), read_otherwise("two", "s/#"))
    world.deliver(event(1))
    world.settle()
    assert [result.events.ids for result in world.results()] == [("e1",), ("e1",)]


def test_one_event_that_breaks_the_intake_costs_the_others_nothing(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(pipeline("echo"))
    feed = Pipeline.feed

    def breaks(self: Pipeline, item: Event, wall: float) -> Any:
        if item.event_id == "e2":
            raise ValueError("a defect")
        return feed(self, item, wall)

    monkeypatch.setattr(Pipeline, "feed", breaks)
    world.deliver(event(1), event(2), event(3))
    world.settle()
    assert world.link.acked == [1, 2, 3]
    assert [result.outcome.values["v"] for result in world.results()] == [1, 3]
    assert (world.loop.errors, len(world.notes()), world.engine.open_events) == (1, 1, 0)


def test_an_event_that_breaks_the_rebuilding_does_not_keep_the_daemon_from_starting(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(pipeline("p", model="m"))
    world.deliver(event(1), event(2))
    world.settle()
    reattach = Pipeline.reattach

    def breaks(self: Pipeline, item: Event, placed: int) -> Any:
        if item.event_id == "e1":
            raise ValueError("a defect")
        return reattach(self, item, placed)

    monkeypatch.setattr(Pipeline, "reattach", breaks)
    world.restart()
    world.models.answer()
    world.settle()
    assert [result.outcome.score for result in world.results()] == [2.0]
    assert world.store.counts.journal_rows == 0


def test_a_full_journal_empties_when_the_model_answers(make: Callable[..., World]) -> None:
    world = make(pipeline("p", model="m"), max_journal_rows=2)
    world.deliver(event(1), event(2))
    world.settle()
    world.deliver(event(3), first=3)
    assert not world.loop.run_until(lambda: world.engine.idle, 0.8)
    assert [getattr(error, "reason", None) for error in world.refused] == [Reason.JOURNAL_FULL]
    world.models.answer(3)
    world.settle()
    assert world.link.acked == [1, 2, 3]
    assert [result.outcome.score for result in world.results()] == [1.0, 2.0, 3.0]
    assert world.store.counts.journal_rows == 0


def test_scores_that_nobody_can_decide_on_are_a_dead_letter_and_the_window_is_done(make: Callable[..., World]) -> None:
    world = make(pipeline("p", model="m"))
    world.deliver(event(1))
    world.models.waiting.pop()[1](Answer((), REFERENCE, manifest()))
    world.settle()
    assert [note.reason for note in world.notes()] == [Reason.BAD_OUTPUT]
    assert world.engine.open_events == 0


def test_a_commit_that_can_never_succeed_is_told_once_and_nothing_is_acknowledged(make: Callable[..., World]) -> None:
    world = make(pipeline("echo"))
    told: list[StoreError] = []
    world.engine = Engine(
        world.settings, world.loop, world.store, [Pipeline(pipeline("echo"))], world.models, on_broken=told.append
    )
    world.engine.attach(world.link)
    world.engine.add_row(OutboxRow("note", "t", object(), durable=True))  # type: ignore[arg-type]
    world.deliver(event(1))
    assert world.loop.run_until(lambda: bool(told), 10)
    assert (len(told), world.link.acked) == (1, [])


def test_a_late_event_sends_the_result_again_with_a_revision_also_after_a_restart(make: Callable[..., World]) -> None:
    world = make(pipeline("p", kind=WindowKind.TUMBLING, size=10, lateness=20))
    world.deliver(event(1), event(12))
    world.settle()
    assert world.store.counts.journal_rows == 2
    world.restart()
    world.deliver(event(2))
    world.settle()
    world.restart()
    world.deliver(event(35))
    world.settle()
    first, again, last = world.results()
    assert (first.result_id, first.revision, first.outcome.values) == (again.result_id, 0, {"v": 1})
    assert (again.revision, again.outcome.values) == (1, {"v": [1, 2]})
    assert (last.revision, last.outcome.values) == (0, {"v": 12})
    assert world.store.counts.journal_rows == 2  # those of the window that can fire again, and of the open one


def test_a_backlog_has_results_of_its_own_also_after_a_restart(make: Callable[..., World]) -> None:
    world = make(pipeline("live", size=2), pipeline("all", size=2, backlog_after=None))
    world.deliver(event(3600), event(1))
    world.settle()
    world.restart()
    world.deliver(event(2), event(3601))
    world.settle()
    found = [(item.timeliness, item.outcome.values["v"]) for item in world.results() if item.pipeline == "live"]
    assert found == [("backlog", [1, 2]), ("live", [3600, 3601])]
    assert [item.outcome.values["v"] for item in world.results() if item.pipeline == "all"] == [[3600, 1], [2, 3601]]
    assert world.engine.counters["events_backlog"] == 1
    assert world.store.counts.journal_rows == 0


def test_an_event_dropped_by_one_pipeline_stays_dropped_while_another_keeps_it(make: Callable[..., World]) -> None:
    tumbling = pipeline("p", kind=WindowKind.SESSION, gap=5)
    world = make(tumbling, pipeline("keeps", size=9))
    world.deliver(event(1), event(20), event(3))
    world.settle()
    assert world.engine.counters["events_late"] == 1
    world.restart()
    world.deliver(event(40))
    world.settle()
    assert [item.outcome.values["v"] for item in world.results()] == [1, 20]


def test_silence_closes_windows_but_not_while_no_event_can_come(make: Callable[..., World]) -> None:
    world = make(pipeline("p", kind=WindowKind.TUMBLING, size=100, idle_timeout=10))
    world.deliver(event(1))
    world.settle()
    world.link.connected = False
    for _ in range(30):
        world.engine.sweep()
    world.link.connected = True
    for _ in range(10):
        world.engine.sweep()
    world.settle()
    assert world.results() == []
    world.engine.sweep()
    world.settle()
    assert [item.outcome.values for item in world.results()] == [{"v": 1}]
    assert world.store.counts.journal_rows == 0


@pytest.mark.parametrize(("now", "flags"), [(1.9e9, ("clock_skew",)), (1.9e9 + 0.5, ()), (1000.0, ())])
def test_an_event_ahead_of_a_clock_that_can_be_believed_is_flagged_for_good(
    make: Callable[..., World], now: float, flags: tuple[str, ...]
) -> None:
    world = make(pipeline("p", size=2, clock_skew=60))
    world.wall = lambda: now
    world.restart()
    world.deliver(json.dumps({"time": 1.9e9 + 60.5, "v": 1}).encode())
    world.settle()
    world.wall = lambda: 2e9
    world.restart()
    world.deliver(json.dumps({"time": 1.9e9 + 61, "v": 2}).encode())
    world.settle()
    assert [item.quality for item in world.results()] == [flags]


def test_flags_are_counted(make: Callable[..., World]) -> None:
    world = make(pipeline("p", size=2, max_gap=5))
    retained = Delivery("s/a", event(1), 1, True, False, 1, 0, NO_PROPERTIES)
    world.engine.on_deliveries([retained])
    world.deliver(event(9), event(10), event(10, 11).replace(b"e10", b"e11"), b'{"v": 1}', first=2)
    world.settle()
    counters = world.engine.counters
    assert [item.quality for item in world.results()] == [("retained", "gap"), ("duplicate",)]
    assert [counters[f"events_{name}"] for name in ("retained", "without_time", "historical")] == [1, 1, 0]
    assert [counters[f"windows_with_{name}"] for name in ("gap", "duplicate")] == [1, 1]


def test_a_result_is_an_event_of_another_pipeline_in_the_same_commit(make: Callable[..., World]) -> None:
    world = make(pipeline("up", model="m"), chained("down", "up", size=2), chained("echo", "down"))
    world.deliver(event(1))
    world.models.answer()
    world.settle()
    assert world.store.counts.journal_rows == 1  # the result, which the window of `down` holds
    world.restart()
    world.deliver(event(2))
    world.models.answer()
    world.settle()
    up, again, down, echo = world.results()
    assert [item.pipeline for item in (up, again, down, echo)] == ["up", "up", "down", "echo"]
    assert down.outcome.values["score"] == [1.0, 2.0]
    assert down.events.ids == (f"{up.result_id}.0", f"{again.result_id}.0")
    assert (down.source, down.time) == ("a", again.time)
    assert echo.events.ids == (f"{down.result_id}.0",)
    assert (world.store.counts.journal_rows, world.engine.open_events) == (0, 0)


def test_a_result_that_was_not_committed_is_no_event_either(make: Callable[..., World]) -> None:
    world = make(pipeline("up", model="m"), chained("down", "up", size=2), max_outbox_rows=1)
    world.deliver(event(1), event(2), event(3), event(4))
    world.settle()
    world.models.answer()
    world.settle()
    world.models.answer(3)
    assert not world.loop.run_until(lambda: world.engine.idle, 0.3)
    world.restart()
    assert [item.values["v"] for item, _ in world.models.waiting] == [[2.0], [3.0], [4.0]]
    assert world.store.counts.journal_rows == 4


def test_a_result_that_is_not_given_out_is_no_event(make: Callable[..., World]) -> None:
    quiet = replace(pipeline("up"), decision=DecisionSettings(reading="v", deadband=5.0))
    world = make(quiet, chained("down", "up"))
    world.deliver(event(1), event(2), event(9))
    world.settle()
    assert [item.outcome.values["values.v"] for item in world.results() if item.pipeline == "down"] == [1, 9]
    assert world.engine.counters["events_chained"] == 2


def test_an_event_that_breaks_a_later_pipeline_does_not_cost_the_result(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(pipeline("up"), chained("down", "up"))
    feed = Pipeline.feed

    def breaks(self: Pipeline, item: Event, wall: float) -> Any:
        if self.settings.name == "down":
            raise ValueError("a defect")
        return feed(self, item, wall)

    monkeypatch.setattr(Pipeline, "feed", breaks)
    world.deliver(event(1), event(2))
    world.settle()
    assert [item.outcome.values for item in world.results()] == [{"v": 1}, {"v": 2}]
    assert (world.loop.errors, world.engine.open_events, world.link.acked) == (2, 0, [1, 2])


def test_sources_of_one_device_are_joined_for_the_model(make: Callable[..., World]) -> None:
    both = replace(
        pipeline("both", model="m", size=2),
        sources=(IngestSettings(topic="soil/+", device_level=1, values={"w": "v"}),),
        join=JoinSettings(),
    )
    world = make(both)
    world.deliver(event(1, 7))
    world.deliver(event(2, 20), topic="soil/a", first=2)
    world.settle()
    assert world.engine.routes.filters() == [("s/+", 1), ("soil/+", 1)]
    ((asked, _),) = world.models.waiting
    assert asked.values == {"v": [7.0, 7.0], "w": [None, 20.0]}
    world.models.answer()
    world.settle()
    (result,) = world.results()
    assert (result.events.ids, result.outcome.score) == (("e1", "e2"), 14.0)


def test_windows_that_wait_for_their_model_are_stored_one_by_one(make: Callable[..., World]) -> None:
    world = make(pipeline("p", model="m", kind=WindowKind.TUMBLING, size=1))
    sizes = []
    for number in range(50):
        world.deliver(event(number), first=number + 1)
        world.settle()
        sizes.append(sum(len(state) for key, state in world.store.pipeline_states("p").items() if key == "a"))
    assert max(sizes) - min(sizes[5:]) < 10  # the sensor's own state does not grow with them
    assert len(world.store.pipeline_states("p")) == 1 + 49
    world.restart()
    assert [item.values["v"] for item, _ in world.models.waiting] == [[float(number)] for number in range(49)]
    world.models.answer(49)
    world.settle()
    assert len(world.store.pipeline_states("p")) == 1
    assert [item.outcome.score for item in world.results()] == [float(number) for number in range(49)]


def test_stored_windows_of_another_kind_are_removed(make: Callable[..., World]) -> None:
    world = make(pipeline("p", model="m", kind=WindowKind.TUMBLING, size=1))
    world.deliver(event(1), event(2), event(3))
    world.settle()
    assert len(world.store.pipeline_states("p")) == 3
    world.settings = replace(world.settings, pipelines=(pipeline("p", model="m", size=9),))
    world.restart()
    world.deliver(event(4), first=4)
    world.settle()
    assert list(world.store.pipeline_states("p")) == ["a"]
