"""`edge-agent decode`: what one payload holds, as JSON lines."""

from collections.abc import Sequence
from typing import Final

import msgspec

from edge_agent.ingest.events import DeadLetter
from edge_agent.ingest.formats import decode
from edge_agent.settings import IngestSettings

EXIT_DEAD_LETTER: Final = 3
AUTO: Final = "auto"


def guess_format(payload: bytes) -> str:
    """`json` for a JSON object or array, otherwise `text`."""
    start = payload.lstrip()[:1]
    if start in (b"{", b"["):
        try:
            msgspec.json.decode(payload)
        except RecursionError:
            return "json"  # nobody writes a text of a thousand brackets
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "text" if start == b"[" else "json"
        return "json"
    return "text"


def decode_file(
    name: str,
    topic: str,
    payload: bytes,
    *,
    content_type: str | None = None,
    user: Sequence[tuple[str, str]] = (),
    prior: Sequence[tuple[str, bytes]] = (),
) -> tuple[list[bytes], int]:
    """The lines to print and the exit status: 0, or 3 for a dead letter.

    `name` is a format or `auto`. `prior` are earlier messages of the stream, for formats that remember; json and text do not.
    """
    chosen = guess_format(payload) if name == AUTO else name
    properties: dict[str, object] = {"user": list(user)}
    if content_type is not None:
        properties["content_type"] = content_type
    decoded = decode(IngestSettings(topic=topic, format=chosen), topic, payload, properties)
    encode = msgspec.json.encode
    if isinstance(decoded, DeadLetter):
        letter = {"dead_letter": True, "reason": decoded.reason, "detail": decoded.detail}
        return [encode(letter)], EXIT_DEAD_LETTER
    return [encode(event) for event in decoded.events], 0
