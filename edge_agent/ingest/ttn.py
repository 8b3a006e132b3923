"""Format `ttn`: uplinks of The Things Stack v3 (The Things Network and private installations).

`normalized_payload`, an array of measurements in units that its schema fixes, goes before `decoded_payload`, which is whatever
the device's payload formatter gives. What is missing was not measured.
"""

from collections.abc import Mapping
from typing import Any, Final

from edge_agent.ingest.envelope import configured_device, event_time
from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.instant import zone
from edge_agent.ingest.json_document import leaves
from edge_agent.ingest.measured import Meaning, Meanings, Readings, Told, WrongShape, meaning, member, parse_object, quality_of
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.quantities import name_quantity, unit_of
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

_UPLINK: Final = "uplink_message"
_NORMALIZED: Final = f"{_UPLINK}.normalized_payload"
_DECODED: Final = f"{_UPLINK}.decoded_payload"
_RECEIVED: Final = f"{_UPLINK}.rx_metadata"
_RSSI: Final = meaning("rssi", "dBm")
_SNR: Final = meaning("snr", "dB")
_SCHEMA: Final[Mapping[str, Meaning]] = {
    # path inside one measurement: what the schema of normalized payloads says about it
    "air.temperature": meaning("temperature", "Cel"),
    "air.relativeHumidity": meaning("relative_humidity", "%RH"),
    "air.pressure": meaning("pressure", "hPa"),
    "air.co2": meaning("co2", "ppm"),
    "air.lightIntensity": meaning("illuminance", "lx"),
    "soil.moisture": meaning("soil_moisture", "%"),
    "soil.temperature": meaning("soil_temperature", "Cel"),
    "soil.ec": meaning("soil_ec", "dS/m"),
    "soil.pH": meaning("ph", "pH"),
    "soil.n": meaning("soil_nitrogen", "ppm"),
    "soil.p": meaning("soil_phosphorus", "ppm"),
    "soil.k": meaning("soil_potassium", "ppm"),
    "wind.speed": meaning("wind_speed", "m/s"),
    "wind.direction": meaning("wind_direction", "deg"),
    "rain.intensity": meaning("rain_intensity", "mm/h"),
    "rain.cumulative": meaning("rain_total", "mm"),
    "water.leak": meaning("water_leak", None),
    "water.temperature.current": meaning("water_temperature", "Cel"),
    "water.temperature.min": meaning("water_temperature", "Cel"),
    "water.temperature.max": meaning("water_temperature", "Cel"),
    "water.temperature.avg": meaning("water_temperature", "Cel"),
    "metering.water.total": meaning("water_total", "L"),
    "action.motion.detected": meaning("occupancy", None),
    "action.motion.count": meaning("motion_count", None),
    "action.contactState": meaning("contact", None),
    "position.latitude": meaning("latitude", "lat"),
    "position.longitude": meaning("longitude", "lon"),
    "position.altitude": meaning("altitude", "m"),
    "battery": meaning("battery_voltage", "V"),
}
_TELLING: Final[Mapping[str, tuple[str, str]]] = {
    # part of a measurement: the key that tells about the readings beside it, and the attribute that it becomes
    "soil": ("depth", "depth_cm"),
    "water": ("depth", "depth_cm"),
    "air": ("location", "location"),
}


