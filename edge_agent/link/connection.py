"""One connection to a broker, from CONNECT to its end: one generation of a link.

Each connection has a paho client of its own. The session (subscriptions, queued and unacknowledged messages) lives at the
broker under our client id; what is not confirmed lives in the outbox. A fresh client therefore loses nothing, cannot resend
anything by itself, and cannot confuse packet ids of two connections.

`run` belongs to the link's thread. `publish` and `ack` are called on the main thread: paho queues the packet and the link's
thread writes it, because `on_socket_register_write` is set (without it paho would write from both threads at once).
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.link import backoff, failure
from edge_agent.link.buffered_socket import BufferedSocket
from edge_agent.link.inflight import Arrivals, Window
from edge_agent.link.liveness import Liveness
from edge_agent.link.port import Delivery, Receipt, Will
from edge_agent.link.properties import from_paho, to_paho
from edge_agent.link.tls import tls_context
from edge_agent.link.wake import Wake
from edge_agent.settings import BrokerSettings

CONNACK_TIMEOUT: Final = 10.0
GOODBYE_TIMEOUT: Final = 3.0
MOST_QOS0_WAITING: Final = 4096
"""Received QoS 0 messages that wait for the main thread; more are dropped and counted."""
NO_SUBSCRIBERS: Final = 0x10
MOST_OPEN: Final = 50
MOST_OPEN_BYTES: Final = 4 * 1024**2
"""How many Receive Maxima of messages, and how many bytes of payload, may be unacknowledged before we stop reading. A broker
that keeps to the one never comes there; Mosquitto 2.0.11 sends a hundred queued messages for each acknowledgement, and would
fill our memory with its backlog. Many at a time make few large commits, which are cheaper for each."""
_READS_PER_TURN: Final = 256
_PUBLISH_OVERHEAD: Final = 64
"""Bytes of a PUBLISH besides topic, payload and properties, generously."""


class _Client(paho.Client):
    """paho's client over a buffered socket, telling of pings. What it overrides is not public: tests fail if that changes."""

    on_ping: Callable[[], object] = staticmethod(lambda: None)
    on_pong: Callable[[], object] = staticmethod(lambda: None)

    def _create_socket(self) -> Any:
        return BufferedSocket(super()._create_socket())  # type: ignore[arg-type]

    def _send_pingreq(self) -> Any:
        self.on_ping()
        return super()._send_pingreq()

    def _handle_pingresp(self) -> Any:
        self.on_pong()
        return super()._handle_pingresp()

    def keep_alive(self) -> None:
        """Ping when it is time, and never give up: that is decided elsewhere."""
        self._ping_t = 0.0
        self.loop_misc()


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of the broker, the same for all connections of a link."""

    client_id: str
    settings: BrokerSettings
    filters: Sequence[tuple[str, int]]
    replay_retained: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection ended; `up_for` is None if it was never up."""

    reason: str
    up_for: float | None


@dataclass(frozen=True, slots=True)
class Reports:
    """Whom a connection tells what, on the link's thread."""

    up: Callable[[bool], None]
    work: Callable[[], None]
    """Something lies in `received` or `confirmed`, and nothing did when it was last said."""
    refused: Callable[[str, str], None]
    """(filter, reason) of a subscription."""


