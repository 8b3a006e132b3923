"""Format `senml`: sensor measurement lists (RFC 8428) in JSON and CBOR.

A pack is an array of records; base fields stand from their record on until another replaces them. Sums are made of the decimal
digits that were sent, so 0.1 + 0.2 is 0.3. A pack that breaks a rule is a dead letter as a whole.
"""

import re
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from decimal import Context, Decimal
from typing import Any, Final

from edge_agent.ingest.binary_document import parse_binary
from edge_agent.ingest.content_type import Encoding, binary_encoding
from edge_agent.ingest.envelope import plain_quality, topic_device
from edge_agent.ingest.events import DeadLetter, Decoded, Reading, Value
from edge_agent.ingest.instant import from_seconds
from edge_agent.ingest.json_document import MAX_PATH, find, parse
from edge_agent.ingest.measured import WrongShape
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.quantities import known_quantity, unit_of
from edge_agent.ingest.unit_conversion import convert, senml_unit
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

KNOWN_VERSION: Final = 10
SECONDARY_UNITS: Final = 26
"""Version 10 with the feature of RFC 9100 that allows the secondary units of RFC 8798, which are given as sent."""
ABSOLUTE_FROM: Final = 2**28
"""A time below is seconds relative to now."""

_CBOR_LABELS: Final[dict[str, str]] = {
    "-1": "bver",
    "-2": "bn",
    "-3": "bt",
    "-4": "bu",
    "-5": "bv",
    "-6": "bs",
    "0": "n",
    "1": "u",
    "2": "v",
    "3": "vs",
    "4": "vb",
    "5": "s",
    "6": "t",
    "7": "ut",
    "8": "vd",
}
_LABELS: Final = frozenset(_CBOR_LABELS.values())
_VALUES: Final = ("v", "vs", "vb", "vd")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:./_-]*")
_QUANTITY_OF_UNIT: Final[dict[str, str]] = {
    # for a record that has no name of its own below the device's
    "Cel": "temperature",
    "%RH": "relative_humidity",
    "Pa": "pressure",
    "hPa": "pressure",
    "lx": "illuminance",
    "V": "voltage",
    "A": "current",
    "W": "power",
    "kW": "power",
    "J": "energy",
    "Wh": "energy",
    "kWh": "energy",
    "%EL": "battery_level",
    "pH": "ph",
    "l/s": "flow",
    "m3/s": "flow",
    "lat": "latitude",
    "lon": "longitude",
}
_FOREIGN: Final[dict[str, str]] = {"degF": "F", "°F": "F", "mmHg": "mmHg", "inHg": "inHg"}
"""Units that senders write though SenML has none of them, to those of unit_conversion.py."""
_FRACTION: Final = "fraction RH"
_UNIT_OF_SUM: Final[dict[str, str]] = {"W": "J", "A": "C", "l/s": "l", "m3/s": "m3", "m/s": "m", "bit/s": "bit"}
"""A sum is in the unit multiplied by seconds."""
_EXACT: Final = Context(prec=400)
_ZERO: Final = Decimal(0)


