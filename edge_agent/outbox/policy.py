"""The rules of the outbox: what may be sent, when it is sent again, what an acknowledgement covers. Pure."""

from collections.abc import Sequence
from typing import Final

from edge_agent.journal.batch import Priority

MAX_UNSETTLED_ROWS: Final = 256
MAX_UNSETTLED_BYTES: Final = 8 * 1024**2
"""Sent rows stay in memory until they are settled; this bounds it where payloads are large."""
RESERVED_ROWS: Final = {Priority.NOTE: 16, Priority.RESULT: 16, Priority.PLAIN: 32}
"""Places that the other classes leave free: a controller that is silent keeps durable rows from leaving, and no others."""
RESERVED_BYTES: Final = {Priority.NOTE: 512 * 1024, Priority.RESULT: 1024**2, Priority.PLAIN: 1024**2}
UNRESERVED_ROWS: Final = MAX_UNSETTLED_ROWS - sum(RESERVED_ROWS.values())
UNRESERVED_BYTES: Final = MAX_UNSETTLED_BYTES - sum(RESERVED_BYTES.values())
"""Below both, any row may be sent, whatever there is of each class."""
RESEND_FIRST: Final = 30.0
RESEND_LONGEST: Final = 600.0
REFUSED_FIRST: Final = 1.0
"""A broker that refuses a message (quota, not authorised) is asked again sooner than a controller that is silent."""

_EMPTY: Final = b'{"stream":"","seq":0'


def may_send(rows: Sequence[int], sizes: Sequence[int], priority: Priority, size: int) -> bool:
    """Whether one more row of `size` bytes may be handed to the link.

    `rows` and `sizes` are what is unsettled of each class. One row of each class may always be, however large.
    """
    if not rows[priority]:
        return True
    left_rows = MAX_UNSETTLED_ROWS - sum(rows)
    left_bytes = MAX_UNSETTLED_BYTES - sum(sizes) - size
    for other in Priority:
        if other is not priority:
            left_rows -= max(RESERVED_ROWS[other] - rows[other], 0)
            left_bytes -= max(RESERVED_BYTES[other] - sizes[other], 0)
    return left_rows > 0 and left_bytes >= 0


def resend_delay(attempts: int, *, refused: bool) -> float:
    """Seconds until a row that was published `attempts` times on this connection is published again."""
    return float(min((REFUSED_FIRST if refused else RESEND_FIRST) * 2 ** min(attempts - 1, 20), RESEND_LONGEST))


def unheard_delay(attempts: int) -> float:
    """Seconds until a durable row is published again that found no controller: it may be back within a moment."""
    return float(min(REFUSED_FIRST * 2 ** min(attempts - 1, 20), RESEND_FIRST))


def covers(ranges: Sequence[tuple[int, int]], seq: int) -> bool:
    """Whether one of the inclusive ranges holds `seq`."""
    return any(low <= seq <= high for low, high in ranges)


def stamp_prefix(stream: str) -> bytes:
    """What `stamp` puts before the seq, made once."""
    return f'{{"stream":"{stream}","seq":'.encode()


def stamp(prefix: bytes, seq: int, payload: bytes) -> bytes:
    """Write stream and seq into a JSON object that has none, or that begins with the empty ones of an unsent message."""
    rest = payload[len(_EMPTY) :] if payload.startswith(_EMPTY) else b"," + payload[1:] if payload != b"{}" else b"}"
    return b"%b%d%b" % (prefix, seq, rest)
