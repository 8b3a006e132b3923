"""Whether a broker that owes us an answer to a ping is still alive. Pure: times and counts in, a verdict out.

A broker answers a ping behind everything that we sent before it. Mosquitto writes its whole database for each acknowledgement,
so after a backlog of thousands of messages the answer comes a minute late, and to give up by then would have it deliver the
whole backlog again: what it had not read of our acknowledgements is lost with the connection.
"""

from collections import deque
from typing import Final

SECONDS_PER_ACK: Final = 0.05
"""What a slow broker may take for one acknowledgement: 10 to 50 ms were measured with some thousand messages queued."""
LONGEST: Final = 600.0


class Liveness:
    """Pings of one connection, whose answers come in order."""

    def __init__(self, keepalive: float) -> None:
        self._keepalive = keepalive
        self._pings: deque[tuple[float, int]] = deque()
        self._worked_off = 0
        self._listening_since = 0.0

    def pinged(self, now: float, acks: int) -> None:
        """A ping left, behind so many acknowledgements in all."""
        self._pings.append((now, acks))

    def answered(self) -> None:
        """The answer to the oldest ping came: what we sent before it has been read."""
        if self._pings:
            self._worked_off = self._pings.popleft()[1]

    def not_listening(self, now: float) -> None:
        """We do not read at present, so no answer can come."""
        self._listening_since = now

    def is_lost(self, now: float) -> bool:
        """Whether the oldest ping should have been answered by now."""
        if not self._pings:
            return False
        sent, acks = self._pings[0]
        patience = self._keepalive + min(SECONDS_PER_ACK * (acks - self._worked_off), LONGEST)
        return now - max(sent, self._listening_since) >= patience