class SenmlFormat:
    """The decoder of one source."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """One reading for each value and each sum. A record of base fields alone, a null and NaN give none."""
        topic, payload, properties, retain = message
        cbor = binary_encoding(properties) is Encoding.CBOR or _looks_like_cbor(payload)
        document = parse_binary(self._settings, payload, Encoding.CBOR) if cbor else parse(self._settings, payload, exact=True)
        return document if isinstance(document, DeadLetter) else self.read(document, topic, retain, explain, cbor=cbor)

    def read(
        self, document: Any, topic: str, retain: bool, explain: Explain, *, cbor: bool, fallback: str | None = None
    ) -> Decoded | DeadLetter:
        """What a parsed pack, with Decimals for floats, holds. `fallback` is the device of a pack that names none."""
        try:
            if type(document) is not list:
                raise WrongShape("a SenML pack is an array of records")
            configured = self._configured_device(document, topic)
            pack = _Pack(self._settings, fallback or topic, configured, retain, explain)
            for place, record in enumerate(document):
                if type(record) is not dict:
                    raise WrongShape(f"record {place}: an object is needed")
                pack.add(place, _named(record) if cbor else record)
        except WrongShape as error:
            return DeadLetter(Reason.WRONG_SHAPE, str(error))
        except _BadTime as error:
            return DeadLetter(Reason.BAD_TIME, str(error))
        except _UnknownVersion as error:
            return DeadLetter(Reason.UNKNOWN_VERSION, str(error))
        readings = tuple(pack.readings)
        return Decoded(readings, None, next((reading.time for reading in readings if reading.time is not None), None))

    def _configured_device(self, document: Any, topic: str) -> str | None:
        if self._settings.device_path is not None:
            found = find(document, self._settings.device_path)
            if found and type(found) is str:
                return found
        return None if self._settings.device_level is None else topic_device(self._settings, topic)


class _BadTime(ValueError):
    pass


class _UnknownVersion(ValueError):
    pass


class _Pack:
    """The base fields that stand, and the readings so far."""

    def __init__(self, settings: IngestSettings, topic: str, device: str | None, retain: bool, explain: Explain) -> None:
        self.readings: list[Reading] = []
        self._settings = settings
        self._topic = topic
        self._configured = device
        self._retain = retain
        self._explain = explain
        self._bn = ""
        self._bu: str | None = None
        self._bt: int | Decimal = 0
        self._bv: int | Decimal = 0
        self._bs: int | Decimal | None = None
        self._bver: int | None = None
        self._times: dict[int | Decimal, tuple[str | None, tuple[str, ...], dict[str, Any]]] = {}

    def add(self, place: int, record: dict[str, Any]) -> None:
        """Read one record; raises for what breaks the RFC's rules."""
        for label in record:
            if label not in _LABELS:
                if label.endswith("_"):
                    raise WrongShape(f"record {place}: the label {label[:64]!r} has to be understood, and is not")
                self._explain(f"{place}.{label}", "a label that SenML does not have")
        self._take_base(place, record)
        given = [label for label in _VALUES if label in record]
        if len(given) > 1:
            raise WrongShape(f"record {place}: {' and '.join(given)}, where one value is allowed")
        if not given and "s" not in record:
            if all(label.startswith("b") or label not in _LABELS for label in record):
                self._explain(str(place), "base fields alone")
                return
            raise WrongShape(f"record {place}: it has neither a value nor a sum")
        own = _text(place, record, "n") or ""
        name = self._bn + own
        if len(name) > MAX_PATH or not _NAME.fullmatch(name):
            raise WrongShape(f"record {place}: {name[:64]!r} is not a name: letters, digits and -:./_ are allowed")
        sent_unit = _text(place, record, "u") or self._bu
        unit = "/" if sent_unit == "%" else sent_unit  # in SenML it means a ratio, whatever it looks like
        attributes = self._attributes(place, record)
        if given:
            self._add_value(place, record, given[0], name, own, unit, attributes)
        total = _number(place, record, "s")
        if self._bs is not None or total is not None:
            total = _sum(self._bs or 0, total or 0)
            sum_unit = None if unit is None else _UNIT_OF_SUM.get(unit)
            if unit is not None and sum_unit is None:
                attributes = {**attributes, "sum_of": unit}
            self._append(place, f"{name}.sum" if given else name, name, own, _plain(place, total), sum_unit, attributes, record)
        elif "s" in record:
            self._explain(f"{place}.s", "null: no value")

    def _take_base(self, place: int, record: dict[str, Any]) -> None:
        version = record.get("bver")
        if version is not None:
            if type(version) is Decimal and version == int(version):
                version = int(version)
            if type(version) is not int or version < 1:
                raise WrongShape(f"record {place}: bver is not a positive integer")
            if version > KNOWN_VERSION and version != SECONDARY_UNITS:
                raise _UnknownVersion(f"record {place}: SenML version {str(version)[:64]}, known is {KNOWN_VERSION}")
            if self._bver is not None and version != self._bver:
                raise WrongShape(f"record {place}: bver {version} after {self._bver}; a pack has one version")
            self._bver = version
        name = _text(place, record, "bn")
        if name is not None:
            self._bn = name
        unit = _text(place, record, "bu")
        if unit is not None:
            self._bu = unit
        time = _number(place, record, "bt")
        if time is not None:
            self._bt = time
        value = _number(place, record, "bv")
        if value is not None:
            self._bv = value
        total = _number(place, record, "bs")
        if total is not None:
            self._bs = total

    def _add_value(
        self, place: int, record: dict[str, Any], label: str, name: str, own: str, unit: str | None, attributes: dict[str, Any]
    ) -> None:
        value: Value
        if label == "v":
            number = _number(place, record, "v")
            value = None if number is None else _plain(place, _sum(self._bv, number))
        else:
            unit = None
            value = record[label]
            if value is not None and type(value) is not (bool if label == "vb" else str):
                raise WrongShape(f"record {place}: {label} is not {'a boolean' if label == 'vb' else 'a text'}")
            if label == "vd" and value is not None:
                _check_base64url(place, str(value))
                attributes = {**attributes, "encoding": "base64url"}
        if value is None:
            self._explain(f"{place}.{label}", "null: no value")
        else:
            self._append(place, name, name, own, value, unit, attributes, record)

    def _append(
        self,
        place: int,
        label: str,
        name: str,
        own: str,
        value: Value,
        unit: str | None,
        attributes: dict[str, Any],
        record: dict[str, Any],
    ) -> None:
        time, quality, relative = self._time(place, record)
        quantity = _quantity(name, own, unit)
        if type(value) is int or type(value) is float:
            is_fraction = unit == "/" and quantity == "relative_humidity" and 0 <= value <= 1
            sent_in = _FRACTION if is_fraction else _FOREIGN.get(unit or "")
            if sent_in is not None:
                unit = senml_unit(sent_in)
                value = convert(value, sent_in)
                if value is None:
                    self._explain(label, "too large for its unit")
                    return
        if unit is None and type(value) in (int, float):
            unit = self._settings.units.get(label) or (unit_of(quantity) if "sum_of" not in attributes else None)
        if relative:
            attributes = {**attributes, **relative}
        self.readings.append(Reading(self._device(name), quantity, value, unit, time, label, quality, attributes))

    def _time(self, place: int, record: dict[str, Any]) -> tuple[str | None, tuple[str, ...], dict[str, Any]]:
        total = _sum(self._bt, _number(place, record, "t") or 0)
        known = self._times.get(total)
        if known is None:
            if total >= ABSOLUTE_FROM:
                try:
                    time = from_seconds(Decimal(total))
                except ValueError as error:
                    raise _BadTime(f"record {place}: {error}") from error
                known = time, ("retained",) if self._retain else (), {}
            elif total == 0:
                known = None, plain_quality(self._retain), {}
            else:  # what "now" is a pure decoder cannot know, and a redelivery must not move the event
                known = None, (*plain_quality(self._retain), "relative_time"), {"seconds_from_now": _plain(place, total)}
            self._times[total] = known
        return known

    def _device(self, name: str) -> str:
        if self._configured is not None:
            return self._configured
        if self._bn:
            return self._bn.rstrip(":/._-") or self._bn
        return name if ":" in name else self._topic

    def _attributes(self, place: int, record: dict[str, Any]) -> dict[str, Any]:
        update = _number(place, record, "ut")
        return {} if update is None else {"update_time": _plain(place, update)}


