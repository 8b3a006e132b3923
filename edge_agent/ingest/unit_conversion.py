"""Units as devices name them: the SenML unit, and the conversion of those that SenML does not have.

SenML units are those of RFC 8428 and RFC 8798. A conversion works on the decimal digits that were sent, so that it adds no
noise of binary fractions: 71.6 °F are 22.0 Cel. What cannot be said exactly is rounded six digits behind the last one sent.
"""

from contextlib import suppress
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Final

_NAMES: Final[dict[str, str]] = {
    # the unit's name at the device: the SenML unit of the same size
    "C": "Cel",
    "%": "/100",
    "L": "l",
}
_ONE: Final = Decimal(1)
_CONVERSIONS: Final[dict[str, tuple[str, Decimal, Decimal, Decimal]]] = {
    # the unit's name at the device: SenML unit, offset to add first, factor, divisor
    "F": ("Cel", Decimal(-32), Decimal(5), Decimal(9)),
    "mmHg": ("hPa", Decimal(0), Decimal("1.33322387415"), _ONE),
    "inHg": ("hPa", Decimal(0), Decimal("33.86388640341"), _ONE),
    "kPa": ("hPa", Decimal(0), Decimal(10), _ONE),
    "mV": ("V", Decimal(0), _ONE, Decimal(1000)),
    "mWh": ("Wh", Decimal(0), _ONE, Decimal(1000)),
    "kn": ("m/s", Decimal(0), Decimal(1852), Decimal(3600)),
    "mph": ("m/s", Decimal(0), Decimal("0.44704"), _ONE),
    "ft/s": ("m/s", Decimal(0), Decimal("0.3048"), _ONE),
    "yd/s": ("m/s", Decimal(0), Decimal("0.9144"), _ONE),
    "uS/cm": ("dS/m", Decimal(0), _ONE, Decimal(1000)),
    "fraction RH": ("%RH", Decimal(0), Decimal(100), _ONE),
}
_KEPT_DIGITS: Final = 6
"""Digits that a result keeps behind the last one sent: enough to lose nothing, and no noise."""


def senml_unit(unit: str) -> str:
    """The SenML unit in which a value sent in `unit` is given."""
    conversion = _CONVERSIONS.get(unit)
    return _NAMES.get(unit, unit) if conversion is None else conversion[0]


def is_converted(unit: str) -> bool:
    """Whether a value sent in this unit changes on the way to SenML."""
    return unit in _CONVERSIONS


def convert(value: float, unit: str) -> float | None:
    """A number sent in a unit that `is_converted`, in its SenML unit; None where the result is beyond what a float holds."""
    _, offset, factor, divisor = _CONVERSIONS[unit]
    sent = Decimal(value) if type(value) is int else Decimal(repr(value))
    exponent = sent.as_tuple().exponent
    exact = (sent + offset) * factor / divisor
    places = _KEPT_DIGITS - min(exponent, 0) if isinstance(exponent, int) else _KEPT_DIGITS
    with suppress(InvalidOperation):  # more digits than the context holds: nothing to round away
        exact = exact.quantize(_ONE.scaleb(-places))
    result = float(exact)
    return result if isfinite(result) else None
