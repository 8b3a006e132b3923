"""A JSON payload parsed within limits, and values looked up in it by dotted path."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from math import isinf
from typing import Any, Final

import msgspec

from edge_agent.ingest.events import DeadLetter
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

MISSING: Final = object()
"""What `find` gives where the document has nothing under a path; a null that is there is None."""
MAX_PATH: Final = 4096
"""Characters of a value's path: every reading below a long key repeats it, so it would fill the memory."""
PATHS_FIT: Final = 16 * 1024
"""A payload of so many bytes has no paths that could."""

_decode = msgspec.json.Decoder().decode


def _exact_number(text: str) -> Decimal:
    if isinf(float(text)):
        raise ValueError("Number out of range")
    try:
        return Decimal(text)
    except InvalidOperation:  # so small that a Decimal has no exponent for it
        return Decimal(0)


_decode_exactly = msgspec.json.Decoder(float_hook=_exact_number).decode


def parse(settings: IngestSettings, payload: bytes, *, exact: bool = False) -> Any:
    """The document, or a DeadLetter: over a limit, not JSON, not UTF-8. `exact` gives Decimals for floats."""
    if len(payload) > settings.max_bytes:
        return DeadLetter(Reason.TOO_LARGE, f"{len(payload)} bytes, allowed are {settings.max_bytes}")
    try:
        document = _decode_exactly(payload) if exact else _decode(payload)
    except RecursionError:
        return DeadLetter(Reason.TOO_DEEP, f"nested more than {settings.max_depth} levels deep")
    except UnicodeDecodeError as error:  # its place is that in a text, not in the payload
        return _not_utf8(payload) or DeadLetter(Reason.NOT_UTF8, error.reason)
    except msgspec.ValidationError as error:
        return DeadLetter(Reason.NOT_FINITE, str(error))  # the one validation of untyped JSON: a number out of range
    except msgspec.DecodeError as error:
        return _not_utf8(payload) or DeadLetter(Reason.NOT_JSON, str(error) if payload.strip() else "the payload is empty")
    # an upper bound that costs nothing: most payloads cannot break the limits, and are not walked
    if (
        len(payload) > PATHS_FIT
        or payload.count(b"[") + payload.count(b"{") > settings.max_depth
        or payload.count(b",") >= settings.max_values
    ):
        return check_limits(settings, document)
    return document


def _not_utf8(payload: bytes) -> DeadLetter | None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        return DeadLetter(Reason.NOT_UTF8, f"byte {error.start}: {error.reason}")
    return None


def find(document: Any, path: str) -> Any:
    """The value under a dotted path (array positions as numbers, keys may hold dots themselves), or MISSING."""
    if type(document) is dict:
        value = document.get(path, MISSING)
        if value is not MISSING or "." not in path:
            return value
        cut = path.find(".")
        while cut >= 0:
            inner = document.get(path[:cut], MISSING)
            if inner is not MISSING:
                value = find(inner, path[cut + 1 :])
                if value is not MISSING:
                    return value
            cut = path.find(".", cut + 1)
        return MISSING
    if type(document) is list:
        head, _, rest = path.partition(".")
        if not head.isdecimal() or not head.isascii() or len(head) > 9 or int(head) >= len(document):
            return MISSING
        return find(document[int(head)], rest) if rest else document[int(head)]
    return MISSING


def find_exactly(payload: bytes, path: str) -> Any:
    """Like `find`, with floats as Decimals that keep every digit sent. For payloads that `parse` accepted."""
    return find(_decode_exactly(payload), path)


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every leaf of a value with its dotted path, nulls included, in the order of the payload. `parse` has bounded the depth.

    `path` is that of the value itself: empty for the whole document. Empty objects and arrays have no leaves.
    """
    pending = [(path, value)]
    while pending:
        path, value = pending.pop()
        if type(value) is dict:
            before = f"{path}." if path else ""
            pending.extend([(f"{before}{key}", item) for key, item in value.items()][::-1])
        elif type(value) is list:
            before = f"{path}." if path else ""
            pending.extend([(f"{before}{place}", item) for place, item in enumerate(value)][::-1])
        else:
            yield path, value


def check_limits(settings: IngestSettings, document: Any) -> Any:
    """The document, or a DeadLetter if it is nested too deeply, holds too many values or has too long a path."""
    level: list[tuple[Any, int]] = [(document, 0)]
    depth = values = 0
    while level:
        below: list[tuple[Any, int]] = []
        nested = False
        for item, path in level:
            if path > MAX_PATH:
                return DeadLetter(Reason.TOO_LARGE, f"the path of a value is longer than {MAX_PATH} characters")
            if type(item) is dict:
                nested = True
                below.extend([(value, path + len(key) + 1) for key, value in item.items()])
            elif type(item) is list:
                nested = True
                below.extend([(value, path + 2) for value in item])
            if not item or (type(item) is not dict and type(item) is not list):
                values += 1  # an empty object or array counts as a value too
        depth += nested
        if depth > settings.max_depth:
            return DeadLetter(Reason.TOO_DEEP, f"nested more than {settings.max_depth} levels deep")
        if values > settings.max_values:
            return DeadLetter(Reason.TOO_MANY_VALUES, f"more than {settings.max_values} values")
        level = below
    return document
