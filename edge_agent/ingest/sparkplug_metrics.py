"""The metrics of one Sparkplug message as readings, and what a birth makes known about them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn, cast

import msgspec

from edge_agent.ingest.events import Reading, Value
from edge_agent.ingest.instant import format_millis
from edge_agent.ingest.measured import Meaning, meaning
from edge_agent.ingest.port import Explain
from edge_agent.ingest.quantities import name_quantity, unit_of
from edge_agent.ingest.sparkplug_births import Known, Node, find_alias, find_name
from edge_agent.ingest.sparkplug_units import read_unit
from edge_agent.ingest.sparkplug_values import (
    ARRAYS,
    DATE_TIME,
    DATE_TIME_ARRAY,
    SCALARS,
    DatatypeUnknown,
    Unreadable,
    count_elements,
    read_array,
    read_scalar,
)
from edge_agent.ingest.unit_conversion import convert
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

BD_SEQ: Final = "bdSeq"
MAX_NAME: Final = 512
"""Characters of a metric's whole name: a birth must not make each short alias of later data a long name."""
MAX_UNIT: Final = 64
_LONG: Final = f"its name is no UTF-8 text of at most {MAX_NAME} characters"
_CONTROLS: Final = frozenset(
    (
        BD_SEQ,
        "Node Control/Rebirth",
        "Node Control/Reboot",
        "Node Control/Next Server",
        "Device Control/Rebirth",
        "Device Control/Reboot",
    )
)
"""What the specification defines for running the node: nothing that anybody measures."""
_UNIT_KEYS: Final = frozenset(("engunit", "engunits", "engineeringunit", "engineeringunits", "unit", "units"))
_QUALITIES: Final = {0: "bad", 500: "stale"}
"""Of the property `Quality`; 192 is good."""
_MAX_MEANINGS: Final = 4096


class TooMuch(Exception):
    """A message beyond a limit."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Meanings:
    """What names and units mean, worked out once for each."""

    def __init__(self, units: Mapping[str, str]) -> None:
        self._units = units
        self._known: dict[tuple[str, str | None], Meaning] = {}

    def find(self, name: str, written: str | None) -> Meaning:
        """The meaning of a metric's name, with the engineering unit that came with it."""
        known = self._known.get((name, written))
        if known is None:
            known = self._work_out(name, written)
            if len(self._known) < _MAX_MEANINGS:  # names come from payloads: a hostile one must not fill the memory
                self._known[name, written] = known
        return known

    def _work_out(self, name: str, written: str | None) -> Meaning:
        quantity = name_quantity(name, name.replace("/", "."))
        unit = self._units.get(name)
        if unit is not None:
            return Meaning(quantity, unit, None)
        return meaning(quantity, read_unit(written, quantity) if written else unit_of(quantity))


def read_bd_seq(metrics: Iterable[Any]) -> int | None:
    """The session number that a node's birth and its last will have in common."""
    for metric in metrics:
        if metric.name == BD_SEQ and metric.WhichOneof("value") in ("int_value", "long_value"):
            return int(metric.long_value or metric.int_value)
    return None


