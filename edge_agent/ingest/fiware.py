"""Format `fiware`: measures as devices send them to FIWARE's IoT Agent for JSON, NGSI entities among them."""

import re
from typing import Any, Final, NamedTuple

from edge_agent.ingest.envelope import topic_device
from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.instant import read_time, zone
from edge_agent.ingest.json_document import leaves, parse
from edge_agent.ingest.measured import Meaning, Meanings, Readings, WrongShape, meaning, quality_of
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.quantities import name_quantity, unit_of
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

TIME: Final = "TimeInstant"
_UNITS: Final[dict[str, str]] = {
    # UN/CEFACT common codes (Recommendation 20) to units as in unit_conversion.py
    "CEL": "C",
    "FAH": "F",
    "KEL": "K",
    "P1": "%",
    "C62": "/",
    "H87": "count",
    "59": "ppm",
    "A97": "hPa",
    "MBR": "hPa",
    "PAL": "Pa",
    "KPA": "kPa",
    "HN": "mmHg",
    "F79": "inHg",
    "GQ": "ug/m3",
    "GP": "mg/m3",
    "MTS": "m/s",
    "KMH": "km/h",
    "KNT": "kn",
    "HM": "mph",
    "DD": "deg",
    "MMT": "mm",
    "CMT": "cm",
    "MTR": "m",
    "KMT": "km",
    "H67": "mm/h",
    "LTR": "l",
    "MTQ": "m3",
    "LUX": "lx",
    "D54": "W/m2",
    "2N": "dB",
    "VLT": "V",
    "2Z": "mV",
    "AMP": "A",
    "4K": "mA",
    "WTT": "W",
    "KWT": "kW",
    "WHR": "Wh",
    "KWH": "kWh",
    "HTZ": "Hz",
    "D10": "S/m",
    "G42": "uS/cm",
    "H61": "dS/m",
    "KGM": "kg",
    "SEC": "s",
    "C26": "ms",
    "MIN": "min",
    "HUR": "h",
}
_FRACTION: Final = "relativeHumidity"
_PERCENT: Final = {"relative_humidity": "%RH", "battery_level": "%EL"}
_NOT_FINITE: Final = frozenset({"nan", "inf", "infinity", "-inf", "-infinity", "+inf", "+infinity"})
_NO_MEASURES: Final = frozenset({"cmd", "cmdexe", "configuration"})
_NOT_MEASURED: Final = frozenset({"id", "type", "@context"})
_BASIC: Final = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{2})([0-9]{2})(?:([0-9]{2})([.,][0-9]+)?)?)?(Z|[+-][0-9]{2}:?(?:[0-9]{2})?)?"
)


class _Address(NamedTuple):
    """What a topic says."""

    device: str
    kind: str
    attribute: str
    """The name behind `attrs/`, or nothing."""


class _When(NamedTuple):
    """A time and what to say of it."""

    time: str | None
    quality: tuple[str, ...]


