"""Format `chirpstack`: the events of ChirpStack v4's MQTT integration in JSON.

The JSON is protobuf's mapping: a number or boolean of a protobuf field that is missing is 0 or false, a number may come as a
text, NaN as `"NaN"`. `object` is a free structure made by the device's codec: what is missing there was not measured.
"""

from collections.abc import Callable
from datetime import tzinfo
from math import isfinite
from typing import Any, Final

from edge_agent.ingest.envelope import configured_device, event_time
from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.instant import zone
from edge_agent.ingest.json_document import leaves
from edge_agent.ingest.measured import Meanings, Readings, Told, WrongShape, meaning, member, parse_object, quality_of
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.quantities import name_quantity, unit_of
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

_OTHER_MODULATIONS: Final = frozenset(("fsk", "lrFhss"))
_NOT_FINITE: Final = ("NaN", "Infinity", "-Infinity")
_RSSI: Final = meaning("rssi", "dBm")
_SNR: Final = meaning("snr", "dB")
_MARGIN: Final = meaning("margin", "dB")
_BATTERY: Final = meaning("battery_level", "%EL")
_PLACE: Final = {
    "latitude": meaning("latitude", "lat"),
    "longitude": meaning("longitude", "lon"),
    "altitude": meaning("altitude", "m"),
}


