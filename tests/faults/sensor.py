"""Weather stations that publish events and log each before it leaves; some of the events nobody can read."""

import json
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults.programs import until

IN_FLIGHT = 20
STATIONS = 4
"""Connections. Mosquitto reads one packet of each before it writes its database, so one alone would be slower."""
START = datetime(2022, 1, 1, tzinfo=UTC)
BROKEN_TOPIC = "farm/broken/weather"
ACKNOWLEDGED_WITHIN = 60.0


class Station:
    """One weather station's connection.

    After a lost connection it is not free before all that the broker had not acknowledged is acknowledged, so the order of
    first arrival is the order of publishing.
    """

    def __init__(self, name: str, port: int, password: str, qos: int) -> None:
        self.name = name
        self._qos = qos
        self._lost = threading.Event()
        self._published = 0
        self._acknowledged = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        self._client.username_pw_set("sensor", password)
        self._client.max_inflight_messages_set(IN_FLIGHT)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_disconnect = lambda *_: self._lost.set()
        self._client.on_publish = self._on_publish
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, keepalive=5, clean_start=False, properties=properties)
        self._client.loop_start()

    def free(self) -> bool:
        """Whether it may publish now."""
        if self._lost.is_set():
            if not self._client.is_connected() or self.unacknowledged():
                return False
            self._lost.clear()
        return self.unacknowledged() < IN_FLIGHT

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish one event."""
        if self._qos:  # nobody acknowledges the others
            self._published += 1
        self._client.publish(topic, payload, qos=self._qos)

    def unacknowledged(self) -> int:
        """Events that the broker has not acknowledged. What is published without a connection goes out with the next one."""
        return self._published - self._acknowledged

    def _on_publish(self, *_: object) -> None:
        self._acknowledged += self._qos > 0

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()


class Sensor:
    """Some weather stations with a connection each and one log. What is logged is delivered in the end (QoS 1).

    About one event in 100 cannot be read: half of these have a topic of their own, so that each is a dead letter with a note of
    its own, and half come from one broken station, whose notes carry counts.
    """

    def __init__(self, port: int, password: str, log: Path, rate: float, qos: int, seed: int) -> None:
        self.log = log
        self.sent = 0
        """Events in the log."""
        self.counts: dict[str, int] = {}
        """Station to its readable events."""
        self.unreadable: set[str] = set()
        """Topics of single unreadable events."""
        self.broken = 0
        """Unreadable events of the broken station."""
        self._choice = random.Random(f"sensor {seed}")
        self._interval = 1.0 / rate
        self._stopping = threading.Event()
        self._stations = [Station(f"field-{number}", port, password, qos) for number in range(STATIONS)]
        self._thread = threading.Thread(target=self._run, name="sensor", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def finish(self) -> None:
        """Stop making events and wait until the broker has acknowledged every one."""
        self._stopping.set()
        self._thread.join(ACKNOWLEDGED_WITHIN)
        until(lambda: not self._unacknowledged(), "the site broker acknowledges what the sensor sent", ACKNOWLEDGED_WITHIN)

    def close(self) -> None:
        """End in any case."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        for station in self._stations:
            station.close()

    def _unacknowledged(self) -> int:
        return sum(station.unacknowledged() for station in self._stations)

    def _run(self) -> None:
        due = time.monotonic()
        with self.log.open("a", encoding="utf-8") as log:
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                station = self._stations[self.sent % STATIONS]
                if not station.free():
                    self._stopping.wait(0.001)
                    continue
                # what a fault held up for longer is not made up for: the rate is a rate
                due = max(due, time.monotonic() - 1.0) + self._interval
                topic, payload, when = self._make(self.sent, station.name)
                log.write(json.dumps({"topic": topic, "payload": payload, "time": when}) + "\n")
                log.flush()
                body = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
                station.publish(topic, body.encode())
                self.sent += 1

    def _make(self, number: int, field: str) -> tuple[str, dict[str, object] | str, str]:
        when = (START + timedelta(seconds=number)).isoformat()
        draw = self._choice.random()
        if draw < 0.005:
            topic = f"farm/unreadable-{number}/weather"
            self.unreadable.add(topic)
            return topic, f"no JSON {number}", when
        if draw < 0.01:
            self.broken += 1
            return BROKEN_TOPIC, f"no JSON {number}", when
        self.counts[field] = self.counts.get(field, 0) + 1
        payload = {
            "id": f"e{number}",
            "time": when,
            "temp_max": 10.0 + number % 7,
            "temp_min": -3.0 + number % 11,
            "wind": 1.0 + number % 5,
            "precipitation": float(number % 3),
        }
        return f"farm/{field}/weather", payload, when
