import json
from typing import Any

import pytest

from edge_agent.ingest.events import Decoded, Reading
from edge_agent.ingest.formats import Ingest
from edge_agent.ingest.shelly import ShellyFormat
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

FORMAT = "shelly"
PREFIX = "barn/shellypro4pm-f008d1d8b8b8"
RPC = f"{PREFIX}/events/rpc"
SRC = "shellypro4pm-f008d1d8b8b8"


def notify(method: str = "NotifyStatus", ts: Any = 1715667669.12, **params: Any) -> dict[str, Any]:
    return {"src": SRC, "dst": f"{PREFIX}/events", "method": method, "params": {"ts": ts} | params}


def switch(**changes: Any) -> dict[str, Any]:
    return {
        "switch:0": {
            "id": 0,
            "source": "WS_in",
            "output": False,
            "apower": 0.0,
            "voltage": 231.4,
            "freq": 50.0,
            "current": 0.0,
            "pf": 0.0,
            "aenergy": {"total": 11840.327, "by_minute": [0.0, 1234.567, 81.2], "minute_ts": 1715667660},
            "temperature": {"tC": 41.3, "tF": 106.4},
        }
        | changes
    }


class Device:
    """One device's messages, each read with the state that those before it left."""

    def __init__(self) -> None:
        self.ingest = Ingest(IngestSettings(topic="#", format=FORMAT))
        self.stored: str | None = None

    def tell(self, document: Any, topic: str = RPC) -> dict[str, Reading]:
        decoded = self.ingest.decode(topic, json.dumps(document).encode())
        assert isinstance(decoded, Decoded), decoded
        assert self.ingest.errors == 0
        assert decoded.stored == (decoded.state is not None)
        self.stored = self.ingest.accept(topic, decoded)
        return {event.name: event for event in decoded.events if isinstance(event, Reading)}


def test_a_partial_status_gives_readings_for_what_it_carries(reader: Any) -> None:
    assert reader.table(RPC, notify(**switch())) == {
        "switch:0.output": ("output", False, None),
        "switch:0.apower": ("power", 0.0, "W"),
        "switch:0.voltage": ("voltage", 231.4, "V"),
        "switch:0.freq": ("frequency", 50.0, "Hz"),
        "switch:0.current": ("current", 0.0, "A"),
        "switch:0.pf": ("power_factor", 0.0, None),
        "switch:0.aenergy.total": ("energy", 11840.327, "Wh"),
        "switch:0.aenergy.by_minute.0": ("energy", 0.0, "Wh"),
        "switch:0.aenergy.by_minute.1": ("energy", 1.234567, "Wh"),
        "switch:0.aenergy.by_minute.2": ("energy", 0.0812, "Wh"),
        "switch:0.temperature.tC": ("temperature", 41.3, "Cel"),
    }


def test_device_time_and_flags_of_a_partial_status(reader: Any) -> None:
    decoded = reader.decode(RPC, notify(**switch()))
    assert decoded.time == "2024-05-14T06:21:09.12Z"
    for reading in decoded.events:
        assert (reading.device, reading.time, reading.quality) == (SRC, "2024-05-14T06:21:09.12Z", ("partial",))
    minutes = [reading.attributes for reading in decoded.events if "by_minute" in reading.name]
    assert minutes == [{"minute_ts": 1715667660}] * 3


def test_all_digits_of_the_time_are_kept(reader: Any) -> None:
    payload = json.dumps(notify(**switch())).replace("1715667669.12", "1715667669.123456789")
    assert reader.decode(RPC, payload).time == "2024-05-14T06:21:09.123456789Z"


def test_what_a_partial_status_leaves_out_gives_no_reading(reader: Any) -> None:
    device = Device()
    device.tell(notify("NotifyFullStatus", **switch()))
    readings = device.tell(notify(**{"switch:0": {"id": 0, "apower": 812.5}}))
    assert {name: reading.value for name, reading in readings.items()} == {"switch:0.apower": 812.5}
    assert readings["switch:0.apower"].quality == ("partial",)


