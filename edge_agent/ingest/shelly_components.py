"""What the components of a Shelly device measure, and in which units."""

from collections.abc import Mapping
from typing import Final

from edge_agent.ingest.quantities import name_quantity, unit_of

PHASES: Final = frozenset(("em", "emdata"))
"""Kinds of components whose keys begin with the phase: `a_voltage`."""
NOT_READINGS: Final = frozenset(("id", "source", "minute_ts", "last_updated_ts"))
"""Keys that tell about the values beside them."""
CELSIUS_OF: Final[Mapping[str, str]] = {"tF": "tC", "current_F": "current_C", "target_F": "target_C"}
"""Key in °F to the one beside it that says the same in °C."""

_SYSTEM: Final[Mapping[str, str]] = {
    # kind of a component that measures nothing outside the device: the one key that is a reading all the same
    "wifi": "rssi",
    **dict.fromkeys(("sys", "cloud", "mqtt", "ws", "ble", "eth", "ui", "plugs_ui", "matter", "knx", "modbus", "bthome"), ""),
    **dict.fromkeys(("script", "schedule", "webhook", "ota", "serial", "zigbee"), ""),
}
_MEANINGS: Final[Mapping[str, tuple[str, str | None]]] = {
    # last keys of a path, without positions: quantity and unit
    "apower": ("power", "W"),
    "act_power": ("power", "W"),
    "total_act_power": ("power", "W"),
    "aprt_power": ("apparent_power", "VA"),
    "aprtpower": ("apparent_power", "VA"),
    "total_aprt_power": ("apparent_power", "VA"),
    "voltage": ("voltage", "V"),
    "current": ("current", "A"),
    "total_current": ("current", "A"),
    "pf": ("power_factor", None),
    "freq": ("frequency", "Hz"),
    "aenergy.total": ("energy", "Wh"),
    "aenergy.by_minute": ("energy", "mWh"),
    "ret_aenergy.total": ("return_energy", "Wh"),
    "ret_aenergy.by_minute": ("return_energy", "mWh"),
    "total_act": ("energy", "Wh"),
    "total_act_energy": ("energy", "Wh"),
    "total_act_ret": ("return_energy", "Wh"),
    "total_act_ret_energy": ("return_energy", "Wh"),
    "lag_react_energy": ("reactive_energy", "varh"),
    "lead_react_energy": ("reactive_energy", "varh"),
    "tC": ("temperature", "C"),
    "tF": ("temperature", "F"),
    "current_C": ("temperature", "C"),
    "current_F": ("temperature", "F"),
    "target_C": ("target_temperature", "C"),
    "target_F": ("target_temperature", "F"),
    "rh": ("relative_humidity", "%RH"),
    "lux": ("illuminance", "lx"),
    "battery.V": ("battery_voltage", "V"),
    "battery.percent": ("battery_level", "%EL"),
    "current_pos": ("position", "%"),
    "target_pos": ("target_position", "%"),
    "brightness": ("brightness", "%"),
    "percent": ("percent", "%"),
    "flood:alarm": ("water_leak", None),
    "smoke:alarm": ("smoke", None),
}


def system_reading(kind: str) -> str | None:
    """Of a kind of component that is the device's own working: the key that is a reading, or an empty text. None for others."""
    return _SYSTEM.get(kind)


def component_meaning(name: str) -> tuple[str, str | None]:
    """Quantity and unit of a value of a component, by its path (`switch:0.aenergy.by_minute.1`)."""
    component, _, path = name.partition(".")
    kind = component.partition(":")[0]
    parts = [part for part in path.split(".") if not part.isdigit()]
    key = parts[-1] if parts else ""
    if kind in PHASES and key[1:2] == "_" and key[0] in "abcn":
        key = key[2:]
    found = _MEANINGS.get(".".join(parts[-2:])) or _MEANINGS.get(key) or _MEANINGS.get(f"{kind}:{key}")
    if found is not None:
        return found
    quantity = name_quantity(name, path)
    return quantity, unit_of(quantity)
