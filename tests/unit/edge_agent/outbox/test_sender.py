"""The sender on an in-memory link, a virtual clock and the real store."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from edge_agent.journal import reader as reading
from edge_agent.journal.batch import Batch, OutboxRow, Priority, Publishing
from edge_agent.journal.errors import StoreError
from edge_agent.journal.store import Store
from edge_agent.link.port import Receipt
from edge_agent.loop import Loop
from edge_agent.outbox.drain import Drain
from edge_agent.outbox.sender import Sender
from edge_agent.settings import StoreSettings
from fleet_contract.messages import Ack


class MemoryLink:
    def __init__(self, window: int = 64) -> None:
        self.window = window
        self.flying: list[int] = []
        self.log: list[tuple[int, bytes]] = []
        self.special: dict[int, tuple[bool, Mapping[str, object] | None]] = {}

    @property
    def free_window(self) -> int:
        return self.window - len(self.flying)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        token: int,
        properties: Mapping[str, object] | None = None,
    ) -> bool:
        assert token not in self.flying
        if self.free_window <= 0:
            return False
        if retain or properties:
            self.special[token] = (retain, properties)
        self.flying.append(token)
        self.log.append((token, payload))
        return True

    def seqs(self) -> list[int]:
        return [seq for seq, _ in self.log]


class VirtualTime:
    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, delay: float, call: Callable[[], object]) -> None:
        self.timers.append((self.now + delay, call))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        turns = 0
        while due := sorted((timer for timer in self.timers if timer[0] <= end), key=lambda timer: timer[0]):
            turns += 1
            assert turns < 1000, "timers spin"
            self.timers.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1]()
        self.now = end


class Bench:
    """A store, a link, a clock, and the sender between them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = Loop()
        self.time = VirtualTime()
        self.open()

    def open(
        self, link_name: str = "fleet", drain: Drain | None = None, settings: StoreSettings | None = None, window: int = 64
    ) -> None:
        self.store = Store(self.path, settings or StoreSettings(), self.loop.post)
        self.link = MemoryLink(window)
        self.sender = Sender(self.link, self.store, self.time, link_name, drain=drain, clock=lambda: self.time.now)

    def close(self) -> None:
        self.sender.close()
        assert self.store.close()

    def add(
        self, count: int, *, durable: bool, link: str = "fleet", kind: str = "result", priority: Priority | None = None
    ) -> None:
        answers: list[StoreError | None] = []
        rows = [
            OutboxRow(kind, "t", b'{"n":%d}' % number, durable=durable, link=link, priority=priority) for number in range(count)
        ]
        self.store.submit(Batch(outbox=rows), answers.append)
        assert self.loop.run_until(lambda: answers == [None], 20)

    def puback(self, ok: bool = True) -> None:
        flying, self.link.flying = self.link.flying, []
        self.sender.on_published([(seq, ok) for seq in flying])

    def puback_all(self) -> None:
        while self.link.flying:
            self.puback()

    def ack(self, *ranges: tuple[int, int]) -> None:
        self.sender.acknowledged(Ack(stream=self.store.stream, ranges=ranges))

    def rows_left(self, count: int) -> bool:
        return self.loop.run_until(lambda: self.store.counts.outbox_rows == count, 20)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "agent.db")
    yield bench
    bench.close()
    bench.loop.close()