def test_a_full_status_is_whole(reader: Any) -> None:
    readings = reader.readings(RPC, notify("NotifyFullStatus", **switch()))
    assert len(readings) == 11
    assert {reading.quality for reading in readings.values()} == {()}


@pytest.mark.parametrize("method", ["NotifyEvent", "Switch.Set", "Shelly.GetStatus"])
def test_events_share_the_topic_and_are_no_status(reader: Any, method: str) -> None:
    event = {"component": "input:0", "id": 0, "event": "single_push", "ts": 1715667669.12}
    assert reader.decode(RPC, notify(method, events=[event])).events == ()


def test_an_answer_to_a_call_is_no_status(reader: Any) -> None:
    assert reader.decode(RPC, {"id": 1, "src": SRC, "result": {"was_on": False}}).events == ()


@pytest.mark.parametrize("topic", [f"{PREFIX}/online", f"{PREFIX}/rpc", f"{PREFIX}/command/switch:0", f"{PREFIX}/status"])
def test_other_topics_hold_no_reading(reader: Any, topic: str) -> None:
    assert reader.decode(topic, b"true").events == ()


def test_the_status_of_one_component_is_whole_and_has_no_time(reader: Any) -> None:
    readings = reader.readings(f"{PREFIX}/status/switch:0", switch()["switch:0"])
    assert readings.keys() == reader.readings(RPC, notify(**switch())).keys()
    assert {(reading.device, reading.time, reading.quality) for reading in readings.values()} == {(PREFIX, None, ("no_time",))}


def test_without_src_the_prefix_is_the_device(reader: Any) -> None:
    message = notify(**switch())
    del message["src"]
    assert {reading.device for reading in reader.readings(RPC, message).values()} == {PREFIX}


def test_a_null_gives_no_value_and_removes_the_key() -> None:
    device = Device()
    device.tell(notify("NotifyFullStatus", **{"temperature:100": {"id": 100, "tC": 4.5, "tF": 40.1}}))
    lost = device.tell(notify(**{"temperature:100": {"id": 100, "tC": None, "tF": None}}))
    assert [(reading.name, reading.value, reading.unit, reading.quality) for reading in lost.values()] == [
        ("temperature:100.tC", None, "Cel", ("partial", "null"))
    ]
    assert device.ingest.state(PREFIX) == b"[]"


def test_a_null_for_an_object_takes_away_all_the_values_that_it_had() -> None:
    device = Device()
    device.tell(notify("NotifyFullStatus", **switch(), **{"switch:1": {"id": 1, "output": True, "apower": 3.5}}))
    readings = device.tell(notify(**{"switch:0": {"aenergy": None}, "switch:1": None}))
    assert {name: (reading.value, reading.quality) for name, reading in readings.items()} == dict.fromkeys(
        (
            "switch:0.aenergy.by_minute.0",
            "switch:0.aenergy.by_minute.1",
            "switch:0.aenergy.by_minute.2",
            "switch:0.aenergy.total",
            "switch:1.apower",
            "switch:1.output",
        ),
        (None, ("partial", "null")),
    )
    assert device.tell(notify(**{"switch:1": None})) == {}


def test_a_null_is_a_lost_value_where_its_name_says_so_and_nothing_otherwise(reader: Any) -> None:
    message = notify(**{"temperature:100": {"tC": None}, "switch:0": {"errors": None}, "cover:0": None})
    assert reader.table(RPC, message) == {"temperature:100.tC": ("temperature", None, "Cel")}
    told = reader.explain(RPC, message)
    assert {path for path, why in told.items() if why.startswith("null")} == {"switch:0.errors", "cover:0"}


def test_a_temperature_is_given_once() -> None:
    device = Device()
    assert device.tell(notify(**{"temperature:0": {"tC": 22.0, "tF": 71.6}})).keys() == {"temperature:0.tC"}
    assert device.tell(notify(**{"temperature:0": {"tF": 71.7}})) == {}


