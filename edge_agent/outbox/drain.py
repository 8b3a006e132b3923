"""How fast a backlog may leave: a token bucket, and a pause of random length after a connect. Pure; time and chance are given.

Rows that were just committed bring a token of their own, so the rate is what a backlog gets on top of them: however many
events come, what was left behind grows smaller.
"""

import random
from collections.abc import Callable
from typing import Final

AT_CONNECT: Final = 0.1
"""Seconds of the rate that may be sent at once after a connect."""
MOST_SAVED: Final = 1024
"""Tokens saved beyond one second of the rate: the rows of a few commits."""
STEP: Final = 0.02
"""Seconds between two portions, so that a timer is not spent on each row."""


class Drain:
    """The limit for one link. Notes are not subject to it. Times are monotonic seconds.

    Args:
        rate: rows per second; 0 is no limit.
        jitter: longest pause after a connect, in seconds.
        chance: a number from 0 to 1 at each call.
    """

    def __init__(self, rate: float = 0.0, jitter: float = 0.0, chance: Callable[[], float] = random.random) -> None:
        self._rate = rate
        self._jitter = jitter
        self._chance = chance
        self._tokens = 0.0
        self._at = 0.0
        self._paused_until: float | None = None

    def connected(self, now: float, *, backlog: bool) -> None:
        """The link is up. With a backlog, a pause begins: a fleet that comes back together does not send together."""
        self._tokens = self._rate * AT_CONNECT
        self._at = now
        self._paused_until = now + self._chance() * self._jitter if backlog and self._jitter else None

    def committed(self, rows: int) -> None:
        """Rows that were committed while the link was up."""
        self._tokens = min(self._tokens + rows, self._rate + MOST_SAVED)

    def allowed(self, now: float, most: int) -> int:
        """How many rows may be sent now, at most `most`."""
        if self._paused_until is not None:
            if now < self._paused_until:
                return 0
            self._paused_until = None
            self._at = now
        if not self._rate:
            return most
        self._tokens = min(self._tokens + (now - self._at) * self._rate, self._rate + MOST_SAVED)
        self._at = now
        return min(most, int(self._tokens + 1e-6))  # a wait that was rounded down must not give one timer after another

    def sent(self, rows: int) -> None:
        """So many of the allowed rows were sent."""
        self._tokens -= rows

    def wait(self, now: float) -> float:
        """Seconds until the next portion, after `allowed` gave less than was asked for."""
        if self._paused_until is not None:
            return max(self._paused_until - now, 0.0)
        portion = max(self._rate * STEP, 1.0)
        return max(portion - self._tokens, 0.0) / self._rate if self._rate else 0.0
