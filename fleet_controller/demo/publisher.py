"""The demo's sensors: one process that replays recorded measurements over MQTT at an accelerated clock.

`python -m fleet_controller.demo.publisher PLAN.json`: publishes each stream's events at QoS 1, keeps its own log of what it
sent (one line per event, written before the event leaves), and ends on SIGTERM when everything sent has been acknowledged by
the site broker. The log is what the demo reconciles against, so it knows nothing of the agent.
"""

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fleet_controller.demo.sensors import Event, citizen_reports, water_meter, weather_station

log = logging.getLogger(__name__)

IN_FLIGHT: Final = 20
FINISH_TIMEOUT: Final = 30.0

SENSORS: Final[dict[str, Callable[[str], Iterator[Event]]]] = {
    "weather": weather_station,
    "flow": water_meter,
    "reports": citizen_reports,
}
"""Kind of a stream to its sensor."""


class StreamPlan(msgspec.Struct, frozen=True):
    """One sensor: which recording it replays, as whom, and how often."""

    kind: str
    """A key of `SENSORS`."""
    place: str
    """Farm or district; the sensor's name and so where in the recording it starts."""
    interval: float
    """Real seconds between two events."""
    log: str
    """File for the sensor's own log: JSON lines of topic, payload, time (the event's) and sent (seconds since 1970)."""


class Plan(msgspec.Struct, frozen=True):
    """What one publisher process does."""

    host: str
    port: int
    username: str
    password_file: str
    streams: tuple[StreamPlan, ...]


class Publisher:
    """Publishes all streams from one thread, at most `IN_FLIGHT` events ahead of the broker."""

    def __init__(self, plan: Plan, events: dict[str, Iterator[Event]]) -> None:
        self._plan = plan
        self._events = events
        self._logs = {stream.log: open(stream.log, "a", encoding="utf-8") for stream in plan.streams}  # noqa: SIM115 kept open
        self.stopping = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"sensors-{plan.streams[0].place}", protocol=paho.MQTTv5
        )
        self._client.username_pw_set(plan.username, Path(plan.password_file).read_text().strip())
        self._client.max_inflight_messages_set(IN_FLIGHT)
        self._waiting: list[paho.MQTTMessageInfo] = []

    def run(self) -> int:
        """Publish until stopped; a recording that ends before is not repeated.

        Returns 0 when the broker has acknowledged all of it, otherwise 1.
        """
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        self._client.connect(self._plan.host, self._plan.port, clean_start=False, properties=properties)
        self._client.loop_start()
        log.info("publishing %s", ", ".join(f"{stream.kind} of {stream.place}" for stream in self._plan.streams))
        due = {stream.log: time.monotonic() for stream in self._plan.streams}
        while not self.stopping.is_set():
            now = time.monotonic()
            for stream in self._plan.streams:
                if stream.log in due and due[stream.log] <= now:
                    event = next(self._events[stream.log], None)
                    if event is None:
                        del due[stream.log]
                        continue
                    self._publish(stream, event)
                    due[stream.log] += stream.interval
            self.stopping.wait(max(0.0, min(due.values()) - time.monotonic()) if due else None)
        end = time.monotonic() + FINISH_TIMEOUT
        for info in self._waiting:
            info.wait_for_publish(max(0.0, end - time.monotonic()))
        missing = sum(not info.is_published() for info in self._waiting)
        self._client.disconnect()
        self._client.loop_stop()
        for file in self._logs.values():
            file.close()
        if missing:
            log.error("the site broker did not acknowledge %d events", missing)
        return 1 if missing else 0

    def _publish(self, stream: StreamPlan, event: Event) -> None:
        topic, payload = event
        file = self._logs[stream.log]
        line = {"topic": topic, "payload": payload, "time": payload["time"], "sent": round(time.time(), 3)}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        self._waiting = [info for info in self._waiting if not info.is_published()]
        while len(self._waiting) >= IN_FLIGHT and not self.stopping.is_set():
            self._waiting[0].wait_for_publish(0.5)
            self._waiting = [info for info in self._waiting if not info.is_published()]
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        self._waiting.append(self._client.publish(topic, body, qos=1))


def main() -> int:
    """Read the plan, publish, and end in order on SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    events = {stream.log: SENSORS[stream.kind](stream.place) for stream in plan.streams}
    publisher = Publisher(plan, events)
    signal.signal(signal.SIGTERM, lambda *_: publisher.stopping.set())
    signal.signal(signal.SIGINT, lambda *_: publisher.stopping.set())
    return publisher.run()


if __name__ == "__main__":
    sys.exit(main())