def test_a_temperature_that_comes_in_fahrenheit_alone_is_converted() -> None:
    device = Device()
    fahrenheit = notify(**{"temperature:0": {"tF": 71.6}})
    for message in (fahrenheit, notify("NotifyFullStatus", **{"temperature:0": {"tF": 71.6}})):
        reading = device.tell(message)["temperature:0.tF"]
        assert (reading.quantity, reading.value, reading.unit) == ("temperature", 22.0, "Cel")
    device.tell(notify(**{"temperature:0": {"tC": 22.0}}))
    assert device.tell(notify("NotifyFullStatus", **{"temperature:0": {"tF": 71.6}})).keys() == {"temperature:0.tF"}


def test_the_state_is_stored_when_names_appear_or_go_and_not_for_values() -> None:
    device = Device()
    device.tell(notify("NotifyFullStatus", **switch()))
    assert device.stored == PREFIX
    device.tell(notify(**{"switch:0": {"apower": 5.0, "output": True}}))
    assert device.stored is None
    device.tell(notify(**{"switch:0": {"errors": ["overtemp"]}}))
    assert device.stored == PREFIX
    device.tell(notify(**{"switch:0": {"errors": None}}))
    assert device.stored == PREFIX
    device.tell(switch()["switch:0"], f"{PREFIX}/status/switch:0")
    assert device.stored is None
    device.tell({"id": 0, "output": True}, f"{PREFIX}/status/switch:0")
    assert device.ingest.state(PREFIX) == b'["switch:0.output"]'


def test_a_stored_state_survives_a_restart() -> None:
    device = Device()
    device.tell(notify("NotifyFullStatus", **{"switch:1": {"id": 1, "output": True}}))
    again = Device()
    again.ingest.restore({PREFIX: device.ingest.state(PREFIX)})
    assert again.tell(notify(**{"switch:1": None})).keys() == {"switch:1.output"}


@pytest.mark.parametrize("stored", [b"", b"{}", b"[1]", b"\xff"])
def test_a_state_of_another_form_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="Shelly"):
        ShellyFormat(IngestSettings(topic="#", format=FORMAT)).load(stored)


def test_two_devices_have_two_states() -> None:
    device = Device()
    device.tell(notify(**{"temperature:0": {"tC": 20}}), "a/events/rpc")
    assert device.tell(notify(**{"temperature:0": {"tF": 68}}), "b/events/rpc").keys() == {"temperature:0.tF"}
    assert device.tell(notify(**{"temperature:0": {"tF": 68}}), "a/events/rpc") == {}


