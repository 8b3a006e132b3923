"""From the values of a device's own payload to readings: what a name means, units made SenML, nulls flagged.

Shared by the formats that are the JSON of one make of device or network server.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from edge_agent.ingest.events import DeadLetter, Reading, Value
from edge_agent.ingest.json_document import leaves, parse
from edge_agent.ingest.port import Explain, ignore
from edge_agent.ingest.unit_conversion import convert, is_converted, senml_unit
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

NO_ATTRIBUTES: Final[dict[str, Any]] = {}
_MAX_KNOWN: Final = 4096
_MAX_KNOWN_LETTERS: Final = 256
_KINDS: Final[dict[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}

Kind = TypeVar("Kind")


class WrongShape(ValueError):
    """A value of a payload is not of the kind that its format says; names the path. The format makes it a dead letter."""


class Meaning(NamedTuple):
    """Of a value's name."""

    quantity: str
    unit: str | None
    """SenML unit of the reading."""
    sent_in: str | None
    """The device's unit where it has to be converted."""


def meaning(quantity: str, unit: str | None) -> Meaning:
    """The meaning of a value sent in a unit, which is named as in `unit_conversion.py`."""
    if unit is None:
        return Meaning(quantity, None, None)
    return Meaning(quantity, senml_unit(unit), unit if is_converted(unit) else None)


class Meanings:
    """What names mean, found out once for each. `find` gives the quantity and the unit in which it is sent."""

    def __init__(self, units: Mapping[str, str], find: Callable[[str], tuple[str, str | None]]) -> None:
        self._units = units
        self._find = find
        self._known: dict[str, Meaning] = {}

    def __call__(self, name: str) -> Meaning:
        """The configured unit goes before the one that the format knows."""
        known = self._known.get(name)
        if known is None:
            quantity, unit = self._find(name)
            configured = self._units.get(name)
            known = meaning(quantity, unit) if configured is None else Meaning(quantity, configured, None)
            # names come from payloads: a hostile one must not fill the memory
            if len(self._known) < _MAX_KNOWN and len(name) <= _MAX_KNOWN_LETTERS:
                self._known[name] = known
        return known


class Readings:
    """The readings of one message with one device and time, gathered in the order of the payload."""

    __slots__ = ("_device", "_explain", "_quality", "_time", "events")

    def __init__(self, device: str, time: str | None, quality: tuple[str, ...], explain: Explain) -> None:
        self.events: list[Reading] = []
        self._device = device
        self._time = time
        self._quality = quality
        self._explain = explain

    def at(self, time: str | None, quality: tuple[str, ...]) -> None:
        """What is added from here on has another time."""
        self._time = time
        self._quality = quality

    def add(self, name: str, value: Value, means: Meaning, attributes: dict[str, Any] = NO_ATTRIBUTES) -> None:
        """Add a value; a null becomes a reading without one, flagged `null`. Texts and booleans have no unit."""
        quality = self._quality
        quantity, unit, sent_in = means
        kind = type(value)
        if kind is float or kind is int:
            if sent_in is not None:
                value = convert(value, sent_in)  # type: ignore[arg-type]
                if value is None:
                    self._explain(name, "too large for its unit")
                    return
        elif value is None:
            quality = (*quality, "null")
        else:
            unit = None
        self.events.append(Reading(self._device, quantity, value, unit, self._time, name, quality, attributes))


class Told:
    """An explanation that knows what it has been told, so that it can tell the rest: what of a message is no measurement."""

    def __init__(self, explain: Explain) -> None:
        self._explain = explain
        self._paths: set[str] = set()

    def __call__(self, path: str, why: str) -> None:
        """Tell of a value, or of all below a path."""
        self._paths.add(path)
        self._explain(path, why)

    def rest(self, document: Mapping[str, Any], events: Iterable[Reading]) -> None:
        """Tell of each leaf of the document that neither gave a reading nor was told of."""
        if self._explain is ignore:
            return
        given = {event.name for event in events}
        for path, _ in leaves(document, ""):
            if path not in given and not self._knows(path):
                self._explain(path, "tells about the message or its sender")

    def _knows(self, path: str) -> bool:
        cut = len(path)
        while cut >= 0:
            if path[:cut] in self._paths:
                return True
            cut = path.rfind(".", 0, cut)
        return False


def parse_object(settings: IngestSettings, payload: bytes) -> dict[str, Any] | DeadLetter:
    """A payload that has to be a JSON object."""
    document = parse(settings, payload)
    if type(document) is dict or isinstance(document, DeadLetter):
        return document
    return DeadLetter(Reason.WRONG_SHAPE, f"an object is needed, not {_KINDS[type(document)]}")


def member(parent: Mapping[str, Any], key: str, kind: type[Kind], path: str) -> Kind | None:
    """The object, array or text under a key, None where it is missing or null; raises WrongShape for anything else."""
    value = parent.get(key)
    if value is None or type(value) is kind:
        return value
    raise WrongShape(f"{path}: {_KINDS[kind]} is needed, not {_KINDS[type(value)]}")


def quality_of(time: str | None, naive: bool, retain: bool, *more: str) -> tuple[str, ...]:
    """The flags of a message, those of its time first."""
    flags = ("no_time",) if time is None else ("naive_time",) if naive else ()
    return (*flags, "retained", *more) if retain else (*flags, *more)
