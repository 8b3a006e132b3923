"""Format `tasmota`: the telemetry that Tasmota publishes under `tele/{topic}/SENSOR`.

Each sensor is an object; two of one kind are numbered (`DS18B20-1`). The units of temperatures, pressures and speeds stand at
the root, because the device's owner chooses them. A sensor that is lost gives null.
"""

from collections.abc import Mapping
from typing import Any, Final

from edge_agent.ingest.envelope import configured_device, event_time
from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.instant import zone
from edge_agent.ingest.json_document import leaves
from edge_agent.ingest.measured import NO_ATTRIBUTES, Meanings, Readings, Told, parse_object, quality_of
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.quantities import name_quantity, unit_of
from edge_agent.settings import IngestSettings

_CHOSEN: Final[Mapping[str, tuple[str, ...]]] = {
    "TempUnit": ("C", "F"),
    "PressureUnit": ("hPa", "mmHg", "inHg"),
    "SpeedUnit": ("m/s", "km/h", "kn", "mph", "ft/s", "yd/s"),
}
"""Root key to the units that it may name."""
_NOT_READINGS: Final = frozenset(("Time", "Epoch", *_CHOSEN))
_SENSOR: Final[Mapping[str, tuple[str | None, str | None]]] = {
    # key of a sensor: quantity (None: what the word means), and unit or the root key that names it
    "Temperature": (None, "TempUnit"),
    "DewPoint": (None, "TempUnit"),
    "HeatIndex": ("heat_index", "TempUnit"),
    "Pressure": (None, "PressureUnit"),
    "SeaPressure": (None, "PressureUnit"),
    "Humidity": (None, "%RH"),
    "Moisture": (None, "%"),
    "Battery": (None, "%EL"),
    "BatteryPercentage": (None, "%EL"),
    "BatteryVoltage": (None, "V"),
    "Speed": ("wind_speed", "SpeedUnit"),
    "WindSpeed": (None, "SpeedUnit"),
    "Voltage": (None, "V"),
    "Current": (None, "A"),
    "Power": (None, "W"),
    "ApparentPower": (None, "VA"),
    "ReactivePower": (None, "var"),
    "Frequency": (None, "Hz"),
    "TVOC": (None, "ppb"),
    "Weight": (None, "kg"),
}
_ENERGY: Final[Mapping[str, tuple[str | None, str | None]]] = {
    # the same for the meter `ENERGY`
    "Total": ("energy", "kWh"),
    "Yesterday": ("energy", "kWh"),
    "Today": ("energy", "kWh"),
    "Period": ("energy", "Wh"),
    "TotalTariff": ("energy", "kWh"),
    "ImportActive": ("energy", "kWh"),
    "ExportActive": ("return_energy", "kWh"),
    "ExportTariff": ("return_energy", "kWh"),
    "ImportReactive": ("reactive_energy", "kvarh"),
    "ExportReactive": ("reactive_energy", "kvarh"),
    "Factor": ("power_factor", None),
    "PhaseAngle": ("phase_angle", "deg"),
}
_METER: Final = "ENERGY"
_TARIFFS: Final = frozenset(("TotalTariff", "ExportTariff"))


class TasmotaFormat:
    """The decoder of one source."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._zone = zone(settings.naive_zone)
        self._meanings: dict[tuple[str | None, ...], Meanings] = {}
        """By the units chosen at the root."""

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """Readings of a SENSOR message; LWT, STATE, RESULT and whatever else a device publishes hold none."""
        topic, payload, _, retain = message
        *above, last = topic.split("/")
        if last != "SENSOR":
            explain("", f"`{last}` is no telemetry of sensors")
            return Decoded(())
        document = parse_object(self._settings, payload)
        if isinstance(document, DeadLetter):
            return document
        timed = event_time(document.get("Time"), "Time", self._zone, payload)
        if not isinstance(timed, DeadLetter) and timed[1] and "Epoch" in document:
            timed = event_time(document["Epoch"], "Epoch", self._zone, payload)  # the same moment, and needs no zone
        if isinstance(timed, DeadLetter):
            return timed
        device = configured_device(self._settings, topic)
        if device is None:
            device = "/".join(above[1:] if above[:1] == ["tele"] else [level for level in above if level != "tele"])
        told = Told(explain)
        readings = Readings(device or topic, timed[0], quality_of(*timed, retain), told)
        meanings = self._of_units(document)
        for key, value in document.items():
            if type(value) is dict:
                self._add_sensor(key, value, readings, meanings, told)
            elif value is None:
                told(key, "null: nothing of it is known")
            elif key not in _NOT_READINGS:
                for path, leaf in leaves(value, key):
                    readings.add(path, leaf, meanings(path))
        told.rest(document, readings.events)
        return Decoded(tuple(readings.events), None, timed[0])

    def _of_units(self, document: Mapping[str, Any]) -> Meanings:
        chosen = tuple(
            unit if (unit := document.get(key)) in allowed else None  # a unit that nobody knows says nothing
            for key, allowed in _CHOSEN.items()
        )
        meanings = self._meanings.get(chosen)
        if meanings is None:
            units = dict(zip(_CHOSEN, chosen, strict=True))
            meanings = self._meanings[chosen] = Meanings(self._settings.units, lambda path: _meaning(path, units))
        return meanings

    def _add_sensor(
        self, sensor: str, content: Mapping[str, Any], readings: Readings, meanings: Meanings, explain: Explain
    ) -> None:
        """What one sensor measured. Its `Id` tells it from others of its kind; the meter has arrays of phases and tariffs."""
        attributes = {"id": content["Id"]} if type(content.get("Id")) in (str, int) else NO_ATTRIBUTES
        for key, value in content.items():
            path = f"{sensor}.{key}"
            if type(value) is list and sensor == _METER:
                counted = "tariff" if key in _TARIFFS else "phase"
                for place, item in enumerate(value):
                    for inside, leaf in leaves(item, f"{path}.{place}"):
                        readings.add(inside, leaf, meanings(inside), {**attributes, counted: place + 1})
            elif type(value) is dict or type(value) is list:
                for inside, leaf in leaves(value, path):
                    readings.add(inside, leaf, meanings(inside), attributes)
            elif key == "Id" and attributes:
                explain(path, "given as attribute `id`")
            else:
                readings.add(path, value, meanings(path), attributes)


def _meaning(path: str, units: Mapping[str, str | None]) -> tuple[str, str | None]:
    sensor, _, inside = path.partition(".")
    parts = [part for part in inside.split(".") if not part.isdigit()]
    key = parts[-1] if parts else sensor
    known = (_ENERGY.get(key) if sensor == _METER else None) or _SENSOR.get(key) or (None, None)
    quantity = known[0] or name_quantity(path, path)
    unit = known[1]
    if unit is not None:
        unit = units.get(unit, unit)
    return quantity, unit or unit_of(quantity)