class Connection:
    """One generation of a link."""

    def __init__(
        self, generation: int, terms: Terms, will: Will | None, reports: Reports, wake: Wake, stats: dict[str, int]
    ) -> None:
        self.generation = generation
        self.received: deque[Delivery] = deque()
        self.confirmed: deque[tuple[int, Receipt]] = deque()
        self.told = False
        """Whether `work` was reported and not yet answered; the main thread clears it before it looks."""
        self.window = Window(terms.settings.window)
        self.arrivals = Arrivals()
        self._terms = terms
        self._reports = reports
        self._wake = wake
        self._stats = stats
        self._will = will
        self._session_present = False
        self._up_since: float | None = None
        self._end: str | None = None
        self._subscribing: dict[int, Sequence[tuple[str, int]]] = {}
        self._resubscribe: list[tuple[str, int]] = []
        self._resubscribe_at = 0.0
        self._refusals = 0
        self._most_bytes: int | None = None
        self._arrived = 0
        """Messages that we have to acknowledge, counted on the link's thread,"""
        self._acked = 0
        """and those that we did, counted on the main thread."""
        self._arrived_bytes = self._done_bytes = 0
        """The same of their payloads; of those whose turn to leave has not come, too."""
        self._most_open = terms.settings.receive_maximum * MOST_OPEN
        self._liveness = Liveness(max(1, round(terms.settings.keepalive)))
        self._client = self._make_client()

    # --- main thread ---

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        token: int,
        properties: Mapping[str, object] | None,
        expiry: float | None,
    ) -> bool:
        """Start a publish; False if the window is full."""
        if self.window.free <= 0:
            return False
        info = self._client.publish(topic, payload, qos, retain, to_paho(properties, expiry))
        self.window.start(info.mid, token)
        return True

    def fits(self, topic: str, payload: bytes) -> bool:
        """Whether the broker takes a message of this size; it ends the connection of who sends a larger one."""
        return self._most_bytes is None or len(topic) * 3 + len(payload) + _PUBLISH_OVERHEAD <= self._most_bytes

    def ack(self, delivery: Delivery) -> int:
        """Acknowledge what is due; returns how many packets that were."""
        self._done_bytes += len(delivery.payload)
        if delivery.qos == 2:  # only from a broker that delivers above the QoS that was asked for
            self._client.ack(delivery.mid, 2)
            self._acked += 1
            return 1
        ready = self.arrivals.acknowledge(delivery.mid)
        for mid in ready:
            self._client.ack(mid, 1)
        self._acked += len(ready)
        return len(ready)

    # --- the link's thread ---

    def run(self, stopping: Callable[[], bool]) -> Ended:
        """Connect and serve until the end, which is reported, never raised."""
        try:
            self._open()
            self._serve(stopping)
        except Exception as error:  # noqa: BLE001 - a network boundary: whatever a peer makes paho raise ends this connection alone
            if self._up_since is None and not isinstance(error, OSError):
                self._end = self._end or failure.ended(False, failure.describe(error), False)
            self._end = self._end or failure.describe(error)
        finally:
            self._abandon()
        up_for = None if self._up_since is None else time.monotonic() - self._up_since
        return Ended(self._end or "the connection was lost", up_for)

    def _make_client(self) -> _Client:
        client = _Client(
            CallbackAPIVersion.VERSION2,
            self._terms.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        # the window is ours; with a limit of its own paho scans all messages at each PUBACK
        client.max_inflight_messages_set(0)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_socket_open = self._on_socket_open
        client.on_socket_register_write = self._on_socket_register_write
        client.on_ping = lambda: self._liveness.pinged(time.monotonic(), self._acked)
        client.on_pong = self._liveness.answered
        return client

    def _open(self) -> None:
        settings = self._terms.settings
        client = self._client
        if settings.username is not None:
            password = None
            if settings.password_file is not None:
                password = Path(settings.password_file).read_text(encoding="utf-8").rstrip("\r\n")
            client.username_pw_set(settings.username, password)
        if settings.tls:
            client.tls_set_context(tls_context(settings))
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = min(int(settings.session_expiry), 0xFFFF_FFFF)
        properties.ReceiveMaximum = settings.receive_maximum
        properties.MaximumPacketSize = settings.max_packet_bytes
        client.connect(
            settings.host, settings.port, max(1, round(settings.keepalive)), clean_start=False, properties=properties
        )

    def _serve(self, stopping: Callable[[], bool]) -> None:
        client = self._client
        sock: Any = client.socket()
        poll = select.poll()
        poll.register(self._wake.fd, select.POLLIN)
        poll.register(sock.fileno(), select.POLLIN)
        idle = min(5.0, self._terms.settings.keepalive / 4)
        started = time.monotonic()
        next_misc = started
        goodbye_by: float | None = None
        waited_for = select.POLLIN
        while client.socket() is not None:
            full = self._is_full() and goodbye_by is None
            wanted = (0 if full else select.POLLIN) | (select.POLLOUT if sock.unsent or client.want_write() else 0)
            if wanted != waited_for:
                poll.modify(sock.fileno(), wanted)
                waited_for = wanted
            timeout = 0.5 if self._resubscribe or self._up_since is None or goodbye_by is not None else idle
            pending = sock.pending() and not full
            events = dict(poll.poll(0 if pending else timeout * 1000.0))
            if self._wake.fd in events:
                self._wake.clear()
            if stopping() and goodbye_by is None:
                goodbye_by = time.monotonic() + GOODBYE_TIMEOUT
                self._end = "stopped"
                client.disconnect()
            if pending or events.get(sock.fileno(), 0) & ~select.POLLOUT:
                self._read(sock)
            # Also with nothing to write: it is what makes paho call `on_socket_register_write` for the next packet again. A
            # packet that was written before the main thread came to register it would otherwise be the last one that wakes us.
            if client.socket() is not None:
                client.loop_write()
            if client.socket() is not None:
                sock.flush()
            now = time.monotonic()
            if now >= next_misc:
                next_misc = now + min(1.0, idle)
                if full:
                    self._liveness.not_listening(now)
                elif self._liveness.is_lost(now):
                    self._end = self._end or failure.ended(self._up_since is not None, "Keep alive timeout", False)
                    return
                client.keep_alive()
                if self._resubscribe and now >= self._resubscribe_at:
                    self._subscribe(self._resubscribe)
                    self._resubscribe = []
            if self._up_since is None and now - started > CONNACK_TIMEOUT:
                raise TimeoutError
            if goodbye_by is not None and now > goodbye_by:
                return

    def _is_full(self) -> bool:
        """Whether to read no more before something is acknowledged: then the broker's own buffers fill up, and it waits."""
        return self._arrived - self._acked >= self._most_open or self._arrived_bytes - self._done_bytes >= MOST_OPEN_BYTES

    def _read(self, sock: BufferedSocket) -> None:
        client = self._client
        for _ in range(_READS_PER_TURN):
            client.loop_read()
            if client.socket() is None or not sock.pending() or self._is_full():
                return

    def _abandon(self) -> None:
        client = self._client
        client.on_disconnect = None
        sock = client.socket()
        if sock is not None:
            sock.close()

    def _subscribe(self, filters: Sequence[tuple[str, int]]) -> None:
        # QoS 1 at most: of a QoS 2 message paho sends PUBREC at once and keeps it in memory, so a crash would lose it although
        # the broker believes it delivered. At QoS 1 it stays there until it is on our disk; its id makes a repeat harmless.
        handling = (
            SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
            if self._terms.replay_retained
            else SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        )
        asked = [(topic, SubscribeOptions(qos=min(qos, 1), retainHandling=handling)) for topic, qos in filters]
        _, mid = self._client.subscribe(asked)
        if mid is not None:
            self._subscribing[mid] = filters

    def _become_up(self) -> None:
        if self._up_since is None:
            self._up_since = time.monotonic()
            self._reports.up(self._session_present)

    def _tell(self) -> None:
        if not self.told:
            self.told = True
            self._reports.work()

    # --- paho's callbacks, on the link's thread; an exception would end the connection, which `run` survives ---

    def _on_connect(
        self, client: paho.Client, userdata: object, flags: paho.ConnectFlags, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            self._end = failure.refused(str(reason))
            return
        self._session_present = flags.session_present
        receive_maximum = getattr(properties, "ReceiveMaximum", 65535)
        self.window.size = min(self._terms.settings.window, receive_maximum)
        self._most_bytes = getattr(properties, "MaximumPacketSize", None)
        if self._terms.filters:
            self._subscribe(self._terms.filters)
        else:
            self._become_up()

    def _on_disconnect(
        self, client: paho.Client, userdata: object, flags: paho.DisconnectFlags, reason: Any, properties: Any
    ) -> None:
        if self._end is None:
            self._end = failure.ended(self._up_since is not None, str(reason), flags.is_disconnect_packet_from_server)

    def _on_subscribe(self, client: paho.Client, userdata: object, mid: int, reasons: Any, properties: Any) -> None:
        asked = self._subscribing.pop(mid, ())
        for (topic, qos), reason in zip(asked, reasons, strict=False):
            if reason.is_failure:
                self._resubscribe.append((topic, qos))
                self._reports.refused(topic, str(reason))
        if self._resubscribe:
            self._refusals += 1
            settings = self._terms.settings
            wait = backoff.delay(self._refusals, settings.backoff_min, settings.backoff_max, 0.5)
            self._resubscribe_at = time.monotonic() + wait
        self._become_up()

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # matches no source, so it is counted and acknowledged above
            self._stats["callback_errors"] += 1
        if message.qos == 0 and len(self.received) >= MOST_QOS0_WAITING:
            self._stats["qos0_overflow"] += 1
            return
        if message.qos:
            self._arrived += 1
            self._arrived_bytes += len(message.payload)
        self.received.append(
            Delivery(
                topic,
                bytes(message.payload),
                message.qos,
                message.retain,
                message.dup,
                message.mid,
                self.generation,
                from_paho(message.properties),
            )
        )
        self._tell()

    def _on_publish(self, client: paho.Client, userdata: object, mid: int, reason: Any, properties: Any) -> None:
        receipt = Receipt.FAILED if reason.is_failure else Receipt.UNHEARD if reason.value == NO_SUBSCRIBERS else Receipt.TAKEN
        self.confirmed.append((mid, receipt))
        self._tell()

    def _on_socket_open(self, client: paho.Client, userdata: object, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_socket_register_write(self, client: paho.Client, userdata: object, sock: Any) -> None:
        self._wake.set()
