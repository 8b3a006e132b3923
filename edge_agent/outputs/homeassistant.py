"""Home Assistant's device-based MQTT discovery: what announces a sensor's entities, and the state that they read. Pure.

Facts from https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload: one retained message on
`<prefix>/device/<object id>/config` holds the device, the origin and its components; an empty one removes them all; a component
with its platform alone removes that one, and another message without it follows. The same device may be announced by several
messages, so the pipelines that look at one sensor share its device.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from edge_agent import __version__
from edge_agent.outputs.topics import identifier, slug, status_topic
from fleet_contract.messages import AlarmState, Result

MOST_READINGS: Final = 64
"""Entities for readings of one sensor; what comes later has none."""
MAX_STATE: Final = 255
"""Characters of a state in Home Assistant; a longer one is refused there."""
SENSOR, BINARY_SENSOR = "sensor", "binary_sensor"

UNITS: Final[Mapping[str, tuple[str, str | None]]] = {
    "Cel": ("°C", "temperature"),
    "%RH": ("%", "humidity"),
    "%EL": ("%", "battery"),
    "hPa": ("hPa", "atmospheric_pressure"),
    "lx": ("lx", "illuminance"),
    "ppm": ("ppm", None),
    "V": ("V", "voltage"),
    "A": ("A", "current"),
    "W": ("W", "power"),
    "VA": ("VA", "apparent_power"),
    "Wh": ("Wh", None),
    "kWh": ("kWh", None),
    "m/s": ("m/s", "speed"),
    "mm": ("mm", None),
    "deg": ("°", None),
    "l": ("L", None),
    "dBm": ("dBm", "signal_strength"),
    "dB": ("dB", None),
    "ug/m3": ("µg/m³", None),
}
"""SenML unit to Home Assistant's unit and, where the unit alone tells it, device class. Energy has none: its class asks for a
counter that only grows, which a reading may not be."""


class Entity(msgspec.Struct, array_like=True, frozen=True):
    """One entity of a sensor, as it is remembered in agent.db."""

    platform: str
    name: str = ""
    """Of the reading; empty for what every pipeline has."""
    unit: str | None = None
    numeric: bool = False


FIXED: Final[Mapping[str, Entity]] = {
    "score": Entity(SENSOR, numeric=True),
    "label": Entity(SENSOR),
    "state": Entity(BINARY_SENSOR),
    "alarm": Entity(BINARY_SENSOR),
}
READING: Final = "reading_"


def find_entities(
    result: Result, has_model: bool, wanted: tuple[str, ...], units: Mapping[str, str | None]
) -> dict[str, Entity]:
    """The entities that a result has values for."""
    outcome = result.outcome
    found: dict[str, Entity] = {}
    if has_model:
        if outcome.score is not None:
            found["score"] = FIXED["score"]
        if outcome.label is not None:
            found["label"] = FIXED["label"]
    if outcome.state is not None:
        found["state"] = FIXED["state"]
    for name, value in () if has_model else outcome.values.items():
        value = _last(value)
        if value is None or (wanted and name not in wanted):
            continue
        if isinstance(value, bool):
            found[reading_id(name)] = Entity(BINARY_SENSOR, name)
        elif isinstance(value, int | float):
            found[reading_id(name)] = Entity(SENSOR, name, units.get(name), True)
        elif isinstance(value, str):
            found[reading_id(name)] = Entity(SENSOR, name)
    return found


def reading_id(name: str) -> str:
    """The component of a reading. Names that differ only in what an id cannot hold get ids that differ."""
    plain = slug(name)
    return READING + (plain if plain == name else identifier(name))


def to_state(result: Result, has_model: bool) -> bytes:
    """The message that all entities of a sensor read. null is `unknown` there; a reading that it does not name stays."""
    outcome = result.outcome
    alarm = outcome.alarm
    is_on = alarm is not None and alarm.state is not AlarmState.CLEARED
    state: dict[str, Any] = {
        "time": result.time,
        "result_id": result.result_id,
        "score": outcome.score,
        "label": outcome.label,
        "state": None if outcome.state is None else outcome.state.upper(),
        "alarm": "ON" if is_on else "OFF",
        "alarm_details": alarm or {},
    }
    if not has_model:
        state["readings"] = {
            reading_id(name): ("ON" if last else "OFF") if isinstance(last, bool) else _short(last)
            for name, value in outcome.values.items()
            if (last := _last(value)) is not None
        }
    return msgspec.json.encode(state)


@lru_cache(maxsize=16_384)
def config_topic(prefix: str, device: str, pipeline: str, source: str) -> str:
    """Where a pipeline's entities of one sensor are announced."""
    return f"{prefix}/device/{identifier(device, pipeline, source)}/config"


def birth_topic(prefix: str) -> str:
    """Where Home Assistant says `online` when it has started."""
    return f"{prefix}/status"


def to_config(
    device: str,
    pipeline: str,
    source: str,
    entities: Mapping[str, Entity],
    *,
    state_topic: str,
    expire_after: float | None,
    removed: Mapping[str, Entity] | None = None,
) -> bytes:
    """The announcement of a pipeline's entities of one sensor; those `removed` are named by their platform alone."""
    object_id = identifier(device, pipeline, source)
    components: dict[str, dict[str, Any]] = {
        key: _component(object_id, pipeline, key, entity, state_topic, expire_after) for key, entity in entities.items()
    }
    for key, entity in (removed or {}).items():
        components[key] = {"p": entity.platform}
    return msgspec.json.encode(
        {
            "dev": {
                "ids": [identifier(device, source)],
                "name": source,
                "mf": "Smallhold",
                "mdl": f"sensor of {device}",
                "sw": __version__,
            },
            "o": {"name": "smallhold", "sw": __version__},
            "cmps": components,
            "state_topic": state_topic,
            "availability_topic": status_topic(device),
            "qos": 1,
        }
    )


def _component(
    object_id: str, pipeline: str, key: str, entity: Entity, state_topic: str, expire_after: float | None
) -> dict[str, Any]:
    made: dict[str, Any] = {"p": entity.platform, "unique_id": f"{object_id}_{key}", "name": f"{pipeline} {entity.name or key}"}
    if entity.name:
        # a message may name some readings only; the others keep what they say
        missing = "''" if entity.numeric or entity.platform == BINARY_SENSOR else "this.state"
        made["value_template"] = f"{{{{ value_json.readings['{key}'] | default({missing}) }}}}"
    else:
        made["value_template"] = f"{{{{ value_json.{key} }}}}"
    if entity.numeric:
        made["state_class"] = "measurement"
    if entity.unit is not None and entity.numeric:
        unit, device_class = UNITS.get(entity.unit, (entity.unit, None))
        made["unit_of_measurement"] = unit
        if device_class is not None:
            made["device_class"] = device_class
    if key == "alarm":
        made["device_class"] = "problem"
        made["json_attributes_topic"] = state_topic
        made["json_attributes_template"] = "{{ value_json.alarm_details | tojson }}"
    if expire_after is not None:
        made["expire_after"] = max(round(expire_after), 1)
    return made


def _short(value: Any) -> Any:
    return value[:MAX_STATE] if isinstance(value, str) else value


def _last(value: Any) -> Any:
    """A window of several events lists a reading's values, oldest first; those that are missing are None."""
    if not isinstance(value, list):
        return value
    return next((item for item in reversed(value) if item is not None), None)
