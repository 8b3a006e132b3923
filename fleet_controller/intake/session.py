"""The controller's MQTT 5 session on the fleet broker, over paho-mqtt. Nothing outside this file sees paho.

No manual acknowledgement: what must not be lost is sent again by the devices until intake has acknowledged it. The session is
short-lived for the same reason. An exception inside a callback would end paho's thread, so each is caught and counted.
"""

import logging
import random
import secrets
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fleet_contract import topics
from fleet_controller.settings import MqttSettings

log = logging.getLogger(__name__)
_MAX_QUEUED: Final = 10_000
"""Outgoing messages that wait for the broker; beyond them a publish is refused."""


class Session:
    """Connects, subscribes to everything that devices publish, and stays connected until stopped."""

    def __init__(
        self,
        settings: MqttSettings,
        on_message: Callable[[str, bytes], None],
        on_up: Callable[[], None],
        jitter: random.Random | None = None,
    ) -> None:
        """`on_message(topic, payload)` and `on_up()`, after each subscription, run on the session's thread, must not block."""
        self._settings = settings
        self._on_message = on_message
        self._on_up = on_up
        self._jitter = jitter or random.Random()
        self._stopping = threading.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-session", daemon=True)
        self._subscription = 0
        self.counters: Counter[str] = Counter()
        self._client = self._make_client()

    def start(self) -> None:
        """Start connecting in the background."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Disconnect cleanly; False if that takes longer than `timeout` seconds.

        The session ends at once: for as long as it stood, the broker would take for it what devices send to the next process.
        """
        self._stopping.set()
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        self._client.disconnect(properties=properties)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def connected(self) -> bool:
        """Whether the subscription stands."""
        return self._up.is_set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def wait_connected(self, timeout: float) -> bool:
        """Wait for the subscription."""
        return self._up.wait(timeout)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry: float | None = None,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> bool:
        """Publish at QoS 1 from any thread. False: not connected, and the message is dropped."""
        if not self._client.is_connected():
            self.counters["publishes_dropped"] += 1
            return False
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expiry is not None:
            properties.MessageExpiryInterval = max(1, round(expiry))
        if response_topic is not None:
            properties.ResponseTopic = response_topic
        if correlation is not None:
            properties.CorrelationData = correlation
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if info.rc not in (mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_NO_CONN):
            self.counters["publishes_dropped"] += 1
            return False
        self.counters["published"] += 1
        return True

    def _make_client(self) -> mqtt.Client:
        settings = self._settings
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id or f"fleet-controller-{secrets.token_hex(8)}",
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.max_queued_messages_set(_MAX_QUEUED)
        client.on_connect = self._guarded(self._connected)
        client.on_disconnect = self._guarded(self._disconnected)
        client.on_subscribe = self._guarded(self._subscribed)
        client.on_message = self._guarded(self._received)
        client.on_socket_open = self._guarded(_without_delay)
        if settings.tls:
            client.tls_set(
                ca_certs=str(settings.ca_file) if settings.ca_file else None,
                certfile=str(settings.cert_file) if settings.cert_file else None,
                keyfile=str(settings.key_file) if settings.key_file else None,
                tls_version=ssl.PROTOCOL_TLS_CLIENT,
            )
        return client

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            try:
                self._connect()
                self._client.loop_forever(retry_first_connection=False)
            except Exception as error:  # noqa: BLE001  the thread's boundary: whatever it was, the next attempt starts afresh
                self.counters["connect_errors"] += 1
                log.warning(
                    "the fleet broker cannot be reached",
                    extra={"host": self._settings.host, "port": self._settings.port, "error": str(error)},
                )
            if self._up.is_set():
                attempt = 0
            self._up.clear()
            self._stopping.wait(self._delay(attempt))
            attempt += 1

    def _delay(self, attempt: int) -> float:
        """Seconds before the next attempt: doubling, with full jitter above half, so that a fleet does not return at once."""
        longest = min(self._settings.backoff_max, self._settings.backoff_min * 2.0 ** min(attempt, 30))
        return self._jitter.uniform(longest / 2, longest)

    def _connect(self) -> None:
        settings = self._settings
        if settings.username is not None:
            password = settings.password_file.read_text(encoding="utf-8").strip() if settings.password_file else None
            self._client.username_pw_set(settings.username, password)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = round(settings.session_expiry)
        properties.ReceiveMaximum = settings.receive_maximum
        properties.MaximumPacketSize = settings.max_packet_bytes
        # A new process starts clean; a reconnect of this one takes up what the broker kept in the meantime.
        self._client.connect(
            settings.host,
            settings.port,
            keepalive=max(1, round(settings.keepalive)),
            clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
        )

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self.counters["connects_refused"] += 1
            log.warning("the fleet broker refuses the controller", extra={"reason": str(reason)})
            client.disconnect()
            return
        self.counters["connects"] += 1
        _, mid = client.subscribe(topics.up_filter(), qos=1)
        self._subscription = mid or 0

    def _subscribed(self, client: mqtt.Client, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        if mid != self._subscription:
            return
        if any(reason.is_failure for reason in reasons):
            self.counters["subscriptions_refused"] += 1
            log.error("the fleet broker refuses the subscription", extra={"filter": topics.up_filter()})
            client.disconnect()
            return
        self._up.set()
        log.info("connected to the fleet broker", extra={"host": self._settings.host, "port": self._settings.port})
        self._on_up()

    def _disconnected(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self.counters["disconnects"] += 1
        if not self._stopping.is_set():
            log.warning("the fleet broker's connection ended", extra={"reason": str(reason)})

    def _received(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._on_message(message.topic, bytes(message.payload))

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except Exception:  # see the module's text
                self.counters["callback_errors"] += 1
                log.exception("a callback of the fleet session failed", extra={"callback": callback.__qualname__})

        return guarded


def _without_delay(_client: mqtt.Client, _data: Any, connection: Any) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
