"""Engineering units as people write them into Sparkplug properties, as SenML units; what SenML has none for is converted."""

from collections.abc import Callable
from typing import Final

_PERCENT: Final = {"relative_humidity": "%RH", "battery_level": "%EL"}
"""Quantities with a percentage of their own; any other is `/100`."""
_WRITTEN: Final[dict[str, str]] = {
    word: unit
    for unit, words in {
        "%RH": "%rh rh",
        "/100": "% percent pct",
        "Cel": "°c ℃ degc cel celsius",
        "deg": "° degrees",
        "dS/m": "ds/m",
        "fahrenheit": "°f ℉ degf fahrenheit",
        "hPa": "hpa mbar millibar",
        "inHg": "inhg",
        "lx": "lux lx",
        "m3": "m³ m^3",
        "mmHg": "mmhg torr",
        "pH": "ph",
        "ug/m3": "µg/m³ μg/m³ ug/m³ µg/m3",
    }.items()
    for word in words.split()
}
_CONVERTED: Final[dict[str, tuple[str, Callable[[float], float]]]] = {
    "fahrenheit": ("Cel", lambda value: round((value - 32) / 1.8, 6)),
    "inHg": ("hPa", lambda value: round(value * 33.863886667, 6)),
    "mmHg": ("hPa", lambda value: round(value * 1.333223874, 6)),
}
_TEMPERATURES: Final = {"C": "Cel", "F": "fahrenheit"}
"""Letters that are coulomb and farad unless a temperature is measured."""


def read_unit(written: str, quantity: str) -> tuple[str, Callable[[float], float] | None]:
    """The SenML unit, and the conversion into it if one is needed. A unit that is not known here stays as it is written."""
    written = written.strip()
    unit = _WRITTEN.get(written.lower(), written)
    if unit == "/100":
        return _PERCENT.get(quantity, unit), None
    if "temp" in quantity.lower():
        unit = _TEMPERATURES.get(unit, unit)
    return _CONVERTED.get(unit) or (unit, None)
