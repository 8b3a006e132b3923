from typing import Any

import pytest

from edge_agent.ingest.formats import Ingest
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

FORMAT = "zigbee2mqtt"
CLIMATE = {
    "battery": 87,
    "voltage": 2945,
    "temperature": 21.43,
    "humidity": 0,
    "pressure": 1004.2,
    "linkquality": 116,
    "occupancy": False,
    "update": {"state": "idle", "installed_version": 16777241},
    "last_seen": "2024-05-14T06:21:09.123Z",
}
PLUG = {"state": "ON", "power": 0, "voltage": 231, "current": 0.12, "energy": 143.07, "power_factor": 0.9, "ac_frequency": 50}


def test_the_state_of_a_sensor_on_a_battery(reader: Any) -> None:
    assert reader.table("zigbee2mqtt/cellar climate", CLIMATE) == {
        "battery": ("battery_level", 87, "%EL"),
        "voltage": ("battery_voltage", 2.945, "V"),
        "temperature": ("temperature", 21.43, "Cel"),
        "humidity": ("relative_humidity", 0, "%RH"),
        "pressure": ("pressure", 1004.2, "hPa"),
        "linkquality": ("link_quality", 116, None),
        "occupancy": ("occupancy", False, None),
        "update.state": ("state", "idle", None),
        "update.installed_version": ("installed_version", 16777241, None),
    }


def test_the_state_of_a_plug_has_its_voltage_in_volts(reader: Any) -> None:
    assert reader.table("zigbee2mqtt/pump", PLUG) == {
        "state": ("state", "ON", None),
        "power": ("power", 0, "W"),
        "voltage": ("voltage", 231, "V"),
        "current": ("current", 0.12, "A"),
        "energy": ("energy", 143.07, "kWh"),
        "power_factor": ("power_factor", 0.9, None),
        "ac_frequency": ("frequency", 50, "Hz"),
    }


@pytest.mark.parametrize(
    ("state", "quantity", "volts"),
    [
        ({"voltage": 3005, "battery": 100}, "battery_voltage", 3.005),
        ({"voltage": 900, "battery_low": True}, "battery_voltage", 0.9),
        ({"voltage": 3100, "contact": True}, "battery_voltage", 3.1),
        ({"voltage": 228.5, "state": "OFF"}, "voltage", 228.5),
        ({"voltage": 52.1, "battery": 80, "power": 12}, "voltage", 52.1),
    ],
)
def test_a_voltage_is_in_millivolts_where_a_battery_gives_it(reader: Any, state: Any, quantity: str, volts: float) -> None:
    assert reader.table("zigbee2mqtt/x", state)["voltage"] == (quantity, volts, "V")


def test_every_message_repeats_what_is_cached_and_each_is_read_whole(reader: Any) -> None:
    source = reader.source()
    first = source.decode("zigbee2mqtt/x", b'{"temperature": 20, "humidity": 40}')
    second = source.decode("zigbee2mqtt/x", b'{"temperature": 20, "humidity": 41}')
    assert [[event.value for event in decoded.events] for decoded in (first, second)] == [[20, 40], [20, 41]]


def test_a_friendly_name_may_hold_slashes(reader: Any) -> None:
    readings = reader.readings("zigbee2mqtt/greenhouse/north/bench 3", {"temperature": 20})
    assert readings["temperature"].device == "greenhouse/north/bench 3"


def test_another_base_topic_is_an_option() -> None:
    ingest = Ingest(IngestSettings(topic="#", format=FORMAT, options={"base_topic": "home/zigbee"}))
    decoded = ingest.decode("home/zigbee/barn/door", b'{"contact": false}')
    assert decoded.events[0].device == "barn/door"  # type: ignore[union-attr]
    assert ingest.decode("home/zigbee/bridge/state", b'{"state": "online"}').events == ()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("last_seen", "time", "quality"),
    [
        ("2024-05-14T06:21:09.123Z", "2024-05-14T06:21:09.123Z", ()),
        ("2024-05-14T08:21:09+02:00", "2024-05-14T08:21:09+02:00", ()),
        ("2024-05-14T08:21:09", "2024-05-14T08:21:09+02:00", ("naive_time",)),
        (1715667669123, "2024-05-14T06:21:09.123Z", ()),
        (None, None, ("no_time",)),
        (..., None, ("no_time",)),
    ],
)
def test_last_seen_is_the_time_in_every_mode(reader: Any, last_seen: Any, time: Any, quality: Any) -> None:
    state = {"temperature": 20} | ({} if last_seen is ... else {"last_seen": last_seen})
    readings = reader.readings("zigbee2mqtt/x", state, naive_zone="Europe/Rome")
    assert readings.keys() == {"temperature"}
    assert (readings["temperature"].time, readings["temperature"].quality) == (time, quality)


