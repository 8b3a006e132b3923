"""A day without the fleet broker: a million events on a virtual clock through engine, store and sender, and what follows.

Twenty sensors publish 1,000,000 events in 24 hours. Each gives a plain result, every tenth of a sensor a durable one, and a few
cannot be read, which is told in notes. The link of the fleet is down all day. Then it comes up, with a PUBACK after 40 ms and
the controller's acknowledgement after 100 ms, and the backlog drains while the events go on. Engine, store and sender are those
of the daemon; the brokers and the clock of sender and events are not real, so the day takes minutes.

`run` raises AssertionError when an order is broken or a row unaccounted for.
"""

import heapq
import itertools
import logging
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from benchmarks.figures import FOLDER, Figure, write
from edge_agent.engine import Engine
from edge_agent.inference.answers import Answer, Failure, ModelInput
from edge_agent.inference.input_queue import Lane
from edge_agent.journal.batch import FLEET
from edge_agent.journal.store import Store
from edge_agent.link.port import NO_PROPERTIES, Delivery
from edge_agent.loop import Loop
from edge_agent.outbox.drain import Drain
from edge_agent.outbox.sender import Sender
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.settings import AgentSettings, BrokerSettings, IngestSettings, PipelineSettings, StoreSettings, WindowSettings
from fleet_contract.messages import Ack, to_ranges

EVENTS: Final = 1_000_000
DAY: Final = 86400.0
BEGIN: Final = 1_750_000_000.0
SENSORS: Final = 20
UNREADABLE_EVERY: Final = 997
GROUP: Final = 250
STEP: Final = 0.02
"""Virtual seconds between two turns of the brokers."""
PUBACK_AFTER: Final = 0.04
ACK_AFTER: Final = 0.1
WINDOW: Final = 64
FILE_PER_PAYLOAD: Final = 1.5
"""How much larger than `max_outbox_bytes` the files may become: keys, topics, pages that are not full, and the WAL."""


class VirtualTime:
    """The sender's clock and timers."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def call_later(self, delay: float, call: Callable[[], object]) -> None:
        """As the loop's."""
        heapq.heappush(self._timers, (self.now + delay, next(self._numbers), call))

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that is due."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, call = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            call()
        self.now = end


class Brokers:
    """The fleet broker and the controller behind it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._flying: deque[tuple[float, int]] = deque()
        self._committing: deque[tuple[float, int]] = deque()
        self._newest: dict[str, int] = {}
        self.received: Counter[str] = Counter()
        """Rows by topic, each once."""

    @property
    def free_window(self) -> int:
        """As the link's."""
        return WINDOW - len(self._flying)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, token: int) -> bool:
        """As the link's. Nothing is lost here, so each row must come once, and those of a class in their order."""
        kind = "note" if topic.endswith("/note") else "durable" if topic.endswith("/durable") else "plain"
        assert token > self._newest.get(kind, 0), f"{kind} row {token} after {self._newest[kind]}"
        self._newest[kind] = token
        self.received[kind] += 1
        self._flying.append((self._now() + PUBACK_AFTER, token))
        if kind != "plain":
            self._committing.append((self._now() + ACK_AFTER, token))
        return True

    def answer(self, sender: Sender, stream: str) -> None:
        """Give the sender what is due."""
        pubacks = _take_due(self._flying, self._now())
        if pubacks:
            sender.on_published([(seq, True) for seq in pubacks])
        committed = _take_due(self._committing, self._now())
        if committed:
            sender.acknowledged(Ack(stream=stream, ranges=to_ranges(committed)))


def _take_due(waiting: deque[tuple[float, int]], now: float) -> list[int]:
    due = []
    while waiting and waiting[0][0] <= now:
        due.append(waiting.popleft()[1])
    return due


class Site:
    """The site link: counts what is acknowledged."""

    connected = True

    def __init__(self) -> None:
        self.acked = 0

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """As the link's."""
        self.acked += len(deliveries)


