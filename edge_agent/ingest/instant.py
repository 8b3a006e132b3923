"""Event times: RFC 3339 text with all its digits kept, or numbers of seconds or milliseconds since 1970."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

MILLISECONDS_FROM: Final = 100_000_000_000
"""Numbers below are seconds since 1970, others milliseconds: as seconds this is the year 5138, as milliseconds 1973."""

MAX_TEXT: Final = 80
"""Characters of a time: 40 digits behind the second and a zone have room, and no more is repeated in each reading."""

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})([.,][0-9]+)?)?)?\s?"
    r"([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_PLAIN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]+)?Z").fullmatch
"""What nearly every sensor sends, and needs no rewriting."""
_NUMBER = re.compile(r"([0-9]{1,15})(?:\.([0-9]+))?").fullmatch
"""A moment since 1970 as nearly every sensor sends it: no sign, no exponent."""
_MILLISECOND_DIGITS: Final = len(str(MILLISECONDS_FROM))
_MAX_FRACTION: Final = 39
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - only its sum with seconds is formatted


def zone(name: str) -> tzinfo:
    """The zone of times that carry none; raises ValueError for an unknown one."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:
        raise ValueError(f"time zone {name!r} is not known on this system") from error


def read_time(value: object, naive: tzinfo) -> tuple[str, bool]:
    """Read a time from a payload; returns RFC 3339 text with a zone, and whether the zone had to be assumed.

    Raises ValueError. A float should come as a Decimal, so that its digits are those that were sent.
    """
    if isinstance(value, str):
        return _read_text(value, naive)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"a time is a text or a number, not {type(value).__name__}")
    return _read_number(value), False


def seconds(text: str) -> float:
    """Seconds since 1970 of a time that `read_time` gave."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:  # a leap second, which datetime does not know
        return datetime.fromisoformat(text.replace(":60", ":59", 1)).timestamp() + 1.0


def format_millis(millis: int) -> str | None:
    """Milliseconds since 1970 as RFC 3339 in UTC; None outside the years 1 to 9999."""
    whole, rest = divmod(millis, 1000)
    try:
        text = (_EPOCH + timedelta(seconds=whole)).isoformat()[:-6]
    except OverflowError:
        return None
    return f"{text}.{rest:03}Z" if rest else f"{text}Z"


def from_seconds(exact: Decimal) -> str:
    """Seconds since 1970 as RFC 3339 in UTC, with all their digits; raises ValueError outside the years 1 to 9999."""
    whole = int(exact.to_integral_value("ROUND_FLOOR")) if exact.is_finite() and abs(exact) < 10**15 else 10**15
    try:
        moment = _EPOCH + timedelta(seconds=whole)
    except OverflowError as error:
        raise ValueError(f"{str(exact)[:64]} is not a time since 1970") from error
    rest = exact - whole
    digits = f"{rest:f}"[1:].rstrip("0").rstrip(".") if rest else ""
    return f"{moment.replace(tzinfo=None).isoformat()}{digits[:40]}Z"


def format_micros(micros: int) -> str | None:
    """Microseconds since 1970 as RFC 3339 in UTC; None outside the years 1 to 9999."""
    try:
        moment = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return None
    text = moment.isoformat()
    return text[:-6] + "Z"


def _read_text(value: str, naive: tzinfo) -> tuple[str, bool]:
    if len(value) > MAX_TEXT:
        raise ValueError(f"{value[:64]!r}… is longer than a time")
    if _PLAIN(value):
        datetime.fromisoformat(value)
        return value, False
    match = _RFC3339.fullmatch(value)
    if match is None:
        raise ValueError(f"{value[:64]!r} is not an RFC 3339 time")
    day, minute, second, fraction, offset = match.groups()
    second = second or "00"
    leap = second == "60"
    bare = f"{day}T{minute or '00:00'}:"
    digits = f".{fraction[1:]}" if fraction else ""
    moment = datetime.fromisoformat(f"{bare}{'59' if leap else second}")
    if offset is None:
        return f"{bare}{second}{digits}{_offset(moment, naive)}", True
    if offset in "Zz":
        offset = "Z"
    else:
        hours, minutes = offset[1:3], offset[3:].lstrip(":") or "00"
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError(f"{value[:64]!r} has an impossible zone")
        offset = f"{offset[0]}{hours}:{minutes}"
    return f"{bare}{second}{digits}{offset}", False


def _offset(moment: datetime, naive: tzinfo) -> str:
    delta = moment.replace(tzinfo=naive).utcoffset() or timedelta()
    if not delta:
        return "Z"
    # zones of before 1900 had odd seconds, which RFC 3339 cannot say
    minutes = round(delta.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _read_number(value: int | float | Decimal) -> str:
    found = _NUMBER(str(value))
    if found is not None:
        head, fraction = found.groups("")
        if len(head) >= _MILLISECOND_DIGITS:
            head, fraction = head[:-3], head[-3:] + fraction
        try:
            moment = _NAIVE_EPOCH + timedelta(seconds=int(head))
        except OverflowError as error:
            raise ValueError(f"{str(value)[:64]} is not a time since 1970") from error
        fraction = fraction.rstrip("0")[:_MAX_FRACTION]
        return f"{moment.isoformat()}.{fraction}Z" if fraction else f"{moment.isoformat()}Z"
    exact = value if isinstance(value, Decimal) else Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    if not exact.is_finite() or abs(exact) >= 10**15:
        raise ValueError(f"{str(value)[:64]} is not a time since 1970")
    return from_seconds(exact.scaleb(-3) if abs(exact) >= MILLISECONDS_FROM else exact)
