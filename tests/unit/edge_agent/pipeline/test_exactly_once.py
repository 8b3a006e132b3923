"""Crashes at arbitrary points against an uninterrupted run: every result once, and the same results.

`Device` does what the engine does, with dictionaries in place of the database and the broker.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.ingest.events import Sample
from edge_agent.pipeline.decision import Decided
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.windows import ClosedWindow, Event, Fed
from edge_agent.settings import (
    AlarmSettings,
    DebounceSettings,
    DecisionSettings,
    IngestSettings,
    PipelineSettings,
    WindowKind,
    WindowSettings,
)
from fleet_contract.manifest import Decision

Answer = tuple[str, str, tuple[str, ...], Decided]
"""Of a result: sensor, lane, event ids, and all that was decided, its alarm and whether it is given out included."""
Result = tuple[tuple[str, int], Answer]
"""Result id and revision, answer."""


@dataclass(frozen=True)
class Reading:
    """What the broker holds."""

    event_id: str
    device: str
    time: float | None
    historical: bool = False


@dataclass
class Disk:
    """What a crash leaves."""

    journal: dict[int, tuple[Reading, dict[str, int]]] = field(default_factory=dict)
    """With what each pipeline made of it."""
    states: dict[tuple[str, str], bytes] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    results: list[Result] = field(default_factory=list)
    last: int = 0


class Device:
    """One life of an agent, from a start to a crash."""

    def __init__(self, disk: Disk, pipelines: tuple[PipelineSettings, ...]) -> None:
        self.disk = disk
        self.pipelines = {item.name: Pipeline(item) for item in pipelines}
        for name, pipeline in self.pipelines.items():
            pipeline.restore({key: state for (owner, key), state in disk.states.items() if owner == name})
        self.pending: dict[str, deque[ClosedWindow]] = {name: deque() for name in self.pipelines}
        self.holds: dict[int, int] = {}
        self.known = set(disk.taken)
        self.clock = 0.0
        self.last = disk.last
        self.clear()
        for number, (reading, placed) in sorted(disk.journal.items()):
            self.last = max(self.last, number)
            self.holds[number] = 1
            for name, pipeline in self.pipelines.items():
                fed = pipeline.reattach(to_event(number, reading), placed.get(name, 0))
                assert fed is not None
                self.holds[number] += 1
                self.apply(name, fed)
            self.release([number])
        for name, pipeline in self.pipelines.items():
            for fed in pipeline.resume():
                self.apply(name, fed)

    def clear(self) -> None:
        self.new: dict[int, tuple[Reading, dict[str, int]]] = {}
        self.taken: list[str] = []
        self.results: list[Result] = []
        self.touched: set[tuple[str, str]] = set()
        self.forget: list[int] = []

    def take(self, reading: Reading) -> None:
        if reading.event_id in self.known:
            return
        self.known.add(reading.event_id)
        self.taken.append(reading.event_id)
        self.last += 1
        number = self.last
        placed: dict[str, int] = {}
        self.new[number] = reading, placed
        self.holds[number] = 1
        for name, pipeline in self.pipelines.items():
            fed = pipeline.feed(to_event(number, reading))
            assert fed is not None
            placed[name] = fed.placed
            self.holds[number] += 1
            self.apply(name, fed)
        self.release([number])

    def apply(self, name: str, fed: Fed) -> None:
        for window in fed.closed:
            for event in window.events:
                self.holds[event.position] += 1
            self.pending[name].append(window)
            if fed.changed:
                self.touched.add((name, window.row_key))
        self.release(fed.released)
        if fed.changed:
            self.touched.add((name, fed.lane_key))

    def silence(self) -> None:
        """No event comes for longer than every time-out."""
        self.clock += 1000.0
        for _ in range(2):  # the first look sees who was there, the second who has been silent since
            for name, pipeline in self.pipelines.items():
                for fed in pipeline.sweep(self.clock):
                    self.apply(name, fed)
            self.clock += 1000.0

    def release(self, positions: Sequence[int]) -> None:
        for position in positions:
            self.holds[position] -= 1
            if not self.holds[position]:
                del self.holds[position]
                self.forget.append(position)

    def answer(self, name: str) -> None:
        """The model answers the oldest window of one pipeline."""
        if not self.pending[name]:
            return
        window = self.pending[name].popleft()
        pipeline = self.pipelines[name]
        score = sum(int(event.event_id) for event in window.events) % 10 / 10
        decided = pipeline.decide(window, [score], (), Decision())
        ids = tuple(event.event_id for event in window.events)
        self.results.append(((pipeline.result_id(window), window.revision), (window.key, window.timeliness, ids, decided)))
        pipeline.finish(window)
        self.touched |= {(name, window.lane_key), (name, window.row_key)}
        self.release([event.position for event in window.events])

    def commit(self) -> None:
        disk = self.disk
        for number, row in self.new.items():
            if number in self.holds:
                disk.journal[number] = row
        for number in self.forget:
            disk.journal.pop(number, None)
        disk.taken.update(self.taken)
        disk.results += self.results
        for name, key in self.touched:
            state = self.pipelines[name].state(key)
            if state is None:
                disk.states.pop((name, key), None)
            else:
                disk.states[name, key] = state
        disk.last = self.last
        self.clear()


def to_event(number: int, reading: Reading) -> Event:
    quality = ("historical",) if reading.historical else ()
    return Event(number, reading.event_id, Sample(reading.device, reading.time, None, {"x": reading.time}, {}, None, quality))


def pipeline(name: str, window: WindowSettings) -> PipelineSettings:
    return PipelineSettings(
        name=name,
        source=IngestSettings(topic="#"),
        window=window,
        model="m",
        decision=DecisionSettings(
            threshold=0.6,
            hysteresis=0.2,
            debounce=DebounceSettings(n=2, of=3),
            deadband=0.25,
            heartbeat=4,
            min_interval=1,
            alarm=AlarmSettings(update_interval=2, escalate_after=5),
        ),
    )


@st.composite
def windows(draw: st.DrawFn) -> WindowSettings:
    size = draw(st.integers(1, 5))
    step = draw(st.integers(1, size))
    lanes: dict[str, Any] = {
        "backlog_after": draw(st.sampled_from([None, 3.0])),
        "max_jump": draw(st.sampled_from([None, 6.0])),
    }
    kind = draw(st.sampled_from(WindowKind))
    if kind is WindowKind.COUNT:
        return WindowSettings(size=size, step=draw(st.sampled_from([None, step])), **lanes)
    late: dict[str, Any] = {
        "delay": draw(st.sampled_from([0.0, 0.5, 3.0])),
        "lateness": draw(st.sampled_from([0.0, 0.5, 4.0])),
        **lanes,
    }
    if kind is WindowKind.SESSION:
        return WindowSettings(kind=kind, gap=size / 2, max_length=draw(st.sampled_from([0.5, 4.0, 100.0])), **late)
    return WindowSettings(kind=kind, size=size, step=step if kind is WindowKind.HOPPING else None, **late)


def to_stream(items: list[tuple[str, float | None, bool]]) -> list[Reading]:
    return [Reading(str(number), device, time, old) for number, (device, time, old) in enumerate(items)]


SELDOM = st.sampled_from([False] * 9 + [True])
TIMES = st.integers(-4, 40).map(lambda value: value / 2)
STREAMS = st.lists(st.tuples(st.sampled_from("ab"), TIMES | st.none(), SELDOM), min_size=8, max_size=24).map(to_stream)
RISING = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([-4.5, -1.5, 0.0, 0.5, 1.0, 1.5, 7.0]), SELDOM), min_size=8, max_size=24
).map(
    lambda items: to_stream(
        [(device, sum(step for _, step, _ in items[: number + 1]), old) for number, (device, _, old) in enumerate(items)]
    )
)
STEPS = st.lists(
    st.sampled_from(["take", "take", "take", "take", "answer one", "answer two", "commit", "crash", "crash in acks"]),
    min_size=30,
    max_size=70,
)


def uninterrupted(stream: list[Reading], pipelines: tuple[PipelineSettings, ...]) -> dict[tuple[str, int], Answer]:
    disk = Disk()
    device = Device(disk, pipelines)
    for reading in stream:
        device.take(reading)
        for name in device.pipelines:
            while device.pending[name]:
                device.answer(name)
    device.commit()
    assert len(dict(disk.results)) == len(disk.results), "two windows share a result id"
    return dict(disk.results)


@settings(max_examples=400, deadline=None)
@given(stream=STREAMS | RISING, one=windows(), two=windows(), steps=STEPS, repeat=st.integers(0, 5))
def test_crashes_at_any_point_neither_lose_nor_repeat_a_result(
    stream: list[Reading], one: WindowSettings, two: WindowSettings, steps: list[str], repeat: int
) -> None:
    pipelines = (pipeline("one", one), pipeline("two", two))
    disk = Disk()
    device = Device(disk, pipelines)
    delivered = acknowledged = 0
    for step in steps:
        if step == "take" and delivered < len(stream):
            device.take(stream[delivered])
            delivered += 1
        elif step.startswith("answer"):
            device.answer(step.split()[1])
        elif step == "commit":
            device.commit()
            acknowledged = delivered
        elif step.startswith("crash"):
            # acknowledgements that did not reach the broker make it deliver again what is committed
            delivered = acknowledged if step == "crash" else max(acknowledged - repeat, 0)
            device = Device(disk, pipelines)
    for reading in stream[delivered:]:
        device.take(reading)
    for name in device.pipelines:
        while device.pending[name]:
            device.answer(name)
    device.commit()
    assert len(dict(disk.results)) == len(disk.results), "a result came twice"
    assert dict(disk.results) == uninterrupted(stream, pipelines)


@settings(max_examples=100, deadline=None)
@given(stream=STREAMS, one=windows())
def test_the_journal_keeps_only_what_a_window_still_needs(stream: list[Reading], one: WindowSettings) -> None:
    disk = Disk()
    device = Device(disk, (pipeline("one", one),))
    for reading in stream:
        device.take(reading)
        device.commit()
        while device.pending["one"]:
            device.answer("one")
        device.commit()
    assert set(disk.journal) == set(device.holds)
    if one.kind is WindowKind.COUNT:
        assert len(disk.journal) <= 4 * one.size  # two sensors with two lanes, each with an event held back at most


@settings(max_examples=200, deadline=None)
@given(
    stream=STREAMS | RISING,
    one=windows(),
    two=windows(),
    steps=st.lists(
        st.sampled_from(["take", "take", "take", "silence", "answer one", "answer two", "commit", "crash"]),
        min_size=30,
        max_size=80,
    ),
)
def test_silence_and_crashes_at_any_point_repeat_no_result_and_leave_nothing_behind(
    stream: list[Reading], one: WindowSettings, two: WindowSettings, steps: list[str]
) -> None:
    """What an idle time-out closes depends on the wall clock; that each window is answered once does not."""
    pipelines = (pipeline("one", replace(one, idle_timeout=1.0)), pipeline("two", replace(two, idle_timeout=1.0)))
    disk = Disk()
    device = Device(disk, pipelines)
    delivered = acknowledged = 0
    for step in steps:
        if step == "take" and delivered < len(stream):
            device.take(stream[delivered])
            delivered += 1
        elif step == "silence":
            device.silence()
        elif step.startswith("answer"):
            device.answer(step.split()[1])
        elif step == "commit":
            device.commit()
            acknowledged = delivered
        elif step == "crash":
            delivered = acknowledged
            device = Device(disk, pipelines)
    for reading in stream[delivered:]:
        device.take(reading)
    device.silence()
    device.silence()
    for name in device.pipelines:
        while device.pending[name]:
            device.answer(name)
    device.commit()
    assert len(dict(disk.results)) == len(disk.results), "a result came twice"
    revisions: dict[str, list[int]] = {}
    for (name, revision), _ in disk.results:
        revisions.setdefault(name, []).append(revision)
    assert all(found == list(range(len(found))) for found in revisions.values()), "a revision is missing"
    kinds = {one.kind, two.kind}
    if kinds <= {WindowKind.TUMBLING, WindowKind.HOPPING, WindowKind.SESSION}:
        assert len(disk.journal) <= 8, "only what is held back stays"  # one event in each lane of two sensors and pipelines
    assert len(disk.journal) == len(device.holds)