class NoModels:
    """No pipeline here asks any."""

    def submit(
        self,
        name: str,
        item: ModelInput,
        done: Callable[[Answer | Failure], object],
        lane: Lane | None = None,
        sensor: str = "",
    ) -> None:
        """As `Models.submit`."""
        raise AssertionError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a day came to."""

    events: int
    results: int
    evicted: int
    notes: int
    most_rows: int
    most_file_bytes: int
    """agent.db, its WAL and its shared memory, at their largest."""
    drain_seconds: float
    """On the virtual clock, from the connect to the empty outbox."""
    drained: int
    live: int
    """Events that came and were acknowledged in the meantime."""
    cpu_intake: float
    """Microseconds for each event during the outage."""
    cpu_drain: float
    """Microseconds for each row that left."""
    memory_growth: int
    """Of the process, from before the first event to its largest, in bytes."""


class Day:
    """One device, its sensors and its brokers."""

    def __init__(self, folder: Path, store: StoreSettings) -> None:
        source = IngestSettings(topic="farm/+/weather", device_level=1)
        broker = BrokerSettings()
        settings = AgentSettings(
            device="farm-1",
            state_dir=str(folder),
            control_socket="unused",
            mqtt=broker,
            site=broker,
            store=replace(store, commit_delay=0.0),
            pipelines=(
                PipelineSettings(name="plain", source=source),
                PipelineSettings(name="durable", source=source, durable=True, window=WindowSettings(size=10)),
            ),
        )
        self.folder = folder
        self.loop = Loop()
        self.time = VirtualTime()
        self.store = Store(folder / "agent.db", settings.store, self.loop.post)
        self.site = Site()
        pipelines = [Pipeline(item) for item in settings.pipelines]
        self.engine = Engine(settings, self.loop, self.store, pipelines, NoModels(), wall=None)
        self.engine.attach(self.site)
        self.brokers = Brokers(lambda: self.time.now)
        drain = Drain(store.drain_rate, store.drain_jitter, lambda: 0.5)
        self.sender = Sender(self.brokers, self.store, self.time, FLEET, drain=drain, clock=lambda: self.time.now)
        self.fed = 0
        self.most_rows = 0
        self.most_file_bytes = 0
        self._process = psutil.Process()
        self._memory_before = self._process.memory_info().rss
        self.memory_growth = 0

    def feed(self, count: int, seconds: float) -> None:
        """So many events, evenly over so many seconds, and wait until they are taken over."""
        deliveries = []
        for number in range(self.fed, self.fed + count):
            when = BEGIN + self.time.now + (number - self.fed) * seconds / count
            stamp = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
            payload = b'{"id":"e%d","time":"%s","temperature":%d.5}' % (number, stamp.encode(), number % 40)
            if number % UNREADABLE_EVERY == UNREADABLE_EVERY - 1:
                payload = b"\xff"
            topic = f"farm/s{number % SENSORS}/weather"
            deliveries.append(Delivery(topic, payload, 1, False, False, number & 0xFFFF, 0, NO_PROPERTIES))
        self.fed += count
        self.engine.on_deliveries(deliveries)
        assert self.loop.run_until(lambda: self.engine.idle, 60), "the engine stands still"
        self.time.advance(seconds)
        self._look()

    def drain(self, interval: float) -> float:
        """Connect, and go on until the outbox is empty; an event comes every `interval` seconds. The virtual seconds."""
        start = self.time.now
        next_event = start
        self.sender.on_up()
        while self.store.counts.outbox_rows:
            assert self.time.now - start < 10 * DAY, "the outbox does not drain"
            self.time.advance(STEP)
            self.brokers.answer(self.sender, self.store.stream)
            while next_event <= self.time.now and self.sender.unsettled:
                next_event += interval
                self.feed(1, 0.0)
            self.loop.turn(0.0 if self.sender.unsettled else STEP)
        self._look()
        return self.time.now - start

    def close(self) -> None:
        """Release everything."""
        self.sender.close()
        assert self.store.close(60)
        self.loop.close()

    def _look(self) -> None:
        self.most_rows = max(self.most_rows, self.store.counts.outbox_rows)
        files = sum(path.stat().st_size for path in self.folder.glob("agent.db*") if path.suffix not in (".ballast", ".lock"))
        self.most_file_bytes = max(self.most_file_bytes, files)
        self.memory_growth = max(self.memory_growth, self._process.memory_info().rss - self._memory_before)


def run(folder: Path, events: int, store: StoreSettings) -> Outcome:
    """Play a day with so many events."""
    day = Day(folder, store)
    try:
        cpu = time.process_time()
        for first in range(0, events, GROUP):
            count = min(GROUP, events - first)
            day.feed(count, count * DAY / events)
        cpu_intake = time.process_time() - cpu
        backlog = day.store.counts.outbox_rows
        assert backlog
        assert not day.brokers.received
        cpu = time.process_time()
        drain_seconds = day.drain(DAY / events)
        cpu_drain = time.process_time() - cpu
        counters, evicted = day.engine.counters, day.store.stats()
        received = day.brokers.received
        assert day.site.acked == day.fed == counters["events"], "an event was not acknowledged"
        gone = evicted["outbox_evicted_plain"]
        assert received["plain"] + received["durable"] + gone == counters["results"], "a result is unaccounted for"
        assert evicted["outbox_evicted_results"] == evicted["outbox_evicted_notes"] == 0
        assert received["note"] > 0
        drained = received.total()
        return Outcome(
            events=events,
            results=counters["results"],
            evicted=gone,
            notes=received["note"],
            most_rows=day.most_rows,
            most_file_bytes=day.most_file_bytes,
            drain_seconds=drain_seconds,
            drained=drained,
            live=day.fed - events,
            cpu_intake=cpu_intake / events * 1e6,
            cpu_drain=cpu_drain / drained * 1e6,
            memory_growth=day.memory_growth,
        )
    finally:
        day.close()


def main() -> None:
    """The full day with the default settings."""
    logging.getLogger("edge_agent.notes").setLevel(logging.ERROR)  # what the notes tell is counted
    settings = StoreSettings()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        outcome = run(Path(folder), EVENTS, settings)
    print(f"\n{outcome}")
    bound = int(settings.max_outbox_bytes * FILE_PER_PAYLOAD)
    assert outcome.most_file_bytes <= bound, f"the files grew to {outcome.most_file_bytes} bytes"
    rate = outcome.drained / outcome.drain_seconds
    write(
        "outage",
        [
            Figure("most_file_bytes", "bytes", [outcome.most_file_bytes], [bound], "bound_from_settings"),
            Figure("drained_rows_per_second", "rows/s", [rate], [settings.drain_rate], "drain_rate"),
            Figure("memory_growth", "bytes", [outcome.memory_growth], [settings.max_outbox_bytes], "max_outbox_bytes"),
            Figure("cpu_per_event_during_outage", "us", [outcome.cpu_intake], [DAY / EVENTS * 1e6], "time_between_two_events"),
            Figure("cpu_per_drained_row", "us", [outcome.cpu_drain], [1e6 / settings.drain_rate], "time_at_drain_rate"),
        ],
    )


if __name__ == "__main__":
    main()
