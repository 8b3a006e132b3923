"""The link and a broker that sends more than it may and answers late: Mosquitto 2.0.11 with a backlog, played by a socket."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from edge_agent.link.connection import MOST_OPEN, MOST_OPEN_BYTES
from edge_agent.link.port import Delivery, Receipt
from edge_agent.link.session import Link
from edge_agent.loop import Loop
from edge_agent.settings import BrokerSettings

PATIENCE = 20.0
CONNACK = b"\x20\x03\x00\x00\x00"
PINGRESP = b"\xd0\x00"
CONNECT, PUBACK, SUBSCRIBE, PINGREQ = 1, 4, 8, 12


class SlowBroker:
    """Takes one client, sends it what it is told to, and counts what comes."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.acked = 0
        self.pings = 0
        self.answering = True
        self._peer: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def publish(self, count: int, size: int = 0) -> None:
        """Send so many messages at QoS 1 of so many bytes, whatever the client's Receive Maximum is."""
        assert self._peer is not None
        length, head = 6 + size, bytearray(b"\x32")
        while length > 127:
            head.append(length & 127 | 128)
            length >>= 7
        head.append(length)
        for mid in range(1, count + 1):
            self._peer.sendall(bytes(head) + b"\x00\x01a" + mid.to_bytes(2, "big") + b"\x00" + bytes(size))

    def answer_pings(self, count: int) -> None:
        """Send so many answers."""
        assert self._peer is not None
        self._peer.sendall(PINGRESP * count)

    def close(self) -> None:
        self._server.close()
        if self._peer is not None:
            with contextlib.suppress(OSError):  # the other end was faster
                self._peer.shutdown(socket.SHUT_RDWR)
            self._peer.close()
        self._thread.join(5.0)

    def _serve(self) -> None:
        try:
            self._peer, _ = self._server.accept()
            stream = self._peer.makefile("rb")
            while head := stream.read(1):
                size = stream.read(1)[0]
                assert size < 128
                self._take(head[0] >> 4, stream.read(size))
        except OSError:
            return

    def _take(self, kind: int, body: bytes) -> None:
        assert self._peer is not None
        if kind == CONNECT:
            self._peer.sendall(CONNACK)
        elif kind == SUBSCRIBE:
            self._peer.sendall(b"\x90\x04" + body[:2] + b"\x00\x01")
        elif kind == PUBACK:
            self.acked += 1
        elif kind == PINGREQ:
            self.pings += 1
            if self.answering:
                self._peer.sendall(PINGRESP)


class Recorder:
    """A handler that acknowledges when it is told to."""

    def __init__(self) -> None:
        self.ups = 0
        self.downs: list[str] = []
        self.open: list[Delivery] = []
        self.most_open = 0
        self.arrived = 0

    def on_up(self, session_present: bool) -> None:
        self.ups += 1

    def on_down(self, reason: str) -> None:
        self.downs.append(reason)

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        self.arrived += len(deliveries)
        self.open += deliveries
        self.most_open = max(self.most_open, len(self.open))

    def on_published(self, outcomes: list[tuple[int, Receipt]]) -> None:
        raise AssertionError


class Pair:
    """A link and its broker."""

    def __init__(self, **settings: float) -> None:
        self.broker = SlowBroker()
        self.loop = Loop()
        self.handler = Recorder()
        broker = BrokerSettings(port=self.broker.port, backoff_min=60.0, **settings)  # type: ignore[arg-type]
        self.link = Link("test", "x", broker, self.handler, self.loop.post, filters=[("a", 1)])
        self.link.start()
        assert self.loop.run_until(lambda: self.handler.ups == 1, PATIENCE)

    def acknowledge(self, count: int) -> None:
        done, self.handler.open = self.handler.open[:count], self.handler.open[count:]
        self.link.ack(done)

    def close(self) -> None:
        self.broker.close()
        self.link.stop()
        self.loop.close()


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(**request.param)
    yield made
    made.close()


@pytest.mark.parametrize("pair", [{"receive_maximum": 10}], indirect=True)
def test_what_a_broker_sends_beyond_the_receive_maximum_waits_in_its_own_buffers(pair: Pair) -> None:
    most = 10 * MOST_OPEN
    pair.broker.publish(2 * most)
    assert pair.loop.run_until(lambda: pair.handler.arrived == most, PATIENCE)
    assert not pair.loop.run_until(lambda: pair.handler.arrived > most, 0.3)
    while pair.handler.arrived < 2 * most:
        before = pair.handler.arrived
        pair.acknowledge(37)
        assert pair.loop.run_until(lambda before=before: pair.handler.arrived > before, PATIENCE)
    assert pair.handler.most_open == most
    pair.acknowledge(most)
    assert pair.loop.run_until(lambda: pair.broker.acked == 2 * most, PATIENCE)
    assert pair.handler.downs == []


@pytest.mark.parametrize("pair", [{"receive_maximum": 100}], indirect=True)
def test_large_messages_wait_in_the_brokers_buffers_earlier(pair: Pair) -> None:
    size = 512 * 1024
    threading.Thread(target=pair.broker.publish, args=(20, size), daemon=True).start()
    most = MOST_OPEN_BYTES // size
    assert pair.loop.run_until(lambda: pair.handler.arrived == most, PATIENCE)
    assert not pair.loop.run_until(lambda: pair.handler.arrived > most, 0.3)
    while pair.handler.arrived < 20:
        pair.acknowledge(2)
        pair.loop.run_until(lambda: pair.handler.arrived == 20, 0.1)
    assert pair.handler.most_open == most
    assert pair.handler.downs == []


@pytest.mark.parametrize("pair", [{"receive_maximum": 100, "keepalive": 1.0}], indirect=True)
def test_a_broker_that_has_acknowledgements_to_work_off_may_answer_a_ping_late(pair: Pair) -> None:
    pair.broker.answering = False
    pair.broker.publish(100)
    assert pair.loop.run_until(lambda: pair.handler.arrived == 100, PATIENCE)
    pair.acknowledge(100)
    assert pair.loop.run_until(lambda: pair.broker.pings == 4, PATIENCE)
    assert pair.handler.downs == []
    pair.broker.answer_pings(pair.broker.pings)
    assert pair.loop.run_until(lambda: bool(pair.handler.downs), PATIENCE)
    assert "Keep alive timeout" in pair.handler.downs[0]
    assert pair.broker.pings <= 6


@pytest.mark.parametrize("pair", [{"receive_maximum": 2, "keepalive": 1.0}], indirect=True)
def test_a_link_that_reads_nothing_because_nothing_is_acknowledged_keeps_the_connection_up(pair: Pair) -> None:
    most = 2 * MOST_OPEN
    pair.broker.publish(3 * most)
    assert pair.loop.run_until(lambda: pair.broker.pings == 3, PATIENCE)
    assert pair.handler.arrived == most
    while pair.handler.open:
        pair.acknowledge(most)
        pair.loop.run_until(lambda: pair.handler.arrived == 3 * most, 0.5)
    assert pair.loop.run_until(lambda: pair.broker.acked == 3 * most, PATIENCE)
    assert pair.handler.downs == []
