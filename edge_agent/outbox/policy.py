"""The rules of the outbox: what may be sent, when it is sent again, what an acknowledgement covers. Pure."""

from collections.abc import Sequence
from typing import Final

MAX_UNSETTLED_ROWS: Final = 256
MAX_UNSETTLED_BYTES: Final = 8 * 1024**2
"""Sent rows stay in memory until they are settled; this bounds it where payloads are large."""
RESEND_FIRST: Final = 30.0
RESEND_LONGEST: Final = 600.0
REFUSED_FIRST: Final = 1.0
"""A broker that refuses a message (quota, not authorised) is asked again sooner than a controller that is silent."""

_EMPTY: Final = b'{"stream":"","seq":0'


def may_send(unsettled_rows: int, unsettled_bytes: int, size: int) -> bool:
    """Whether one more row of `size` bytes may be handed to the link. One row may always be, however large."""
    return unsettled_rows == 0 or (unsettled_rows < MAX_UNSETTLED_ROWS and unsettled_bytes + size <= MAX_UNSETTLED_BYTES)


def resend_delay(attempts: int, *, refused: bool) -> float:
    """Seconds until a row that was published `attempts` times on this connection is published again."""
    return float(min((REFUSED_FIRST if refused else RESEND_FIRST) * 2 ** min(attempts - 1, 20), RESEND_LONGEST))


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
