"""Which quantity a name means, and the SenML unit where the quantity alone settles it."""

from typing import Final

_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "temperature": ("temp", "airtemperature"),
    "relative_humidity": ("humidity", "hum", "rh", "relhumidity", "airhumidity"),
    "pressure": ("airpressure", "barometricpressure", "barometer"),
    "illuminance": ("lux", "lightintensity"),
    "co2": ("eco2", "carbondioxide"),
    "soil_moisture": ("soilhumidity", "vwc"),
    "soil_temperature": ("soiltemp",),
    "soil_ec": ("soilconductivity",),
    "ph": (),
    "wind_speed": ("windspd",),
    "wind_direction": ("winddir",),
    "rain_intensity": ("rainrate",),
    "rain_total": ("rain", "rainfall", "precipitation"),
    "water_total": (),
    "power": ("apower", "activepower"),
    "energy": (),
    "voltage": (),
    "current": (),
    "power_factor": ("pf",),
    "battery_level": ("battery", "batterypercent", "batt"),
    "battery_voltage": ("vbat", "batteryv"),
    "rssi": (),
    "snr": ("lorasnr",),
    "link_quality": ("linkquality", "lqi"),
    "occupancy": ("motion", "presence"),
    "contact": (),
    "vibration": (),
    "flow": ("flowrate", "waterflow"),
}
_UNITS: Final[dict[str, str]] = {
    # only where nobody means anything else: a temperature may be in °F, a pressure in mmHg, a battery in volts
    "relative_humidity": "%RH",
    "illuminance": "lx",
    "co2": "ppm",
    "wind_direction": "deg",
    "rssi": "dBm",
    "snr": "dB",
}
_BY_WORD: Final = {word.replace("_", ""): quantity for quantity, words in _WORDS.items() for word in (quantity, *words)}


def known_quantity(word: str) -> str | None:
    """The quantity that one word means (`Humidity`, `soilMoisture`, `wind-speed`), or None."""
    if len(word) > 40:
        return None
    return _BY_WORD.get(word.lower().replace("_", "").replace("-", ""))


def name_quantity(name: str, path: str) -> str:
    """The quantity of a value: what its configured name or the last name of its path means, else that last name itself."""
    last = last_name(path)
    return known_quantity(name) or known_quantity(last) or last


def last_name(path: str) -> str:
    """The last part of a dotted path that is a name and no array position."""
    parts = path.split(".")
    for part in reversed(parts):
        if part and not part.isdigit():
            return part
    return path


def unit_of(quantity: str) -> str | None:
    """The SenML unit that everybody means by this quantity, or None."""
    return _UNITS.get(quantity)