class FiwareFormat:
    """The decoder of one source."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._zone = zone(settings.naive_zone)
        self._meanings = Meanings(settings.units, _plain_meaning)

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """Readings of one measure or several; commands, their results and configuration hold none."""
        topic, payload, _, retain = message
        address = _read_topic(topic)
        if address is None:
            return DeadLetter(Reason.WRONG_SHAPE, "the topic is not /json/{apikey}/{device}/attrs[/{name}]")
        if address.kind != "attrs":
            explain("", f"{address.kind} holds no measure")
            return Decoded(())
        device = address.device if self._settings.device_level is None else topic_device(self._settings, topic)
        measures = _Measures(self, Readings(device, None, (), explain), retain, explain)
        document = parse(self._settings, payload)
        if isinstance(document, DeadLetter):
            if document.reason is not Reason.NOT_JSON or not address.attribute:
                return document
            try:
                text = payload.decode("utf-8")
            except UnicodeDecodeError as error:
                return DeadLetter(Reason.NOT_UTF8, f"byte {error.start}: {error.reason}")
            document = None if not text or text.strip().lower() in _NOT_FINITE else text
        try:
            if address.attribute:
                measures.single(address.attribute, document)
            else:
                measures.several(document)
        except WrongShape as error:
            return DeadLetter(Reason.WRONG_SHAPE, str(error))
        events = measures.readings.events
        return Decoded(tuple(events), None, next((event.time for event in events if event.time is not None), None))

    def when(self, value: Any, retain: bool) -> _When | None:
        """A time in ISO 8601; None for anything else, which the IoT Agent ignores too."""
        if type(value) is dict:  # NGSI-v2 gives it as an attribute
            value = value.get("value")
        if type(value) is not str:
            return None
        basic = _BASIC.fullmatch(value)
        if basic is not None:
            year, month, day, hour, minute, second, fraction, offset = basic.groups()
            value = f"{year}-{month}-{day}T{hour or '00'}:{minute or '00'}:{second or '00'}{fraction or ''}{offset or ''}"
        try:
            time, naive = read_time(value, self._zone)
        except (ValueError, OverflowError):
            return None
        return _When(time, quality_of(time, naive, retain))

    def meaning(self, name: str, value: Any, code: Any, entity: bool) -> Meaning:
        """Quantity and unit of an attribute, by its unit code if it has one."""
        if code is None or name in self._settings.units:
            plain = self._meanings(name)
            # the data models give `relativeHumidity`, and any humidity of an entity, as a fraction
            if (entity or name == _FRACTION) and plain.unit == "%RH" and type(value) in (int, float) and 0 <= value <= 1:
                return meaning(plain.quantity, "fraction RH")
            return plain
        quantity = self._meanings(name).quantity
        unit = _UNITS.get(code) if type(code) is str else None
        if unit == "%":
            unit = _PERCENT.get(quantity, unit)
        elif unit == "/" and quantity == "relative_humidity":
            unit = "fraction RH"
        return meaning(quantity, unit)


class _Measures:
    """One message on its way into readings."""

    def __init__(self, source: FiwareFormat, readings: Readings, retain: bool, explain: Explain) -> None:
        self.readings = readings
        self._source = source
        self._retain = retain
        self._explain = explain
        self._untimed = _When(None, quality_of(None, False, retain))
        self._attributes: dict[str, Any] = {}

    def several(self, document: Any) -> None:
        """An object is one measure, an array is several; a batch of NGSI-v2 holds entities."""
        if type(document) is dict and type(document.get("entities")) is list and type(document.get("actionType")) is str:
            document = document["entities"]
        for place, measure in enumerate(document) if type(document) is list else ((None, document),):
            if type(measure) is not dict:
                where = "the payload" if place is None else f"{place}"
                raise WrongShape(f"{where}: a measure is an object of attributes")
            self._measure(measure)

    def _measure(self, measure: dict[str, Any]) -> None:
        when = self._when(measure, TIME, self._untimed)
        entity = type(measure.get("id")) is str and type(measure.get("type")) is str
        self._attributes = {"entity": measure["id"]} if entity else {}
        for name, value in measure.items():
            if name == TIME:
                continue
            if entity and name in _NOT_MEASURED:
                self._explain(name, "says what the entity is")
            else:
                self._attribute(name, value, when)

    def single(self, name: str, value: Any) -> None:
        """The value that was sent alone; an array of objects with a value and a time each is several measures."""
        if type(value) is list and value and all(type(item) is dict and "value" in item for item in value):
            for item in value:
                key = "timestamp" if "timestamp" in item else TIME
                self._attribute(name, item, self._when(item, key, self._untimed))
        else:
            self._attribute(name, value, self._untimed)

    def _attribute(self, name: str, value: Any, when: _When) -> None:
        if type(value) is dict and "value" in value:
            self._property(name, value, when)
        elif type(value) is dict and value.get("type") == "Relationship":
            self._explain(name, "a relationship is no measure")
        elif type(value) is list and value and all(type(item) is dict and "value" in item for item in value):
            for place, item in enumerate(value):  # NGSI-LD: several instances, told apart by their datasetId
                self._property(f"{name}.{place}", item, when)
        else:
            self._add(name, value, when, None, False, self._attributes)

    def _property(self, name: str, item: dict[str, Any], when: _When) -> None:
        metadata = item.get("metadata")
        about = metadata if type(metadata) is dict else {}
        code = item.get("unitCode", about.get("unitCode"))
        if type(code) is dict:
            code = code.get("value")
        when = self._when(about, TIME, when, name)
        when = self._when(item, "observedAt", when, name)
        attributes = self._attributes
        if type(item.get("datasetId")) is str:
            attributes = {**attributes, "dataset": item["datasetId"]}
        if type(code) is str and code not in _UNITS:
            attributes = {**attributes, "unit_code": code}
        self._add(name, item["value"], when, code, True, attributes)

    def _add(self, name: str, value: Any, when: _When, code: Any, entity: bool, attributes: dict[str, Any]) -> None:
        self.readings.at(*when)
        for path, leaf in leaves(value, name):
            if leaf is None:
                self._explain(path, "null: no value")
            else:
                self.readings.add(path, leaf, self._source.meaning(path, leaf, code, entity), attributes)

    def _when(self, parent: dict[str, Any], key: str, otherwise: _When, name: str = "") -> _When:
        if key not in parent:
            return otherwise
        when = self._source.when(parent[key], self._retain)
        if when is None:
            self._explain(f"{name}.{key}" if name else key, "not an ISO 8601 time: ignored")
            return otherwise
        return when


def _read_topic(topic: str) -> _Address | None:
    levels = topic.removeprefix("/").split("/")
    if levels[0] == "json" and len(levels) > 3:
        levels = levels[1:]
    if len(levels) < 3 or not levels[1] or (levels[2] != "attrs" and levels[2] not in _NO_MEASURES):
        return None
    return _Address(levels[1], levels[2], "/".join(levels[3:]))


def _plain_meaning(path: str) -> tuple[str, str | None]:
    quantity = name_quantity(path, path)
    return quantity, unit_of(quantity)