@pytest.mark.parametrize("payload", [b"online", b"offline", b'{"state":"online"}', b""])
def test_an_availability_is_no_reading_in_any_form(reader: Any, payload: bytes) -> None:
    assert reader.decode("zigbee2mqtt/greenhouse/bench 3/availability", payload).events == ()


@pytest.mark.parametrize(
    "topic",
    [
        "zigbee2mqtt/pump/set",
        "zigbee2mqtt/pump/get",
        "zigbee2mqtt/pump/set/state",
        "zigbee2mqtt/greenhouse/pump/l1/set",
        "zigbee2mqtt/bridge/devices",
        "zigbee2mqtt/bridge/request/permit_join",
    ],
)
def test_commands_and_the_bridge_are_no_readings(reader: Any, topic: str) -> None:
    assert reader.decode(topic, b'{"state": "ON"}').events == ()
    assert reader.decode(topic, b"ON").events == ()


def test_a_device_that_was_renamed_leaves_an_empty_message(reader: Any) -> None:
    assert reader.decode("zigbee2mqtt/old name", b"").events == ()


def test_objects_inside_are_read_by_path_and_the_device_block_is_not(reader: Any) -> None:
    state = {
        "brightness": 254,
        "color": {"x": 0.4599, "y": 0.4106, "hue": 0},
        "device": {"friendlyName": "lamp", "ieeeAddr": "0x00158d0001a2b3c4", "softwareBuildID": "1.0"},
    }
    assert reader.readings("zigbee2mqtt/lamp", state).keys() == {"brightness", "color.x", "color.y", "color.hue"}
    assert "device" in reader.explain("zigbee2mqtt/lamp", state)


def test_a_null_gives_no_value(reader: Any) -> None:
    state = {"temperature": None, "water_leak": False}
    assert reader.readings("zigbee2mqtt/x", state).keys() == {"water_leak"}
    assert "temperature" in reader.explain("zigbee2mqtt/x", state)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"power_l1": 3, "power_l2": 4}, {"power_l1": ("power", 3, "W"), "power_l2": ("power", 4, "W")}),
        ({"current_phase_b": 1.5}, {"current_phase_b": ("current", 1.5, "A")}),
        ({"state_left": "ON"}, {"state_left": ("state_left", "ON", None)}),
        ({"soil_moisture": 41, "soil_fertility": 350}, {"soil_moisture": ("soil_moisture", 41, "/100")}),
        ({"soil_fertility": 350}, {"soil_fertility": ("soil_ec", 0.35, "dS/m")}),
        ({"pm25": 8, "co2": 612, "voc": 3}, {"pm25": ("pm25", 8, "ug/m3"), "co2": ("co2", 612, "ppm")}),
        ({"voc": 3, "formaldehyd": 1}, {"voc": ("voc", 3, None), "formaldehyd": ("formaldehyde", 1, None)}),
        ({"illuminance": 120}, {"illuminance": ("illuminance", 120, "lx")}),
        ({"position": 35, "tamper": False}, {"position": ("position", 35, "/100"), "tamper": ("tamper", False, None)}),
        ({"power_reactive": 7, "power_apparent": 9}, {"power_reactive": ("reactive_power", 7, "var")}),
    ],
)
def test_attributes_have_the_units_in_which_they_are_exposed(reader: Any, state: Any, expected: Any) -> None:
    table = reader.table("zigbee2mqtt/x", state)
    assert {name: row for name, row in table.items() if name in expected} == expected


def test_before_version_2_illuminance_beside_illuminance_lux_is_raw(reader: Any) -> None:
    assert reader.table("zigbee2mqtt/x", {"illuminance": 20792, "illuminance_lux": 120}) == {
        "illuminance": ("illuminance_raw", 20792, None),
        "illuminance_lux": ("illuminance", 120, "lx"),
    }


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (b"21.5", Reason.WRONG_SHAPE, "an object is needed, not a number"),
        (b'{"temperature":', Reason.NOT_JSON, ""),
        (b'{"temperature": 1, "last_seen": "a while ago"}', Reason.BAD_TIME, "last_seen"),
        (b'{"color": ' + b"[" * 40 + b"]" * 40 + b"}", Reason.TOO_DEEP, ""),
        (b'{"name": "\xff"}', Reason.NOT_UTF8, ""),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(reader: Any, payload: bytes, reason: Reason, detail: str) -> None:
    found = reader.refuse("zigbee2mqtt/x", payload)
    assert found[0] is reason
    assert detail in found[1]