def test_a_device_that_sends_ever_new_names_cannot_fill_the_memory() -> None:
    device = Device()
    for number in range(300):
        device.tell(notify(**{f"x:{number}": {f"{'k' * 300}{place}": place for place in range(10)}}))
    assert len(device.ingest.state(PREFIX)) <= 64 * 1024
    assert device.stored is None


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        (
            {"em:0": {"a_voltage": 230.1, "b_act_power": -20.5, "c_aprt_power": 9, "n_current": None, "total_act_power": 4}},
            {
                "em:0.a_voltage": ("voltage", 230.1, "V"),
                "em:0.b_act_power": ("power", -20.5, "W"),
                "em:0.c_aprt_power": ("apparent_power", 9, "VA"),
                "em:0.n_current": ("current", None, "A"),
                "em:0.total_act_power": ("power", 4, "W"),
            },
        ),
        (
            {"emdata:0": {"a_total_act_energy": 12.5, "total_act_ret": 3}},
            {
                "emdata:0.a_total_act_energy": ("energy", 12.5, "Wh"),
                "emdata:0.total_act_ret": ("return_energy", 3, "Wh"),
            },
        ),
        (
            {"em1:1": {"act_power": 0, "pf": -0.4}},
            {"em1:1.act_power": ("power", 0, "W"), "em1:1.pf": ("power_factor", -0.4, None)},
        ),
        (
            {"pm1:0": {"apower": 1.5, "ret_aenergy": {"total": 2, "by_minute": [1500]}}},
            {
                "pm1:0.apower": ("power", 1.5, "W"),
                "pm1:0.ret_aenergy.total": ("return_energy", 2, "Wh"),
                "pm1:0.ret_aenergy.by_minute.0": ("return_energy", 1.5, "Wh"),
            },
        ),
        ({"humidity:0": {"id": 0, "rh": 61.2}}, {"humidity:0.rh": ("relative_humidity", 61.2, "%RH")}),
        (
            {"devicepower:0": {"id": 0, "battery": {"V": 5.87, "percent": 0}, "external": {"present": False}}},
            {
                "devicepower:0.battery.V": ("battery_voltage", 5.87, "V"),
                "devicepower:0.battery.percent": ("battery_level", 0, "%EL"),
                "devicepower:0.external.present": ("present", False, None),
            },
        ),
        (
            {"cover:0": {"state": "stopped", "current_pos": 40, "target_pos": None, "last_direction": "open"}},
            {
                "cover:0.state": ("state", "stopped", None),
                "cover:0.current_pos": ("position", 40, "/100"),
                "cover:0.target_pos": ("target_position", None, "/100"),
                "cover:0.last_direction": ("last_direction", "open", None),
            },
        ),
        (
            {"light:0": {"output": True, "brightness": 30}},
            {"light:0.output": ("output", True, None), "light:0.brightness": ("brightness", 30, "/100")},
        ),
        (
            {"input:0": {"state": True}, "input:1": {"percent": 12.5}},
            {"input:0.state": ("state", True, None), "input:1.percent": ("percent", 12.5, "/100")},
        ),
        ({"voltmeter:100": {"voltage": 4.321}}, {"voltmeter:100.voltage": ("voltage", 4.321, "V")}),
        ({"illuminance:0": {"lux": 412}}, {"illuminance:0.lux": ("illuminance", 412, "lx")}),
        (
            {"flood:0": {"alarm": False}, "smoke:0": {"alarm": True}},
            {"flood:0.alarm": ("water_leak", False, None), "smoke:0.alarm": ("smoke", True, None)},
        ),
        (
            {"wifi": {"ssid": "barn", "rssi": -61}, "sys": {"uptime": 5}, "cloud": {"connected": False}, "mqtt": None},
            {"wifi.rssi": ("rssi", -61, "dBm")},
        ),
    ],
)
def test_components_have_the_quantities_and_units_of_their_kind(reader: Any, components: Any, expected: Any) -> None:
    assert reader.table(RPC, notify(**components)) == expected


def test_a_phase_is_an_attribute(reader: Any) -> None:
    readings = reader.readings(RPC, notify(**{"em:0": {"a_voltage": 230, "total_current": 2}, "switch:0": {"a_voltage": 1}}))
    assert [reading.attributes for reading in readings.values()] == [{"phase": "a"}, {}, {}]


@pytest.mark.parametrize(
    ("message", "reason", "detail"),
    [
        (b"true", Reason.WRONG_SHAPE, "an object is needed, not a boolean"),
        (b'{"method": "NotifyStatus"', Reason.NOT_JSON, ""),
        ({"method": 5}, Reason.WRONG_SHAPE, "method"),
        ({"method": "NotifyStatus"}, Reason.WRONG_SHAPE, "params: missing"),
        ({"method": "NotifyStatus", "params": []}, Reason.WRONG_SHAPE, "params"),
        (notify(ts="x"), Reason.BAD_TIME, "params.ts"),
        (notify() | {"src": 1}, Reason.WRONG_SHAPE, "src"),
        (notify(**{"switch:0": [1]}), Reason.WRONG_SHAPE, "switch:0: an object is needed"),
        (b'{"params": ' + b'{"a":' * 40 + b"1" + b"}" * 41, Reason.TOO_DEEP, ""),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter_that_names_the_place(
    reader: Any, message: Any, reason: Reason, detail: str
) -> None:
    found = reader.refuse(RPC, message)
    assert found[0] is reason
    assert detail in found[1]


def test_a_dead_letter_leaves_the_state_as_it_was() -> None:
    device = Device()
    device.tell(notify(**{"temperature:0": {"tC": 20}}))
    device.ingest.decode(RPC, b'{"method": "NotifyStatus", "params": {"temperature:0": {"tC": null}, "x": 1}}')
    assert device.tell(notify(**{"temperature:0": {"tF": 68}})) == {}