def test_a_plain_row_leaves_on_the_brokers_puback(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(3, durable=False)
    assert bench.link.log == [(1, b'{"n":0}'), (2, b'{"n":1}'), (3, b'{"n":2}')]
    assert bench.sender.counters["pages"] <= len(Priority)
    bench.puback()
    assert bench.rows_left(0)


def test_a_durable_row_leaves_on_the_controllers_acknowledgement_alone(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(2, durable=True)
    assert json.loads(bench.link.log[1][1]) == {"stream": bench.store.stream, "seq": 2, "n": 1}
    bench.puback()
    bench.sender.acknowledged(Ack(stream="another", ranges=((1, 2),)))
    assert bench.sender.counters["acks_foreign"] == 1
    assert bench.sender.unsettled == 2
    bench.ack((2, 2))
    assert bench.rows_left(1)
    bench.time.advance(30)
    assert bench.link.seqs() == [1, 2, 1]
    bench.puback()
    bench.ack((1, 1))
    assert bench.rows_left(0)
    bench.time.advance(5000)
    assert bench.link.seqs() == [1, 2, 1]


def test_everything_unsettled_is_sent_again_in_order_on_reconnect_before_new_rows(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(100, durable=False)
    assert bench.link.seqs() == list(range(1, 65))
    bench.puback(ok=False)
    bench.sender.on_down()
    bench.link.flying.clear()
    bench.link.log.clear()
    bench.time.advance(100)
    assert bench.link.log == []
    bench.sender.on_up()
    bench.puback_all()
    assert bench.link.seqs() == list(range(1, 101))
    assert bench.rows_left(0)


def test_the_unsettled_durable_rows_are_bounded(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(600, durable=True)
    bench.puback_all()
    assert bench.link.seqs() == list(range(1, 209))
    bench.ack((1, 200), (205, 205))
    bench.puback_all()
    assert bench.link.seqs() == list(range(1, 410))
    assert bench.sender.unsettled == 208
    assert bench.rows_left(399)


def test_a_silent_controller_keeps_durable_rows_from_leaving_and_no_others(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(600, durable=True)
    bench.puback_all()
    bench.add(100, durable=False)
    bench.add(1, durable=True, kind="note")
    bench.puback_all()
    assert sorted(bench.link.seqs()[208:]) == list(range(601, 702))
    assert bench.rows_left(601)


def test_higher_classes_go_first_and_each_in_its_order(bench: Bench) -> None:
    bench.add(40, durable=False)
    bench.add(40, durable=True)
    bench.add(2, durable=True, kind="note")
    bench.add(1, durable=False, priority=Priority.NOTE)
    bench.sender.on_up()
    first = bench.link.seqs()
    assert first == [81, 82, 83, *range(41, 81), *range(1, 22)]
    bench.sender.on_down()
    bench.link.flying.clear()
    bench.link.log.clear()
    bench.sender.on_up()
    bench.puback_all()
    assert bench.link.seqs() == [81, 82, 83, *range(41, 81), *range(1, 41)]


def test_plain_rows_behind_many_durable_ones_are_found_while_the_loop_turns(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WALKED_SEQS", 100)
    bench.add(900, durable=True)
    bench.add(3, durable=False)
    bench.sender.on_up()
    bench.puback_all()
    bench.time.advance(0)
    bench.puback_all()
    assert bench.link.seqs()[208:] == [901, 902, 903]


def test_a_long_backlog_is_paged_in_order_and_none_is_sent_twice(bench: Bench) -> None:
    for _ in range(5):
        bench.add(400, durable=False)
    bench.sender.on_up()
    bench.puback()
    bench.add(100, durable=False)
    bench.puback_all()
    assert bench.link.seqs() == list(range(1, 2101))
    assert bench.sender.counters["pages"] > 5
    assert bench.rows_left(0)
    bench.add(1, durable=False)
    assert bench.link.seqs()[-1] == 2101


def test_after_a_restart_what_was_not_settled_is_sent_again_and_nothing_else(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(5, durable=True)
    bench.puback()
    bench.ack((2, 3))
    assert bench.rows_left(3)
    bench.close()
    bench.open()
    bench.sender.on_up()
    assert bench.link.seqs() == [1, 4, 5]
    bench.ack((1, 5))
    assert bench.rows_left(0)


def test_a_message_that_the_broker_refuses_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(2, durable=False)
    bench.link.flying.clear()
    bench.sender.on_published([(1, False), (2, True)])
    assert bench.rows_left(1)
    bench.add(1, durable=False)
    assert bench.link.seqs() == [1, 2, 3]
    bench.time.advance(1)
    assert bench.link.seqs() == [1, 2, 3, 1]
    bench.puback()
    assert bench.rows_left(0)


def test_a_durable_row_that_found_no_controller_is_sent_again_soon(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(1, durable=True)
    bench.link.flying.clear()
    bench.sender.on_published([(1, Receipt.UNHEARD)])
    bench.time.advance(1)
    assert bench.link.seqs() == [1, 1]
    bench.link.flying.clear()
    bench.sender.on_published([(1, Receipt.UNHEARD)])
    bench.time.advance(1)
    assert bench.link.seqs() == [1, 1]
    bench.time.advance(1)
    assert bench.link.seqs() == [1, 1, 1]
    assert bench.sender.counters["unheard"] == 2
    bench.sender.on_published([(1, Receipt.TAKEN)])
    bench.time.advance(29)
    assert bench.link.seqs() == [1, 1, 1]


def test_a_plain_row_that_nobody_listens_to_is_settled(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(1, durable=False)
    bench.sender.on_published([(1, Receipt.UNHEARD)])
    assert bench.rows_left(0)


def test_each_link_gets_its_own_rows(bench: Bench) -> None:
    link = MemoryLink()
    site = Sender(link, bench.store, bench.time, "site", clock=lambda: bench.time.now)
    site.on_up()
    bench.sender.on_up()
    bench.add(2, durable=False)
    bench.add(2, durable=False, link="site")
    assert bench.link.seqs() == [1, 2]
    assert link.seqs() == [3, 4]
    site.on_published([(3, True), (4, True)])
    assert bench.rows_left(2)
    site.close()


def test_an_acknowledgement_that_overtakes_the_puback_settles_the_row(bench: Bench) -> None:
    bench.sender.on_up()
    bench.add(1, durable=True)
    bench.ack((1, 1))
    bench.puback()
    assert bench.rows_left(0)
    bench.sender.on_down()
    bench.sender.on_up()
    assert bench.link.seqs() == [1]


def test_how_a_row_is_published_outlives_a_restart(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "agent.db")
    event = Publishing(content_type="application/json", user=(("id", "1"), ("type", "t")))
    rows = [
        OutboxRow("output", "t", b"{}", durable=False, link="site", publishing=how)
        for how in (None, Publishing(retain=True), event)
    ]
    bench.store.submit(Batch(outbox=rows), None)
    bench.close()
    bench.open("site")
    bench.sender.on_up()
    properties = {"content_type": "application/json", "user": [("id", "1"), ("type", "t")]}
    assert bench.link.special == {2: (True, None), 3: (False, properties)}
    assert bench.link.seqs() == [1, 2, 3]
    bench.close()


def drain_for(bench: Bench, seconds: float) -> list[int]:
    """Seqs sent in so many virtual seconds on a broker that confirms every 10 ms."""
    before = len(bench.link.log)
    for _ in range(round(seconds * 100)):
        bench.time.advance(0.01)
        bench.puback()
    return bench.link.seqs()[before:]


def test_a_backlog_drains_at_its_rate_while_notes_and_new_rows_go_on(bench: Bench) -> None:
    bench.close()
    bench.open(drain=Drain(200.0, 2.0, lambda: 0.5))
    bench.add(400, durable=False)
    bench.add(200, durable=False)
    bench.add(3, durable=True, kind="note")
    bench.sender.on_up()
    assert bench.link.seqs() == [601, 602, 603]
    bench.ack((601, 603))
    assert drain_for(bench, 0.99) == []
    assert len(drain_for(bench, 1.01)) in range(215, 225)
    before = len(bench.link.log)
    bench.add(100, durable=False)
    drain_for(bench, 1.0)
    assert len(bench.link.log) - before in range(295, 305)
    drain_for(bench, 1.0)
    assert bench.link.seqs()[3:] == [*range(1, 601), *range(604, 704)]
    bench.add(1, durable=False)
    assert bench.link.seqs()[-1] == 704


def test_a_connect_without_a_backlog_holds_nothing_up(bench: Bench) -> None:
    bench.close()
    bench.open(drain=Drain(200.0, 2.0, lambda: 1.0))
    bench.sender.on_up()
    bench.add(30, durable=False)
    assert bench.link.seqs() == list(range(1, 31))
    bench.puback()
    bench.sender.on_down()
    bench.sender.on_up()
    bench.add(1, durable=False)
    assert bench.link.seqs()[-1] == 31


def test_rows_that_were_evicted_meanwhile_do_no_harm(bench: Bench) -> None:
    bench.close()
    bench.open(settings=StoreSettings(max_outbox_rows=20), window=5)
    bench.sender.on_up()
    bench.add(19, durable=False)
    bench.add(10, durable=False)  # takes the places of rows that are flying, and of rows in memory
    assert bench.store.stats()["outbox_evicted_plain"] == 10
    bench.puback_all()
    assert bench.rows_left(0)
    assert bench.link.seqs() == list(range(1, 30))
    assert bench.sender.unsettled == bench.sender.counters["store_errors"] == 0
    bench.sender.on_down()
    bench.add(19, durable=False)
    bench.add(10, durable=False)
    bench.sender.on_up()
    bench.puback_all()
    assert bench.rows_left(0)
    assert bench.link.seqs() == sorted(set(bench.link.seqs()))
    assert bench.link.seqs()[-10:] == list(range(49, 59))
