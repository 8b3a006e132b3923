"""Calls for new births: what decoders want sent to the sensors' side, as often as is of use.

A node that does not answer, or a source whose filter leaves the births out, would otherwise be called for every message.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from edge_agent.ingest.events import Request

WAIT_MIN: Final = 30.0
WAIT_MAX: Final = 3600.0
MAX_TOPICS: Final = 10_000
"""Remembered at most; names of nodes come from payloads."""
TOKEN: Final = 0
"""Of these publishes: the outbox's rows, which share the link, have numbers from 1 on."""


class Publisher(Protocol):
    """What is needed of the site link."""

    def publish(self, topic: str, payload: bytes, *, qos: int, token: int) -> bool: ...


class _Call(NamedTuple):
    at: float
    wait: float
    """Seconds for which no further one is sent."""


class Rebirths:
    """Publishes requests with QoS 0: for each topic every 30 s at most, and while that is of no use ever more rarely.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, link: Publisher, clock: Callable[[], float] = time.monotonic) -> None:
        self.requested = 0
        self._link = link
        self._clock = clock
        self._calls: dict[str, _Call] = {}

    def ask(self, requests: Iterable[Request]) -> None:
        """Send those that are due; what the link has no room for is asked for by a later message."""
        now = self._clock()
        for request in requests:
            last = self._calls.get(request.topic)
            if last is not None and now - last.at < last.wait:
                continue
            if not self._link.publish(request.topic, request.payload, qos=0, token=TOKEN):
                continue
            self.requested += 1
            in_vain = last is not None and now - last.at < 2 * last.wait
            self._calls.pop(request.topic, None)  # to the end, for the oldest goes first
            self._calls[request.topic] = _Call(now, min(2 * last.wait, WAIT_MAX) if last is not None and in_vain else WAIT_MIN)
            if len(self._calls) > MAX_TOPICS:
                del self._calls[next(iter(self._calls))]