def _named(record: dict[str, Any]) -> dict[str, Any]:
    """A record of CBOR's integer labels with those of JSON."""
    return {_CBOR_LABELS.get(label, label): value for label, value in record.items()}


def _looks_like_cbor(payload: bytes) -> bool:
    """MQTT 3.1.1 has no content type: an array, or the tag that CBOR describes itself by, is told by its first byte."""
    return 0x80 <= (payload[0] if payload else 0) <= 0x9F or payload.startswith(b"\xd9\xd9\xf7")


def _text(place: int, record: dict[str, Any], label: str) -> str | None:
    value = record.get(label)
    if value is None or type(value) is str:
        return value
    raise WrongShape(f"record {place}: {label} is not a text")


def _number(place: int, record: dict[str, Any], label: str) -> int | Decimal | None:
    value = record.get(label)
    if value is None or type(value) is int or type(value) is Decimal:
        return value
    raise WrongShape(f"record {place}: {label} is not a number")


def _sum(base: int | Decimal, value: int | Decimal) -> int | Decimal:
    if type(base) is int and type(value) is int:
        return base + value
    return value if base == 0 else _EXACT.add(Decimal(base), Decimal(value))


def _plain(place: int, number: int | Decimal) -> int | float:
    if type(number) is int:
        return number
    plain = float(number)
    if plain in (float("inf"), float("-inf")):
        raise WrongShape(f"record {place}: a sum is beyond what a number can hold")
    return plain


def _check_base64url(place: int, text: str) -> None:
    try:
        if not text.isascii() or set("+/") & set(text):
            raise ValueError("not base64url")
        padded = text.rstrip("=")
        urlsafe_b64decode(padded + "=" * (-len(padded) % 4))
    except (Base64Error, ValueError) as error:
        raise WrongShape(f"record {place}: vd is not base64url") from error


def _quantity(name: str, own: str, unit: str | None) -> str:
    """What the last part of the record's own name means; where that is the device's id alone, what the unit measures."""
    last = re.split(r"[:/.]", (own or name).rstrip(":/._-"))[-1]
    known = known_quantity(last)
    if known is None and (not own or ":" in own):  # a device URN (RFC 9039) has its parts behind an underscore
        known = known_quantity(last.rpartition("_")[2]) or _QUANTITY_OF_UNIT.get(unit or "")
    return known or last or name
