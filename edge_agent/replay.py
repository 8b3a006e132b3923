"""Recorded events through a pipeline on a virtual clock: the code of the live path, without broker, store and wall clock.

A recording is JSON lines of `{"topic": ..., "payload": ..., "time": ...}`. `payload` is what was published: a JSON value
stands for its compact encoding, a text for itself, and `{"base64": "..."}` for any bytes. `time` (RFC 3339) says when it was
published; pipelines look at the time inside the payload, so it is for people.
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from edge_agent.ingest.events import DeadLetter
from edge_agent.ingest.identity import identify, sample_id
from edge_agent.ingest.recent import RecentKeys
from edge_agent.ingest.samples import to_samples
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.windows import ClosedWindow, Event
from edge_agent.sources import Routes


class RecordingError(ValueError):
    """A line of the recording is not an event; the text names the line."""


def read_recording(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of each event; raises RecordingError."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            yield str(entry["topic"]), _payload(entry["payload"])
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
            raise RecordingError(f"line {number}: not an event of topic and payload: {error!r}") from error


def _payload(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"base64"}:
        return base64.b64decode(value["base64"], validate=True)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class Replay:
    """Feeds one pipeline; what it cannot use is counted as the daemon counts it."""

    def __init__(self, pipeline: Pipeline, on_dead_letter: Callable[[str, DeadLetter], None]) -> None:
        self._pipeline = pipeline
        self._routes = Routes([pipeline])
        self._recent = RecentKeys()
        self._number = 0
        self._on_dead_letter = on_dead_letter
        self.counters: Counter[str] = Counter()

    def feed(self, topic: str, payload: bytes) -> list[ClosedWindow]:
        """Take one recorded event; returns the windows that it closes."""
        self.counters["events"] += 1
        self._number += 1
        routes = self._routes.match(topic)
        if not routes:
            self.counters["events_unrouted"] += 1
            return []
        decoded = routes[0].ingest.decode(topic, payload)
        if isinstance(decoded, DeadLetter):
            self.counters[f"dead_{decoded.reason}"] += 1
            self._on_dead_letter(topic, decoded)
            return []
        identity = identify(topic, payload, decoded, lambda: f"replay-{self._number}")
        if not identity.fresh and not self._recent.add(identity.key):
            self.counters["events_repeated"] += 1
            return []
        closed: list[ClosedWindow] = []
        for index, sample in enumerate(to_samples(decoded.events)):
            fed = self._pipeline.feed(Event(self._number << 16 | index, sample_id(identity.event_id, index), sample))
            if fed is None:
                self.counters["events_too_many_sensors"] += 1
                continue
            self.counters["events_late"] += fed.late
            self.counters["events_untimed"] += fed.untimed
            closed += fed.closed
        return closed
