"""Format `zigbee2mqtt`: the states that Zigbee2MQTT publishes in JSON, one flat object for each device.

A message repeats all attributes that the bridge has cached, so one that arrives is not one that was just measured; `last_seen`
is when the device was last heard of. The units are those of the attributes that Zigbee2MQTT exposes.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from edge_agent.ingest.envelope import configured_device, event_time
from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.instant import zone
from edge_agent.ingest.json_document import leaves
from edge_agent.ingest.measured import Meaning, Meanings, Readings, Told, meaning, parse_object, quality_of
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.quantities import known_quantity, name_quantity, unit_of
from edge_agent.settings import IngestSettings

_BASE_TOPIC: Final = "zigbee2mqtt"
_UNITS: Final[Mapping[str, str]] = {
    # attribute, without the name of an endpoint behind it: the unit in which it is exposed
    "temperature": "C",
    "local_temperature": "C",
    "device_temperature": "C",
    "cpu_temperature": "C",
    "soil_temperature": "C",
    "water_temperature": "C",
    "dew_point": "C",
    "current_heating_setpoint": "C",
    "occupied_heating_setpoint": "C",
    "occupied_cooling_setpoint": "C",
    "local_temperature_calibration": "C",
    "pressure": "hPa",
    "battery": "%EL",
    "soil_moisture": "%",
    "soil_fertility": "uS/cm",
    "soil_conductivity": "uS/cm",
    "position": "%",
    "power": "W",
    "power_reactive": "var",
    "power_apparent": "VA",
    "current": "A",
    "voltage": "V",
    "energy": "kWh",
    "produced_energy": "kWh",
    "ac_frequency": "Hz",
    "elapsed": "ms",
}
_QUANTITIES: Final[Mapping[str, str]] = {"power_reactive": "reactive_power", "power_apparent": "apparent_power"}
_ENDPOINT: Final = re.compile(r"(.+?)_(?:l?[0-9]{1,2}|left|right|center|top|bottom|(?:phase_)?[abc])")
_BATTERY_KEYS: Final = frozenset(("battery", "battery_low", "battery_state"))
_MAINS_KEYS: Final = frozenset(("power", "current", "energy", "ac_frequency", "power_factor"))
_MILLIVOLT_FROM: Final = 1000
_BATTERY_VOLTAGE: Final = meaning("battery_voltage", "mV")
_VOLTAGE: Final = meaning("voltage", "V")
_RAW_ILLUMINANCE: Final = meaning("illuminance_raw", None)


class Zigbee2mqttFormat:
    """The decoder of one source. The option `base_topic` is the bridge's, default `zigbee2mqtt`."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._zone = zone(settings.naive_zone)
        self._base = f"{settings.options.get('base_topic', _BASE_TOPIC)}/"
        self._meanings = Meanings(settings.units, _attribute)

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """Readings of a device's state. Availability, commands and what the bridge tells about itself hold none."""
        topic, payload, _, retain = message
        name = topic[len(self._base) :] if topic.startswith(self._base) else topic.partition("/")[2]
        why = _no_state(name) or ("" if payload else "an empty message: the device was renamed or removed")
        if why:
            explain("", why)
            return Decoded(())
        document = parse_object(self._settings, payload)
        if isinstance(document, DeadLetter):
            return document
        timed = event_time(document.get("last_seen"), "last_seen", self._zone, payload)
        if isinstance(timed, DeadLetter):
            return timed
        device = configured_device(self._settings, topic) or name or topic
        told = Told(explain)
        readings = Readings(device, timed[0], quality_of(*timed, retain), told)
        special = self._special(document)
        for key, value in document.items():
            if type(value) is dict or type(value) is list:
                if key == "device":
                    told(key, "tells about the device")
                    continue
                for path, leaf in leaves(value, key):
                    self._add(readings, path, leaf, special, told)
            elif key != "last_seen":
                self._add(readings, key, value, special, told)
        told.rest(document, readings.events)
        return Decoded(tuple(readings.events), None, timed[0])

    def _add(self, readings: Readings, path: str, value: Any, special: Mapping[str, Meaning], explain: Explain) -> None:
        if value is None:
            explain(path, "null: not known yet")
        else:
            readings.add(path, value, special.get(path) or self._meanings(path))

    def _special(self, document: Mapping[str, Any]) -> Mapping[str, Meaning]:
        """What attributes mean that say different things in different messages; a configured unit stands."""
        special: dict[str, Meaning] = {}
        if "voltage" in document and "voltage" not in self._settings.units:
            special["voltage"] = _voltage(document)
        if "illuminance_lux" in document:  # bridges before version 2: the attribute without the suffix is the raw value
            special["illuminance"] = _RAW_ILLUMINANCE
        return special


def _no_state(name: str) -> str:
    """Why a message is no state of a device; empty if it is one."""
    first, *rest = name.split("/")
    if first == "bridge":
        return "tells about the bridge"
    if rest and rest[-1] == "availability":
        return "an availability"
    if "set" in rest or "get" in rest:
        return "a command to the device"
    return ""


def _voltage(document: Mapping[str, Any]) -> Meaning:
    """Devices on a battery give its voltage in mV, those on the mains in V."""
    if _MAINS_KEYS & document.keys():
        return _VOLTAGE
    if _BATTERY_KEYS & document.keys():
        return _BATTERY_VOLTAGE
    value = document["voltage"]
    return _BATTERY_VOLTAGE if type(value) in (int, float) and value >= _MILLIVOLT_FROM else _VOLTAGE


def _attribute(path: str) -> tuple[str, str | None]:
    """Quantity and unit of an attribute; that of one endpoint (`power_l1`) means the same as that of the whole device."""
    name = path
    found = _ENDPOINT.fullmatch(path) if len(path) < 64 else None
    if found is not None and path not in _UNITS and (found[1] in _UNITS or known_quantity(found[1])):
        name = found[1]
    quantity = _QUANTITIES.get(name) or name_quantity(name, name)
    return quantity, _UNITS.get(name) or unit_of(quantity)
