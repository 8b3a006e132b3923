"""Format `shelly`: the status of Shelly devices from the second generation on, over `events/rpc` and `status/{component}`.

A `NotifyStatus` is partial: it carries what changed, overlays the status before it, and a null removes a key. Readings are
given for what a message carries and never for what it does not. So the state of a stream, which is a device's topic prefix,
is the names of the values that its status has, without the values: they tell which values went with a key that was removed,
and whether a temperature in °F is known in °C already. The state is stored when a name appears or goes, which is rare.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from edge_agent.ingest.envelope import configured_device, event_time
from edge_agent.ingest.events import DeadLetter, Decoded
from edge_agent.ingest.instant import zone
from edge_agent.ingest.json_document import leaves
from edge_agent.ingest.measured import NO_ATTRIBUTES, Meanings, Readings, Told, WrongShape, member, parse_object, quality_of
from edge_agent.ingest.port import Explain, Message, ignore
from edge_agent.ingest.shelly_components import CELSIUS_OF, NOT_READINGS, PHASES, component_meaning, system_reading
from edge_agent.ingest.shelly_status import NOTHING, StatusNames, remember
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

_EVENTS: Final = "/events/rpc"
_STATUS: Final = "/status/"
_PARTIAL: Final = "NotifyStatus"
_FULL: Final = "NotifyFullStatus"


class _Place(NamedTuple):
    """Of a topic."""

    prefix: str
    component: str | None
    """None: `events/rpc`, which carries all of them."""


class ShellyFormat:
    """The decoder of one source."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._zone = zone(settings.naive_zone)
        self._meanings = Meanings(settings.units, component_meaning)

    def stream_of(self, topic: str) -> str | None:
        """The device's topic prefix."""
        place = _place(topic)
        return None if place is None else place.prefix

    def dump(self, state: Any) -> bytes:
        """The names as a JSON array, sorted so that equal states are equal bytes."""
        return msgspec.json.encode(sorted(state))

    def load(self, stored: bytes) -> frozenset[str]:
        """The inverse of `dump`; raises ValueError."""
        try:
            return frozenset(msgspec.json.decode(stored, type=list[str]))
        except msgspec.DecodeError as error:
            raise ValueError(f"not the names of a Shelly status: {error}") from error

    def decode(self, message: Message, state: Any = None, explain: Explain = ignore) -> Decoded | DeadLetter:
        """Readings of what a status message carries. Events, answers to calls and `online` hold none."""
        topic, payload, _, retain = message
        place = _place(topic)
        if place is None or not payload:
            explain("", "an empty message" if place else "no status of the device")
            return Decoded(())
        document = parse_object(self._settings, payload)
        if isinstance(document, DeadLetter):
            return document
        known: frozenset[str] = NOTHING if state is None else state
        configured = configured_device(self._settings, topic)
        try:
            if place.component is not None:
                names = StatusNames(known, False)
                told = Told(explain)
                readings = Readings(configured or place.prefix, None, quality_of(None, False, retain), told)
                self._read({place.component: document}, names, readings, told)
                told.rest({place.component: document}, readings.events)
                own = f"{place.component}."
                others = frozenset(name for name in known if not name.startswith(own))
                return _decoded(readings, None, known, remember(others, names.present))
            method = member(document, "method", str, "method")
            if method != _PARTIAL and method != _FULL:
                explain("", f"`{method}` is no status")
                return Decoded(())
            params = member(document, "params", dict, "params")
            if params is None:
                raise WrongShape("params: missing")
            timed = event_time(params.pop("ts", None), "params.ts", self._zone, payload)
            if isinstance(timed, DeadLetter):
                return timed
            partial = method == _PARTIAL
            names = StatusNames(known, partial)
            device = configured or member(document, "src", str, "src") or place.prefix
            flags = quality_of(*timed, retain, *(("partial",) if partial else ()))
            told = Told(explain)
            readings = Readings(device, timed[0], flags, told)
            self._read(params, names, readings, told)
            told.rest(document | {"params": {}} | params, readings.events)
            return _decoded(readings, timed[0], known, names.after())
        except WrongShape as error:
            return DeadLetter(Reason.WRONG_SHAPE, str(error))

    def _read(self, components: Mapping[str, Any], names: StatusNames, readings: Readings, explain: Explain) -> None:
        for component, content in components.items():
            kind = component.partition(":")[0]
            if system_reading(kind) is not None:
                self._add_system(component, kind, content, readings, explain)
            elif type(content) is dict:
                self._add_component(component, kind, content, names, readings, explain)
            elif content is None:
                self._add_removed(component, names, readings, explain)
            else:
                raise WrongShape(f"{component}: an object is needed")

    def _add_system(self, component: str, kind: str, content: Any, readings: Readings, explain: Explain) -> None:
        measured = system_reading(kind)
        if measured and type(content) is dict and type(content.get(measured)) is int:
            name = f"{component}.{measured}"
            readings.add(name, content[measured], self._meanings(name))
        else:
            explain(component, "tells about the device's own working")

    def _add_component(
        self,
        component: str,
        kind: str,
        content: dict[str, Any],
        names: StatusNames,
        readings: Readings,
        explain: Explain,
    ) -> None:
        found = []
        present: dict[str, None] = {}
        for name, value in leaves(content, component):
            end = name.rfind(".")
            if name[end + 1 :] in NOT_READINGS:
                explain(name, "tells about the value beside it")
                continue
            found.append((name, value, end))
            if value is not None:
                present[name] = None
        names.present.extend(present)
        for name, value, end in found:
            last = name[end + 1 :]
            if value is None:
                self._add_removed(name, names, readings, explain)
            elif last in CELSIUS_OF and ((beside := name[:end] + "." + CELSIUS_OF[last]) in present or names.has(beside)):
                explain(name, f"the same as `{beside}`")
            else:
                readings.add(name, value, self._meanings(name), _attributes(name, kind, content))

    def _add_removed(self, name: str, names: StatusNames, readings: Readings, explain: Explain) -> None:
        """A null: the values that it took away have none any more. One that nobody knew of is a value if its name says so."""
        gone = names.remove(name)
        if not gone and component_meaning(name)[1] is not None:
            gone = [name]
        given = [lost for lost in gone if lost[lost.rfind(".") + 1 :] not in CELSIUS_OF]
        for lost in given:
            readings.add(lost, None, self._meanings(lost), _attributes(lost, lost.partition(":")[0], {}))
        if not given:
            explain(name, "null: removed, or not known")


def _place(topic: str) -> _Place | None:
    if topic.endswith(_EVENTS):
        return _Place(topic.removesuffix(_EVENTS) or topic, None)
    prefix, found, component = topic.rpartition(_STATUS)
    return _Place(prefix or topic, component) if found and component and "/" not in component else None


def _attributes(name: str, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    if kind in PHASES:
        key = name[name.find(".") + 1 :]
        return {"phase": key[0]} if key[1:2] == "_" and key[0] in "abcn" else NO_ATTRIBUTES
    if ".by_minute." in name:
        energy = content.get(name.split(".")[1])
        minute = energy.get("minute_ts") if type(energy) is dict else None
        return {"minute_ts": minute} if type(minute) is int else NO_ATTRIBUTES
    return NO_ATTRIBUTES


def _decoded(readings: Readings, time: str | None, before: frozenset[str], after: frozenset[str]) -> Decoded:
    changed = before != after
    return Decoded(tuple(readings.events), None, time, state=after if changed else None, stored=changed)
