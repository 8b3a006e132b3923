"""Which quantity a name means, and the SenML unit where the quantity alone settles it."""

from typing import Final

_WORDS: Final[dict[str, tuple[str, ...]]] = {
    # air and weather
    "temperature": ("temp", "airtemperature", "localtemperature"),
    "relative_humidity": ("humidity", "hum", "rh", "relhumidity", "airhumidity"),
    "dew_point": (),
    "pressure": ("airpressure", "atmosphericpressure", "barometricpressure", "barometer"),
    "sea_level_pressure": ("seapressure",),
    "illuminance": ("lux", "lightintensity", "illuminancelux"),
    "uv_index": ("uvi",),
    "wind_speed": ("windspd",),
    "wind_gust": ("gustspeed", "windgustspeed"),
    "wind_direction": ("winddir",),
    "rain_intensity": ("rainrate",),
    "rain_total": ("rain", "rainfall", "precipitation"),
    # air quality
    "co2": ("eco2", "carbondioxide"),
    "co": ("carbonmonoxide",),
    "voc": ("tvoc",),
    "formaldehyde": ("formaldehyd", "hcho"),
    "pm1": (),
    "pm25": (),
    "pm10": (),
    "noise": ("soundlevel",),
    # soil and water
    "soil_moisture": ("soilhumidity", "vwc", "moisture"),
    "soil_temperature": ("soiltemp",),
    "soil_ec": ("soilconductivity", "soilfertility"),
    "ph": (),
    "water_temperature": ("watertemp",),
    "water_total": ("waterconsumed",),
    "water_leak": ("leak", "waterleakdetected"),
    "flow": ("flowrate", "waterflow"),
    # electricity
    "power": ("apower", "activepower", "actpower"),
    "apparent_power": ("aprtpower",),
    "reactive_power": (),
    "power_factor": ("pf",),
    "energy": (),
    "return_energy": ("producedenergy", "energyreturned"),
    "voltage": (),
    "current": (),
    "frequency": ("freq", "acfrequency"),
    # the device itself
    "battery_level": ("battery", "batterypercent", "batterypercentage", "batt"),
    "battery_voltage": ("vbat", "batteryv", "batv"),
    "device_temperature": (),
    "rssi": (),
    "snr": ("lorasnr",),
    "link_quality": ("linkquality", "lqi"),
    "tamper": ("tampered",),
    # presence, movement, place
    "occupancy": ("motion", "presence"),
    "contact": ("contactstate",),
    "vibration": (),
    "smoke": ("smokedetected",),
    "gas": (),
    "distance": (),
    "weight": (),
    "position": ("currentpos",),
    "latitude": ("lat",),
    "longitude": ("lon", "lng"),
    "altitude": (),
}
_UNITS: Final[dict[str, str]] = {
    # only where nobody means anything else: a temperature may be in °F, a pressure in mmHg, a battery in volts
    "relative_humidity": "%RH",
    "illuminance": "lx",
    "co2": "ppm",
    "wind_direction": "deg",
    "apparent_power": "VA",
    "reactive_power": "var",
    "ph": "pH",
    "rssi": "dBm",
    "snr": "dB",
    "latitude": "lat",
    "longitude": "lon",
    "pm1": "ug/m3",
    "pm25": "ug/m3",
    "pm10": "ug/m3",
}
_MARKS: Final = str.maketrans("", "", "_-. ")
_BY_WORD: Final = {word.translate(_MARKS): quantity for quantity, words in _WORDS.items() for word in (quantity, *words)}


def known_quantity(word: str) -> str | None:
    """The quantity that one word means (`Humidity`, `soilMoisture`, `wind-speed`, `PM2.5`), or None."""
    if len(word) > 40:
        return None
    return _BY_WORD.get(word.lower().translate(_MARKS))


def name_quantity(name: str, path: str) -> str:
    """The quantity of a value: what its configured name or the last name of its path means, else that last name itself."""
    last = last_name(path)
    return known_quantity(name) or known_quantity(last) or _dotted_quantity(path) or last


def _dotted_quantity(path: str) -> str | None:
    """What a key that holds a dot itself (`PM2.5`) means at the end of a path."""
    parts = path.rsplit(".", 2)
    return known_quantity(".".join(parts[-2:])) if parts[-1].isdigit() else None


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