class TtnFormat:
    """The decoder of one source."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._zone = zone(settings.naive_zone)
        self._decoded = Meanings(settings.units, _decoded_meaning)

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """Readings of an uplink; joins, downlinks and the service's own messages hold none."""
        levels = message.topic.split("/")
        if levels[0] == "v3" and levels[4:] != ["up"]:
            explain("", "no uplink")
            return Decoded(())
        document = parse_object(self._settings, message.payload)
        if isinstance(document, DeadLetter):
            return document
        try:
            return self._read(document, levels, message, Told(explain))
        except WrongShape as error:
            return DeadLetter(Reason.WRONG_SHAPE, str(error))

    def _read(self, document: dict[str, Any], levels: list[str], message: Message, explain: Told) -> Decoded | DeadLetter:
        uplink = member(document, _UPLINK, dict, _UPLINK)
        if uplink is None:
            return DeadLetter(Reason.WRONG_SHAPE, f"{_UPLINK}: missing")
        ids = member(document, "end_device_ids", dict, "end_device_ids") or {}
        device = configured_device(self._settings, message.topic) or member(ids, "device_id", str, "end_device_ids.device_id")
        if not device:
            device = levels[3] if len(levels) > 3 else message.topic
        timed = self._time(uplink, "received_at", f"{_UPLINK}.received_at", message)
        if not isinstance(timed, DeadLetter) and timed[0] is None:
            timed = self._time(document, "received_at", "received_at", message)
        if isinstance(timed, DeadLetter):
            return timed
        more = ("simulated",) if document.get("simulated") is True else ()
        quality = quality_of(*timed, message.retain, *more)
        readings = Readings(device, timed[0], quality, explain)
        received = member(uplink, "rx_metadata", list, _RECEIVED) or []
        best = _best_gateway(received)
        attributes = _attributes(uplink, received, best)
        measurements = member(uplink, "normalized_payload", list, _NORMALIZED)
        if measurements:
            if "decoded_payload" in uplink:
                explain(_DECODED, "the normalized payload goes before it")
            for place, measurement in enumerate(measurements):
                path = f"{_NORMALIZED}.{place}"
                if type(measurement) is not dict:
                    return DeadLetter(Reason.WRONG_SHAPE, f"{path}: an object is needed")
                own = self._time(measurement, "time", f"{path}.time", message)
                if isinstance(own, DeadLetter):
                    return own
                if own[0] is None:
                    readings.at(timed[0], quality)
                else:
                    readings.at(own[0], quality_of(*own, message.retain, *more))
                self._add_measurement(measurement, path, readings, attributes, explain)
            readings.at(timed[0], quality)
        else:
            self._add_decoded(uplink, readings, attributes, explain)
        if best is not None:
            for key, means in (("rssi", _RSSI), ("snr", _SNR)):
                if received[best].get(key) is not None:
                    readings.add(f"{_RECEIVED}.{best}.{key}", received[best][key], means, attributes)
        explain.rest(document, readings.events)
        events = tuple(readings.events)
        return Decoded(events, None, events[0].time if events else timed[0])

    def _time(self, parent: dict[str, Any], key: str, path: str, message: Message) -> tuple[str | None, bool] | DeadLetter:
        return event_time(parent.get(key), path, self._zone, message.payload)

    def _add_measurement(
        self, measurement: dict[str, Any], path: str, readings: Readings, attributes: dict[str, Any], explain: Explain
    ) -> None:
        units = self._settings.units
        for part, content in measurement.items():
            if part == "time":
                continue
            key, attribute = _TELLING.get(part, ("", ""))
            telling = content.get(key) if type(content) is dict else None
            tells = f"{part}.{key}" if type(telling) in (int, float, str) else None
            beside = attributes if tells is None else {**attributes, attribute: telling}
            for inside, value in leaves(content, part):
                name = f"{path}.{inside}"
                if inside == tells:
                    explain(name, f"given as attribute `{attribute}`")
                elif value is None:
                    explain(name, "null: not measured")
                else:
                    means = _SCHEMA.get(inside) or meaning(name_quantity(inside, inside), None)
                    if name in units:
                        means = Meaning(means.quantity, units[name], None)
                    readings.add(name, value, means, beside)

    def _add_decoded(self, uplink: dict[str, Any], readings: Readings, attributes: dict[str, Any], explain: Explain) -> None:
        decoded = member(uplink, "decoded_payload", dict, _DECODED)
        if decoded is None:
            explain(f"{_UPLINK}.frm_payload", "bytes that no payload formatter has decoded")
            return
        meanings = self._decoded
        for path, value in leaves(decoded, _DECODED):
            if value is None:
                explain(path, "null: not measured")
            else:
                readings.add(path, value, meanings(path), attributes)


def _decoded_meaning(path: str) -> tuple[str, str | None]:
    quantity = name_quantity(path, path)
    return quantity, unit_of(quantity)


def _attributes(uplink: dict[str, Any], received: list[Any], best: int | None) -> dict[str, Any]:
    attributes = {"f_port": uplink["f_port"]} if "f_port" in uplink else {}
    if best is not None:
        gateways = member(received[best], "gateway_ids", dict, f"{_RECEIVED}.{best}.gateway_ids") or {}
        gateway = member(gateways, "gateway_id", str, f"{_RECEIVED}.{best}.gateway_ids.gateway_id")
        if gateway:
            attributes["gateway"] = gateway
    return attributes


def _best_gateway(received: list[Any]) -> int | None:
    """The position of the gateway that heard the device loudest, of those that tell."""
    best = None
    for place, item in enumerate(received):
        if type(item) is not dict:
            raise WrongShape(f"{_RECEIVED}.{place}: an object is needed")
        for key in ("rssi", "snr"):
            if type(item.get(key)) not in (int, float, type(None)):
                raise WrongShape(f"{_RECEIVED}.{place}.{key}: a number is needed")
        if item.get("rssi") is not None and (best is None or item["rssi"] > received[best]["rssi"]):
            best = place
    return best
