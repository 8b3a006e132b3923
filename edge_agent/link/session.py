"""The link to one broker: connects, serves, backs off, connects again, and gives each connection a generation number.

The link's thread only moves packets; everything that decides (`handler`, windows, acknowledgements) runs on the loop's thread,
to which the thread posts. What arrives in bursts is posted once for the burst.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from edge_agent.link import backoff
from edge_agent.link.connection import Connection, Ended, Reports, Terms
from edge_agent.link.failure import describe
from edge_agent.link.port import Delivery, LinkHandler, Receipt, Will
from edge_agent.link.wake import Wake
from edge_agent.settings import BrokerSettings

log = logging.getLogger(__name__)

_COUNTERS = (
    "connects",
    "disconnects",
    "connect_failures",
    "subscriptions_refused",
    "callback_errors",
    "received",
    "acked",
    "published",
    "publish_failures",
    "too_large",
    "qos0_overflow",
)


class Link:
    """One MQTT 5 session that is kept up until `stop`.

    Args:
        name: `site` or `fleet`, for the log and the thread's name.
        client_id: names the session at the broker, so it never changes.
        handler: is called on the loop's thread alone.
        post: runs a call on the loop's thread (`Loop.post`).
        filters: (topic filter, QoS), subscribed at each connect, at QoS 1 at most.
        will: called before each attempt to connect, on the link's thread.
        replay_retained: True: the broker sends retained messages at each connect (for state); False: only when it has no
            session of ours (for events, which would otherwise come again at each connect).
    """

    def __init__(
        self,
        name: str,
        client_id: str,
        settings: BrokerSettings,
        handler: LinkHandler,
        post: Callable[..., None],
        *,
        filters: Sequence[tuple[str, int]],
        will: Callable[[], Will] | None = None,
        random: Random | None = None,
        replay_retained: bool = True,
    ) -> None:
        self.name = name
        self.generation = 0
        """Number of the present connection, or of the last one."""
        self._settings = settings
        self._terms = Terms(client_id, settings, tuple(filters), replay_retained)
        self._handler = handler
        self._post = post
        self._will = will
        self._random = random or Random()
        self._stats = dict.fromkeys(_COUNTERS, 0)
        self._wake = Wake()
        self._stopping = threading.Event()
        self._connection: Connection | None = None
        self._up = False
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._run, name=f"link-{name}", daemon=True)

    def start(self) -> None:
        """Begin to connect. Returns at once; never raises for anything that a broker or the network does."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Send what is queued and a DISCONNECT, so that the last will stays unsaid, then end the thread.

        Waits `timeout` seconds at most. What the connection did until then is still posted.
        """
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            log.warning("the link's thread did not end in time", extra={"link": self.name, "timeout": timeout})

    @property
    def connected(self) -> bool:
        """Whether `publish` may succeed."""
        return self._up

    @property
    def alive(self) -> bool:
        """Whether the link's thread runs; False after `start` only if a defect has ended it."""
        return self._thread.ident is None or self._thread.is_alive()

    @property
    def free_window(self) -> int:
        """How many more publishes may be started now."""
        return self._connection.window.free if self._up and self._connection is not None else 0

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge; those of an earlier connection are passed over, because the broker delivers them again."""
        connection = self._connection
        if connection is None:
            return
        acked = 0
        for delivery in deliveries:
            if delivery.qos and delivery.generation == connection.generation:
                acked += connection.ack(delivery)
        self._stats["acked"] += acked

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        token: int,
        properties: Mapping[str, object] | None = None,
        expiry: float | None = None,
    ) -> bool:
        """Start a publish; its outcome comes once, through `on_published` with `token`.

        Args:
            qos: 0 or 1. 2 is sent as 1, because its packet ids would have to outlive the connection; results carry ids instead.
            expiry: seconds after which the broker may drop it.

        Returns:
            False if not connected or the window is full: nothing was sent, and no outcome follows.

        Raises:
            ValueError: the topic or a property is none that MQTT allows.
        """
        connection = self._connection
        if not self._up or connection is None:
            return False
        if not connection.fits(topic, payload):
            self._stats["too_large"] += 1
            self._say_once("the broker takes no message of this size", topic=topic, bytes=len(payload))
            self._post(self._handler.on_published, [(token, Receipt.FAILED)])
            return True
        return connection.publish(topic, payload, min(qos, 1), retain, token, properties, expiry)

    def stats(self) -> dict[str, int]:
        """Counters since the start."""
        return dict(self._stats)

    # --- the link's thread ---

    def _run(self) -> None:
        failures = 0
        generation = 0
        while not self._stopping.is_set():
            generation += 1
            ended = self._serve(generation)
            if self._stopping.is_set():
                break
            failures = backoff.failures_after(failures, ended.up_for)
            wait = backoff.delay(failures, self._settings.backoff_min, self._settings.backoff_max, self._random.random())
            if ended.up_for is None:
                self._say_once("cannot connect to the broker", reason=ended.reason)
                self._stats["connect_failures"] += 1  # behind the line, so that who sees the count finds the line
            self._wake.wait(wait)

    def _serve(self, generation: int) -> Ended:
        connection: Connection | None = None

        def up(session_present: bool) -> None:
            self._post(self._on_up, connection, session_present)

        def work() -> None:
            self._post(self._drain, connection)

        try:
            will = self._will() if self._will is not None else None
            reports = Reports(up, work, self._on_refused)
            connection = Connection(generation, self._terms, will, reports, self._wake, self._stats)
        except Exception as error:
            self._stats["callback_errors"] += 1
            log.exception("a connection could not be prepared", extra={"link": self.name})
            return Ended(describe(error), None)
        ended = connection.run(self._stopping.is_set)
        for step in (self._drain, self._lose):
            self._post(step, connection)
        self._post(self._on_ended, ended)
        return ended

    def _on_refused(self, topic_filter: str, reason: str) -> None:
        self._stats["subscriptions_refused"] += 1
        self._say_once("the broker refused a subscription", filter=topic_filter, reason=reason)

    def _say_once(self, message: str, **fields: object) -> None:
        """Log once for each distinct reason until the link has been up."""
        key = repr((message, fields))
        if key not in self._said:
            self._said.add(key)
            log.warning(message, extra={"link": self.name, "host": self._settings.host, "port": self._settings.port} | fields)

    # --- the loop's thread ---

    def _on_up(self, connection: Connection, session_present: bool) -> None:
        self._adopt(connection)
        self._up = True
        self._stats["connects"] += 1
        self._said = {said for said in self._said if "cannot connect" not in said}
        log.info("link up", extra={"link": self.name, "session_present": session_present, "generation": connection.generation})
        self._handler.on_up(session_present)

    def _adopt(self, connection: Connection) -> None:
        self._connection = connection
        self.generation = connection.generation

    def _drain(self, connection: Connection) -> None:
        self._adopt(connection)
        connection.told = False
        received = connection.received
        if received:
            deliveries = [received.popleft() for _ in range(len(received))]
            for delivery in deliveries:
                if delivery.qos == 1:
                    connection.arrivals.arrived(delivery.mid)
            self._stats["received"] += len(deliveries)
            self._handler.on_deliveries(deliveries)
        confirmed = connection.confirmed
        if confirmed:
            self._publish_outcomes(connection.window.finish([confirmed.popleft() for _ in range(len(confirmed))]))

    def _publish_outcomes(self, outcomes: list[tuple[int, Receipt]]) -> None:
        if outcomes:
            good = sum(receipt is not Receipt.FAILED for _, receipt in outcomes)
            self._stats["published"] += good
            self._stats["publish_failures"] += len(outcomes) - good
            self._handler.on_published(outcomes)

    def _lose(self, connection: Connection) -> None:
        self._connection = None
        self._publish_outcomes(connection.window.lose())

    def _on_ended(self, ended: Ended) -> None:
        was_up, self._up = self._up, False
        if was_up:
            self._stats["disconnects"] += 1
            level = logging.INFO if self._stopping.is_set() else logging.WARNING
            log.log(level, "link down", extra={"link": self.name, "reason": ended.reason})
            self._handler.on_down(ended.reason)
