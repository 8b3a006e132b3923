"""Engineering units as people write them into Sparkplug properties, by the names that `unit_conversion.py` knows."""

from typing import Final

_PERCENT: Final = {"relative_humidity": "%RH", "battery_level": "%EL"}
"""Quantities with a percentage of their own; any other is a share of 100."""
_WRITTEN: Final[dict[str, str]] = {
    word: unit
    for unit, words in {
        "%": "% percent pct",
        "%RH": "%rh rh",
        "Cel": "°c ℃ degc cel celsius",
        "F": "°f ℉ degf fahrenheit",
        "deg": "° degrees",
        "dS/m": "ds/m",
        "hPa": "hpa mbar millibar",
        "inHg": "inhg",
        "kPa": "kpa",
        "kWh": "kwh",
        "lx": "lux lx",
        "m3": "m³ m^3",
        "mmHg": "mmhg torr",
        "pH": "ph",
        "uS/cm": "us/cm µs/cm μs/cm",
        "ug/m3": "µg/m³ μg/m³ ug/m³ µg/m3",
    }.items()
    for word in words.split()
}
_TEMPERATURES: Final = frozenset("CF")
"""Letters that are coulomb and farad unless a temperature is measured."""


def read_unit(written: str, quantity: str) -> str | None:
    """The unit of a quantity: as it is written if it is not known here, None where it is a letter that may mean anything."""
    written = written.strip()
    unit = _WRITTEN.get(written.lower(), written)
    if written in _TEMPERATURES and "temp" not in quantity.lower():
        return None
    return _PERCENT.get(quantity, unit) if unit == "%" else unit
