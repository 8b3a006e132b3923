"""Durations and sizes written with a unit, as people write them in configuration."""

import re
from typing import Final

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")

SECONDS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES: Final = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}


def parse_duration(value: object) -> object:
    """Seconds from text such as `"10min"`; anything but text is returned as it is. Raises ValueError naming the units."""
    if not isinstance(value, str):
        return value
    return _parse(value, SECONDS, "a duration", '"30s"')


def parse_optional_duration(value: object) -> object:
    """As `parse_duration`; `"none"` is None."""
    return None if value == "none" else parse_duration(value)


def parse_optional_number(value: object) -> object:
    """None for `"none"`; anything else is returned as it is."""
    return None if value == "none" else value


def parse_size(value: object) -> object:
    """Bytes from text such as `"64KiB"`; anything but text is returned as it is. Raises ValueError naming the units."""
    if not isinstance(value, str):
        return value
    size = _parse(value, BYTES, "a size", '"64MiB"')
    if size != int(size):
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return int(size)


def _parse(text: str, units: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    found = _NUMBER.fullmatch(text)
    if found is None or (found[2] and found[2] not in units):
        raise ValueError(f"{text!r} is not {what}: write a number with one of {', '.join(units)}, such as {example}")
    return float(found[1]) * units.get(found[2], 1)