class ChirpstackFormat:
    """The decoder of one source."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._zone: tzinfo = zone(settings.naive_zone)
        self._meanings = Meanings(settings.units, _object_meaning)
        self._events: dict[str, Callable[[dict[str, Any], Readings, Explain], None]] = {
            "up": self._uplink,
            "status": _status,
            "location": _location,
        }

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """Readings of the events `up`, `status` and `location`; the others, and commands to the device, hold none."""
        topic, payload, _, retain = message
        levels = topic.split("/")
        kind, event = levels[-2:] if len(levels) > 1 else ("", "")
        if kind == "command":
            explain("", "a command to the device")
            return Decoded(())
        document = parse_object(self._settings, payload)
        if isinstance(document, DeadLetter):
            return _other_encoding(payload) or document
        read = self._events.get(event) if kind == "event" else self._uplink
        if read is None:
            explain("", f"an event `{event}` holds no reading")
            return Decoded(())
        timed = event_time(document.get("time"), "time", self._zone, payload)
        if isinstance(timed, DeadLetter):
            return timed
        time, naive = timed
        try:
            device = configured_device(self._settings, topic) or _device(document, levels) or topic
            own_id = member(document, "deduplicationId", str, "deduplicationId") or None
            told = Told(explain)
            readings = Readings(device, time, quality_of(time, naive, retain), told)
            read(document, readings, told)
            told.rest(document, readings.events)
        except WrongShape as error:
            return DeadLetter(Reason.WRONG_SHAPE, str(error))
        return Decoded(tuple(readings.events), own_id, time)

    def _uplink(self, document: dict[str, Any], readings: Readings, explain: Explain) -> None:
        attributes: dict[str, Any] = {"f_port": _number(document, "fPort", "fPort")}
        received = member(document, "rxInfo", list, "rxInfo") or []
        best = _best_gateway(received)
        if best is not None:
            gateway = member(received[best], "gatewayId", str, f"rxInfo.{best}.gatewayId")
            if gateway:
                attributes["gateway"] = gateway
        measured = member(document, "object", dict, "object")
        if measured is None:
            explain("data", "bytes that no codec has decoded: the device's profile has none")
        else:
            meanings = self._meanings
            for path, value in leaves(measured, "object"):
                if value is None or value in _NOT_FINITE:
                    explain(path, f"{value or 'null'}: no value")
                else:
                    readings.add(path, value, meanings(path), attributes)
        if best is not None:
            path = f"rxInfo.{best}"
            _add_number(readings, received[best], "rssi", path, _RSSI, attributes, explain)
            # LoRa alone has a ratio of signal to noise: what is missing there is 0, with other modulations it is unknown
            if "snr" in received[best] or _is_lora(document):
                _add_number(readings, received[best], "snr", path, _SNR, attributes, explain)


def _status(document: dict[str, Any], readings: Readings, explain: Explain) -> None:
    external = member(document, "externalPowerSource", bool, "externalPowerSource")
    unavailable = member(document, "batteryLevelUnavailable", bool, "batteryLevelUnavailable")
    attributes: dict[str, Any] = {"external_power_source": True} if external else {}
    _add_number(readings, document, "margin", "", _MARGIN, attributes, explain)
    if external or unavailable:
        explain("batteryLevel", "the device runs on external power" if external else "the device cannot tell it")
    else:
        _add_number(readings, document, "batteryLevel", "", _BATTERY, attributes, explain)


def _location(document: dict[str, Any], readings: Readings, explain: Explain) -> None:
    place = member(document, "location", dict, "location")
    if place is None:
        explain("location", "missing")
        return
    attributes = {key: place[key] for key in ("source", "accuracy") if key in place}
    for key, means in _PLACE.items():
        _add_number(readings, place, key, "location", means, attributes, explain)


def _other_encoding(payload: bytes) -> DeadLetter | None:
    # the tags of a message's first fields are control characters, of which JSON may begin with three
    if payload[:1] < b" " and payload and payload.lstrip()[:1] not in (b"{", b"["):
        return DeadLetter(Reason.PROTOBUF_PAYLOAD, "ChirpStack's MQTT integration has `json=false`")
    return None


def _object_meaning(path: str) -> tuple[str, str | None]:
    quantity = name_quantity(path, path)
    return quantity, unit_of(quantity)


def _device(document: dict[str, Any], levels: list[str]) -> str | None:
    info = member(document, "deviceInfo", dict, "deviceInfo")
    device = member(info, "devEui", str, "deviceInfo.devEui") if info else None
    if not device and "device" in levels[:-1]:
        return levels[levels.index("device") + 1]
    return device


def _best_gateway(received: list[Any]) -> int | None:
    """The position of the gateway that heard the device loudest, and of those the one with the least noise."""
    best, loudest = None, (0.0, 0.0)
    for place, item in enumerate(received):
        if type(item) is not dict:
            raise WrongShape(f"rxInfo.{place}: an object is needed")
        heard = (
            _number(item, "rssi", f"rxInfo.{place}.rssi") or 0.0,
            _number(item, "snr", f"rxInfo.{place}.snr") or 0.0,
        )
        if best is None or heard > loudest:
            best, loudest = place, heard
    return best


def _is_lora(document: dict[str, Any]) -> bool:
    """Whether the uplink was sent with LoRa, as nearly all are: another modulation is named where there is one."""
    sent = document.get("txInfo")
    modulation = sent.get("modulation") if type(sent) is dict else None
    return type(modulation) is not dict or _OTHER_MODULATIONS.isdisjoint(modulation)


def _number(message: dict[str, Any], key: str, path: str) -> int | float | None:
    """A number of a protobuf field: 0 where it is missing, None where it is null or not finite."""
    value = message.get(key, 0)
    if value is None:
        return None
    if type(value) is int or type(value) is float:
        return value
    if type(value) is str and len(value) < 400:
        try:
            number = int(value) if value.removeprefix("-").isdecimal() else float(value)
        except ValueError:
            pass
        else:
            return number if isfinite(number) else None
    raise WrongShape(f"{path}: a number is needed")


def _add_number(
    readings: Readings,
    message: dict[str, Any],
    key: str,
    inside: str,
    means: Any,
    attributes: dict[str, Any],
    explain: Explain,
) -> None:
    path = f"{inside}.{key}" if inside else key
    value = _number(message, key, path)
    if value is None:
        explain(path, "null or not finite: no value")
    else:
        readings.add(path, value, means, attributes)
