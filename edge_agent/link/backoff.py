"""How long to wait before the next attempt to connect. Pure: attempts and a random draw in, seconds out."""

from typing import Final

STABLE_AFTER: Final = 10.0
"""Seconds: a connection that lived this long was a good one, so the next attempt is a first one again. A shorter one (a second
client with our id, a broker that drops us at once) goes on backing off."""


def delay(attempt: int, shortest: float, longest: float, draw: float) -> float:
    """Seconds to wait before attempt number `attempt` + 1.

    Doubles from `shortest` up to `longest`; half of it is fixed and half is jitter, so that a fleet does not come back at once.

    Args:
        attempt: failed attempts so far, from 1.
        shortest: seconds, before jitter.
        longest: seconds, never exceeded.
        draw: uniform in [0, 1).
    """
    whole = min(longest, shortest * 2.0 ** min(max(attempt - 1, 0), 62))
    return whole * (0.5 + 0.5 * draw)


def failures_after(failures: int, lasted: float | None) -> int:
    """Count of failures to back off by, after a connection that was up for `lasted` seconds (None: never up)."""
    if lasted is not None and lasted >= STABLE_AFTER:
        return 1
    return failures + 1
