"""What is published for Home Assistant, against what its documentation allows.

The tables are written from
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery (device discovery payload, supported abbreviations),
https://www.home-assistant.io/integrations/sensor.mqtt/, https://www.home-assistant.io/integrations/binary_sensor.mqtt/ and
https://www.home-assistant.io/integrations/sensor/#device-class (units of each device class).
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from edge_agent.outputs.homeassistant import (
    FIXED,
    UNITS,
    Entity,
    config_topic,
    find_entities,
    reading_id,
    to_config,
    to_state,
)
from fleet_contract.messages import Alarm, AlarmState, Outcome, Result, Severity, encode

ROOT_KEYS: Final = {
    *("dev", "device", "o", "origin", "cmps", "components", "state_topic", "command_topic", "qos", "encoding"),
    *("availability", "availability_mode", "availability_template", "availability_topic"),
    *("payload_available", "payload_not_available"),
}
DEVICE_KEYS: Final = {
    *("ids", "identifiers", "cns", "connections", "name", "mf", "manufacturer", "mdl", "model", "mdl_id", "model_id"),
    *("sw", "sw_version", "hw", "hw_version", "sn", "serial_number", "sa", "suggested_area", "cu", "configuration_url"),
    *("via_device",),
}
ORIGIN_KEYS: Final = {"name", "sw", "sw_version", "url", "support_url"}
ENTITY_KEYS: Final = {
    *("p", "platform", "unique_id", "name", "value_template", "state_topic", "qos", "encoding", "expire_after"),
    *("force_update", "icon", "enabled_by_default", "entity_category", "entity_picture", "object_id", "default_entity_id"),
    *("json_attributes_topic", "json_attributes_template", "device_class"),
}
PLATFORM_KEYS: Final = {
    "sensor": ENTITY_KEYS
    | {"unit_of_measurement", "state_class", "last_reset_value_template", "options", "suggested_display_precision"},
    "binary_sensor": ENTITY_KEYS | {"payload_on", "payload_off", "off_delay"},
}
DEVICE_CLASS_UNITS: Final = {
    "temperature": {"°C", "°F", "K"},
    "humidity": {"%"},
    "battery": {"%"},
    "atmospheric_pressure": {"cbar", "bar", "hPa", "mmHg", "inHg", "inH₂O", "kPa", "mbar", "Pa", "psi"},
    "illuminance": {"lx"},
    "voltage": {"V", "mV", "µV", "kV", "MV"},
    "current": {"A", "mA"},
    "power": {"mW", "W", "kW", "MW", "GW", "TW", "BTU/h"},
    "apparent_power": {"mVA", "VA", "kVA"},
    "speed": {"ft/s", "in/d", "in/h", "in/s", "km/h", "kn", "m/s", "mph", "mm/d", "mm/s"},
    "signal_strength": {"dB", "dBm"},
}
BINARY_DEVICE_CLASSES: Final = {"problem"}

ALARM = Alarm(id="a1", state=AlarmState.RAISED, since="2026-01-01T00:00:00Z", severity=Severity.WARNING, text="cold")
ALL: Final = {
    **FIXED,
    "reading_t": Entity("sensor", "t", "Cel", True),
    "reading_open": Entity("binary_sensor", "open"),
    "reading_mode": Entity("sensor", "mode"),
    "reading_x": Entity("sensor", "x", "Bq", True),
}


def config(entities: dict[str, Entity] = ALL, *, expire_after: float | None = None, **more: Any) -> dict[str, Any]:
    made = to_config("farm-1", "cold", "north", entities, state_topic="s/north", expire_after=expire_after, **more)
    found: dict[str, Any] = json.loads(made)
    return found


@pytest.mark.parametrize("expire_after", [None, 60.0])
def test_only_documented_keys_are_used(expire_after: float | None) -> None:
    made = config(expire_after=expire_after)
    assert made.keys() <= ROOT_KEYS
    assert made["dev"].keys() <= DEVICE_KEYS
    assert made["o"].keys() <= ORIGIN_KEYS
    for component in made["cmps"].values():
        assert component.keys() <= PLATFORM_KEYS[component["p"]]


def test_what_is_required_is_there() -> None:
    made = config()
    assert made["dev"]["ids"]
    assert made["o"]["name"] == "smallhold"
    assert all({"p", "unique_id"} <= component.keys() for component in made["cmps"].values())
    assert len({component["unique_id"] for component in made["cmps"].values()}) == len(made["cmps"])
    assert (made["state_topic"], made["availability_topic"]) == ("s/north", "smallhold/farm-1/status")


def test_the_topic_has_the_documented_form() -> None:
    topic = config_topic("homeassistant", "farm.1", "cold", "north/Gewächshaus #1")
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)


def test_every_unit_is_one_that_its_device_class_allows() -> None:
    assert {device_class for _, device_class in UNITS.values() if device_class} == DEVICE_CLASS_UNITS.keys()
    for unit, device_class in UNITS.values():
        assert device_class is None or unit in DEVICE_CLASS_UNITS[device_class]
    components = config()["cmps"]
    assert (components["reading_t"]["unit_of_measurement"], components["reading_t"]["device_class"]) == ("°C", "temperature")
    assert components["reading_x"]["unit_of_measurement"] == "Bq"
    assert components["alarm"]["device_class"] in BINARY_DEVICE_CLASSES


def test_numbers_alone_are_measurements() -> None:
    classes = {key: component.get("state_class") for key, component in config()["cmps"].items()}
    assert {key for key, found in classes.items() if found == "measurement"} == {"score", "reading_t", "reading_x"}


def test_states_expire_after_whole_seconds_and_one_at_least() -> None:
    assert {component["expire_after"] for component in config(expire_after=0.2)["cmps"].values()} == {1}
    assert {component["expire_after"] for component in config(expire_after=3600.0)["cmps"].values()} == {3600}
    assert all("expire_after" not in component for component in config()["cmps"].values())


def test_a_removed_component_is_named_by_its_platform_alone() -> None:
    made = config({"state": FIXED["state"]}, removed={"alarm": FIXED["alarm"]})
    assert made["cmps"]["alarm"] == {"p": "binary_sensor"}
    assert made["cmps"]["state"].keys() > {"p"}


def test_two_pipelines_share_the_device_of_a_sensor_and_no_entity() -> None:
    one = json.loads(to_config("d", "one", "north", FIXED, state_topic="a", expire_after=None))
    two = json.loads(to_config("d", "two", "north", FIXED, state_topic="b", expire_after=None))
    assert one["dev"] == two["dev"]
    ids = [component["unique_id"] for made in (one, two) for component in made["cmps"].values()]
    assert len(set(ids)) == 2 * len(FIXED)


def test_a_templates_key_holds_no_quote_whatever_a_reading_is_called() -> None:
    for name in ("it's", 'a"b', "{{ evil }}", "x}}y", "ü", "a.b", ""):
        assert re.fullmatch(r"reading_[a-zA-Z0-9_-]+", reading_id(name) + ("" if name else "_"))
    assert len({reading_id(name) for name in ("a.b", "a_b", "a:b", "a/b")}) == 4


def test_entities_are_found_from_what_a_result_says(result: Callable[..., Result]) -> None:
    scored = result(Outcome(label="frost", score=0.9, state="on", values={"t": 1}))
    assert find_entities(scored, True, (), {}) == {key: FIXED[key] for key in ("score", "label", "state")}
    read = result(Outcome(score=1.5, values={"t": [1, 1.5, None], "open": True, "mode": "eco", "lost": None, "n": [None]}))
    assert find_entities(read, False, (), {"t": "Cel"}) == {
        "reading_t": Entity("sensor", "t", "Cel", True),
        "reading_open": Entity("binary_sensor", "open"),
        "reading_mode": Entity("sensor", "mode"),
    }
    assert find_entities(read, False, ("mode",), {}).keys() == {"reading_mode"}


def test_the_state_says_what_the_entities_read(result: Callable[..., Result]) -> None:
    state = json.loads(to_state(result(Outcome(label="frost", score=0.9, state="on", alarm=ALARM)), True))
    assert (state["score"], state["label"], state["state"], state["alarm"]) == (0.9, "frost", "ON", "ON")
    assert state["alarm_details"] == json.loads(encode(ALARM))
    assert "readings" not in state


def test_a_cleared_alarm_is_off_and_no_state_is_null(result: Callable[..., Result]) -> None:
    cleared = Alarm(id="a1", state=AlarmState.CLEARED, since=None, severity=Severity.WARNING)
    state = json.loads(to_state(result(Outcome(alarm=cleared)), True))
    assert (state["alarm"], state["state"], state["alarm_details"]["state"]) == ("OFF", None, "cleared")
    assert json.loads(to_state(result(), True))["alarm_details"] == {}


def test_readings_are_the_windows_last_and_texts_are_no_longer_than_a_state_may_be(result: Callable[..., Result]) -> None:
    outcome = Outcome(values={"t": [1, 2, None], "open": False, "mode": "x" * 300, "lost": None})
    readings = json.loads(to_state(result(outcome), False))["readings"]
    assert readings == {"reading_t": 2, "reading_open": "OFF", "reading_mode": "x" * 255}
