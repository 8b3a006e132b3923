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
_CONVERSIONS: Final[dict[str, tuple[str, Decimal | None, Decimal, Decimal | None]]] = {
    # the unit's name at the device: SenML unit, offset to add first, factor, divisor
    "F": ("Cel", Decimal(-32), Decimal(5), Decimal(9)),
    "mmHg": ("hPa", None, Decimal("1.33322387415"), None),
    "inHg": ("hPa", None, Decimal("33.86388640341"), None),
    "kPa": ("hPa", None, Decimal(10), None),
    "mV": ("V", None, Decimal("0.001"), None),
    "mWh": ("Wh", None, Decimal("0.001"), None),
    "kn": ("m/s", None, Decimal(1852), Decimal(3600)),
    "mph": ("m/s", None, Decimal("0.44704"), None),
    "ft/s": ("m/s", None, Decimal("0.3048"), None),
    "yd/s": ("m/s", None, Decimal("0.9144"), None),
    "uS/cm": ("dS/m", None, Decimal("0.001"), None),
    "fraction RH": ("%RH", None, Decimal(100), None),
}
_KEPT_DIGITS: Final = 6
"""Digits that a result keeps behind the last one sent: enough to lose nothing, and no noise."""
_STEPS: Final = tuple(Decimal(1).scaleb(-places) for places in range(32))
"""One in the last place, by the number of places."""


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
    text = repr(value)
    exact = Decimal(text)
    if offset is not None:
        exact += offset
    exact *= factor
    if divisor is not None:
        exact /= divisor
    places = _KEPT_DIGITS
    if "e" in text:
        places += max(-int(text[text.index("e") + 1 :]), 0) + text.find("e")
    elif "." in text:
        places += len(text) - text.index(".") - 1
    if places < len(_STEPS):
        with suppress(InvalidOperation):  # more digits than the context holds: nothing to round away
            exact = exact.quantize(_STEPS[places])
    result = float(exact)
    return result if isfinite(result) else None