class Metrics:
    """Reads the metrics of one message, with the births as they are before it.

    Args:
        device: whose births count, "" for the node itself; `source` is what its readings name as their device.
        stamp: the payload's time, in milliseconds since 1970; 0 for none.
    """

    def __init__(
        self,
        settings: IngestSettings,
        meanings: Meanings,
        node: Node,
        device: str,
        source: str,
        stamp: int,
        retain: bool,
        explain: Explain,
    ) -> None:
        self.known: list[Known] = []
        """What a birth says about its metrics."""
        self.unknown = 0
        """Metrics that only a birth would make readable,"""
        self.first_unknown = ""
        """and what is wrong with the first one."""
        self._settings = settings
        self._meanings = meanings
        self._node = node
        self._device = device
        self._source = source
        self._explain = explain
        self._events: list[Reading] = []
        self._left = settings.max_values
        self._stamp = stamp
        self._time = format_millis(stamp) if stamp else None
        self._last = (stamp, self._time)
        self._quality: tuple[str, ...] = ("retained",) if retain else ()

    def read(self, metrics: Any, *, born: bool) -> tuple[Reading, ...]:
        """The readings of a birth (`born`) or of data, in the payload's order; raises TooMuch."""
        if len(metrics) > self._left:
            self._refuse_count()
        for metric in metrics:
            self._read_metric(metric, born)
        if self.unknown:  # the rest of this message is lost, and whoever uses these should know
            return tuple(msgspec.structs.replace(item, quality=(*item.quality, "partial")) for item in self._events)
        return tuple(self._events)

    @property
    def time(self) -> str | None:
        """The first event time in the message."""
        return self._events[0].time if self._events else self._time

    def _read_metric(self, metric: Any, born: bool) -> None:
        name = metric.name
        node, device = self._node, self._device
        known: Known | None = None
        alias = metric.alias
        if name:
            if type(name) is not str or len(name) > MAX_NAME:
                self._explain(_show(name), _LONG)
                return
            if name in _CONTROLS:
                self._explain(name, "it controls the node")
                return
            if not born:
                known = find_name(node, device, name)
        elif alias or metric.HasField("alias"):
            known = None if born else find_alias(node, device, alias)
            if known is None:
                self._miss(f"alias {alias}", "no birth says what it means")
                return
            name = known.name
        else:
            self._explain("", "it has neither a name nor an alias")
            return
        datatype = metric.datatype
        unit = quality = None
        if metric.HasField("properties"):
            unit, quality = _read_properties(metric.properties)
        if known is not None:
            datatype = datatype or known.datatype
            unit = unit or known.unit
        if born:
            given = alias if alias or metric.HasField("alias") else None
            self.known.append(Known(name, datatype, unit, given))
        self._read_value(metric, name, datatype, unit, quality, born, 1)

    def _read_value(
        self, metric: Any, name: str, datatype: int, unit: str | None, quality: str | None, born: bool, level: int
    ) -> None:
        field = metric.WhichOneof("value")
        try:
            if metric.is_null:
                self._add(metric, name, None, datatype, unit, "null")
            elif field in SCALARS:
                self._add(metric, name, SCALARS[field](metric, datatype), datatype, unit, quality)
            elif field == "template_value":
                self._read_template(metric, name, born, level)
            elif field == "dataset_value":
                self._read_data_set(metric, name, quality)
            elif field == "bytes_value" and datatype in ARRAYS:
                self._read_array(metric, name, datatype, unit, quality)
            else:
                raise Unreadable("it has no value" if field is None else f"a {field} of datatype {datatype} is not read")
        except DatatypeUnknown as error:
            if born:
                self._explain(name, str(error))
            else:
                self._miss(name, str(error))
        except Unreadable as error:
            self._explain(name, str(error))

    def _read_array(self, metric: Any, name: str, datatype: int, unit: str | None, quality: str | None) -> None:
        packed = metric.bytes_value
        self._require(count_elements(datatype, packed))
        element_type = DATE_TIME if datatype == DATE_TIME_ARRAY else 0
        for place, element in enumerate(read_array(datatype, packed)):
            if element is None:
                self._explain(f"{name}.{place}", "it is no finite number")
            else:
                self._add(metric, f"{name}.{place}", element, element_type, unit, quality)

    def _read_data_set(self, metric: Any, name: str, quality: str | None) -> None:
        """Each cell by row and column; a cell that cannot be read costs the others nothing."""
        table = metric.dataset_value
        columns = [text if type(text) is str and text else str(place) for place, text in enumerate(table.columns)]
        types = list(table.types)
        rows = table.rows
        self._require(sum(len(row.elements) for row in rows))
        for number, row in enumerate(rows):
            for place, cell in enumerate(row.elements):
                column = columns[place] if place < len(columns) else str(place)
                path = f"{name}.{number}.{column}"
                if len(path) > MAX_NAME:
                    self._explain(_show(path), _LONG)
                    continue
                datatype = types[place] if place < len(types) else 0
                try:
                    self._add(metric, path, read_scalar(cell, cell.WhichOneof("value"), datatype), datatype, None, quality)
                except Unreadable as error:
                    self._explain(path, str(error))

    def _read_template(self, metric: Any, name: str, born: bool, level: int) -> None:
        """The members of an instance, under its name; a definition only says what instances will be made of."""
        template = metric.template_value
        if template.is_definition:
            self._explain(name, "it is the definition of a template")
            return
        if level >= self._settings.max_depth:
            raise TooMuch(Reason.TOO_DEEP, f"templates nested more than {self._settings.max_depth} levels deep")
        members = template.metrics
        self._require(len(members))
        outer = self._stamp, self._time, self._quality
        if metric.timestamp:
            self._stamp, self._time = metric.timestamp, format_millis(metric.timestamp)
        if metric.is_historical:
            self._quality = ("historical", *self._quality)
        for member in members:
            own = member.name
            path = f"{name}.{own}"
            if type(own) is not str or not own or len(path) > MAX_NAME:
                self._explain(_show(path), "a member of a template needs a name" if not own else _LONG)
                continue
            datatype = member.datatype
            unit = quality = None
            if member.HasField("properties"):
                unit, quality = _read_properties(member.properties)
            if born:
                self.known.append(Known(path, datatype, unit))
                if len(self.known) > self._settings.max_values:
                    self._refuse_count()
            else:
                known = find_name(self._node, self._device, path)
                if known is not None:
                    datatype, unit = datatype or known.datatype, unit or known.unit
            self._read_value(member, path, datatype, unit, quality, born, level + 1)
        self._stamp, self._time, self._quality = outer

    def _add(self, metric: Any, name: str, value: Value, datatype: int, unit: str | None, quality: str | None) -> None:
        self._left -= 1
        if self._left < 0:
            self._refuse_count()
        quantity, senml, sent_in = self._meanings.find(name, unit)
        if type(value) is str or type(value) is bool:
            senml = None
        elif sent_in is not None and value is not None:
            value = convert(cast(float, value), sent_in)
            if value is None:
                raise Unreadable("it is too large for its unit")
        if senml is None and datatype == DATE_TIME:
            senml = "ms"
        stamp = metric.timestamp
        if not stamp or stamp == self._stamp:
            time = self._time
        elif stamp == self._last[0]:
            time = self._last[1]
        else:
            time = format_millis(stamp)
            self._last = stamp, time
        flags = self._quality
        if metric.is_historical and "historical" not in flags:
            flags = ("historical", *flags)
        if time is None:
            flags = ("no_time", *flags)
        if quality is not None:
            flags = (quality, *flags)
        if metric.is_transient:
            self._events.append(Reading(self._source, quantity, value, senml, time, name, flags, {"is_transient": True}))
        else:
            self._events.append(Reading(self._source, quantity, value, senml, time, name, flags))

    def _miss(self, name: str, why: str) -> None:
        self.unknown += 1
        if not self.first_unknown:
            self.first_unknown = f"{_show(name)}: {why}"
        self._explain(name, why)

    def _require(self, count: int) -> None:
        if count > self._left:
            self._refuse_count()

    def _refuse_count(self) -> NoReturn:
        raise TooMuch(Reason.TOO_MANY_VALUES, f"more than {self._settings.max_values} values")


def _read_properties(properties: Any) -> tuple[str | None, str | None]:
    """The engineering unit and the quality flag that a metric's properties name."""
    unit = quality = None
    for key, value in zip(properties.keys, properties.values, strict=False):
        word = key.lower() if type(key) is str else ""
        if word in _UNIT_KEYS:
            text = value.string_value
            if text and type(text) is str and len(text) <= MAX_UNIT:
                unit = text
        elif word == "quality":
            quality = _QUALITIES.get(value.long_value or value.int_value) if value.WhichOneof("value") else None
    return unit, quality


def _show(name: object) -> str:
    return str(name)[:100]
