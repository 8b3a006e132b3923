import json
from typing import Any

import pytest

from fleet_contract.reasons import Reason

FORMAT = "ttn"
TREE = "v3/orchard@ttn/devices/probe-12"
UP = f"{TREE}/up"
PAYLOAD = "uplink_message.normalized_payload"


def uplink(simulated: bool | None = None, **changes: Any) -> dict[str, Any]:
    inner = {
        "f_port": 3,
        "f_cnt": 4021,
        "frm_payload": "AQID",
        "rx_metadata": [
            {"gateway_ids": {"gateway_id": "barn"}, "rssi": -112, "channel_rssi": -112, "snr": -9.2},
            {"gateway_ids": {"gateway_id": "silo"}, "rssi": -94, "channel_rssi": -94, "snr": 6.8},
            {"gateway_ids": {"gateway_id": "packetbroker"}},
        ],
        "received_at": "2024-05-14T06:21:09.123456789Z",
    }
    inner = {key: value for key, value in (inner | changes).items() if value is not ...}
    message: dict[str, Any] = {
        "end_device_ids": {"device_id": "probe-12", "dev_eui": "70B3D57ED0000001"},
        "received_at": "2024-05-14T06:21:10.5Z",
        "uplink_message": inner,
    }
    return message if simulated is None else message | {"simulated": simulated}


WEATHER = [
    {
        "time": "2024-05-14T06:15:00Z",
        "air": {
            "location": "outdoor",
            "temperature": 18.25,
            "relativeHumidity": 0,
            "pressure": 1013,
            "co2": 412,
            "lightIntensity": 20800,
        },
        "wind": {"speed": 2.5, "direction": 359},
        "rain": {"intensity": 1.2, "cumulative": 14.8},
    },
    {"soil": {"depth": 10, "moisture": 23.4, "temperature": 12.5, "ec": 0.35, "pH": 6.7, "n": 12, "p": 8, "k": 90}},
    {"soil": {"depth": 40, "moisture": 31.0}, "battery": 3.58},
    {
        "water": {"leak": False, "temperature": {"min": 4.5, "max": 9, "avg": 6.25, "current": 5}},
        "metering": {"water": {"total": 120034.5}},
        "action": {"motion": {"detected": True, "count": 3}, "contactState": "closed"},
        "position": {"latitude": 46.07, "longitude": 11.12, "altitude": 194},
    },
]
WEATHER_TABLE = {
    "0.air.temperature": ("temperature", 18.25, "Cel"),
    "0.air.relativeHumidity": ("relative_humidity", 0, "%RH"),
    "0.air.pressure": ("pressure", 1013, "hPa"),
    "0.air.co2": ("co2", 412, "ppm"),
    "0.air.lightIntensity": ("illuminance", 20800, "lx"),
    "0.wind.speed": ("wind_speed", 2.5, "m/s"),
    "0.wind.direction": ("wind_direction", 359, "deg"),
    "0.rain.intensity": ("rain_intensity", 1.2, "mm/h"),
    "0.rain.cumulative": ("rain_total", 14.8, "mm"),
    "1.soil.moisture": ("soil_moisture", 23.4, "/100"),
    "1.soil.temperature": ("soil_temperature", 12.5, "Cel"),
    "1.soil.ec": ("soil_ec", 0.35, "dS/m"),
    "1.soil.pH": ("ph", 6.7, "pH"),
    "1.soil.n": ("soil_nitrogen", 12, "ppm"),
    "1.soil.p": ("soil_phosphorus", 8, "ppm"),
    "1.soil.k": ("soil_potassium", 90, "ppm"),
    "2.soil.moisture": ("soil_moisture", 31.0, "/100"),
    "2.battery": ("battery_voltage", 3.58, "V"),
    "3.water.leak": ("water_leak", False, None),
    "3.water.temperature.min": ("water_temperature", 4.5, "Cel"),
    "3.water.temperature.max": ("water_temperature", 9, "Cel"),
    "3.water.temperature.avg": ("water_temperature", 6.25, "Cel"),
    "3.water.temperature.current": ("water_temperature", 5, "Cel"),
    "3.metering.water.total": ("water_total", 120034.5, "l"),
    "3.action.motion.detected": ("occupancy", True, None),
    "3.action.motion.count": ("motion_count", 3, None),
    "3.action.contactState": ("contact", "closed", None),
    "3.position.latitude": ("latitude", 46.07, "lat"),
    "3.position.longitude": ("longitude", 11.12, "lon"),
    "3.position.altitude": ("altitude", 194, "m"),
}


def test_a_normalized_payload_is_read_with_the_units_of_its_schema(reader: Any) -> None:
    table = reader.table(UP, uplink(normalized_payload=WEATHER))
    signal = {
        "uplink_message.rx_metadata.1.rssi": ("rssi", -94, "dBm"),
        "uplink_message.rx_metadata.1.snr": ("snr", 6.8, "dB"),
    }
    assert table == {f"{PAYLOAD}.{name}": row for name, row in WEATHER_TABLE.items()} | signal


def test_the_normalized_payload_goes_before_the_decoded_one(reader: Any) -> None:
    message = uplink(normalized_payload=[{"air": {"temperature": 20}}], decoded_payload={"TempC": 68})
    names = reader.readings(UP, message).keys()
    assert f"{PAYLOAD}.0.air.temperature" in names
    assert not any("decoded_payload" in name for name in names)
    assert "uplink_message.decoded_payload" in reader.explain(UP, message)


def test_readings_of_one_quantity_are_told_apart_by_their_depth(reader: Any) -> None:
    readings = reader.readings(UP, uplink(normalized_payload=WEATHER))
    assert readings[f"{PAYLOAD}.1.soil.moisture"].attributes == {"f_port": 3, "gateway": "silo", "depth_cm": 10}
    assert readings[f"{PAYLOAD}.1.soil.k"].attributes["depth_cm"] == 10
    assert readings[f"{PAYLOAD}.2.soil.moisture"].attributes["depth_cm"] == 40
    assert readings[f"{PAYLOAD}.2.battery"].attributes == {"f_port": 3, "gateway": "silo"}
    assert readings[f"{PAYLOAD}.0.air.co2"].attributes["location"] == "outdoor"


def test_each_measurement_may_have_its_own_time(reader: Any) -> None:
    decoded = reader.decode(UP, uplink(normalized_payload=WEATHER))
    times = {reading.name: reading.time for reading in decoded.events}
    assert times[f"{PAYLOAD}.0.air.temperature"] == "2024-05-14T06:15:00Z"
    assert times[f"{PAYLOAD}.1.soil.moisture"] == "2024-05-14T06:21:09.123456789Z"
    assert times["uplink_message.rx_metadata.1.rssi"] == "2024-05-14T06:21:09.123456789Z"
    assert decoded.time == "2024-05-14T06:15:00Z"


def test_the_signal_has_the_uplinks_time_and_not_that_of_the_last_measurement(reader: Any) -> None:
    readings = reader.readings(UP, uplink(normalized_payload=WEATHER[:1]))
    assert readings[f"{PAYLOAD}.0.wind.speed"].time == "2024-05-14T06:15:00Z"
    assert readings["uplink_message.rx_metadata.1.snr"].time == "2024-05-14T06:21:09.123456789Z"


def test_the_time_is_the_uplinks_then_the_messages_then_none(reader: Any) -> None:
    decoded_payload = {"x": 1}
    name = "uplink_message.decoded_payload.x"
    first = uplink(decoded_payload=decoded_payload)
    second = uplink(decoded_payload=decoded_payload, received_at=...)
    third = {key: value for key, value in second.items() if key != "received_at"}
    assert reader.readings(UP, first)[name].time == "2024-05-14T06:21:09.123456789Z"
    assert reader.readings(UP, second)[name].time == "2024-05-14T06:21:10.5Z"
    assert reader.readings(UP, third)[name].quality == ("no_time",)


def test_without_a_normalized_payload_the_decoded_one_is_read(reader: Any) -> None:
    decoded = {"TempC_SHT": 21.35, "humidity": 40, "pulses": 9007199254740993, "alarm": False, "probe": [1, None]}
    table = reader.table(UP, uplink(decoded_payload=decoded, rx_metadata=...))
    assert table == {
        "uplink_message.decoded_payload.TempC_SHT": ("TempC_SHT", 21.35, None),
        "uplink_message.decoded_payload.humidity": ("relative_humidity", 40, "%RH"),
        "uplink_message.decoded_payload.pulses": ("pulses", 9007199254740993, None),
        "uplink_message.decoded_payload.alarm": ("alarm", False, None),
        "uplink_message.decoded_payload.probe.0": ("probe", 1, None),
    }


@pytest.mark.parametrize("normalized", [[], None])
def test_an_empty_normalized_payload_does_not_hide_the_decoded_one(reader: Any, normalized: Any) -> None:
    names = reader.readings(UP, uplink(normalized_payload=normalized, decoded_payload={"x": 1})).keys()
    assert "uplink_message.decoded_payload.x" in names


def test_what_is_missing_was_not_measured(reader: Any) -> None:
    received = [{"snr": 4, "rssi": None}]
    message = uplink(normalized_payload=[{"air": {"temperature": 0, "pressure": None}}], f_port=..., rx_metadata=received)
    readings = reader.readings(UP, message)
    assert readings.keys() == {f"{PAYLOAD}.0.air.temperature"}
    assert readings[f"{PAYLOAD}.0.air.temperature"].attributes == {}
    assert f"{PAYLOAD}.0.air.pressure" in reader.explain(UP, message)


def test_an_uplink_that_nothing_decoded_gives_only_its_signal(reader: Any) -> None:
    assert reader.readings(UP, uplink()).keys() == {"uplink_message.rx_metadata.1.rssi", "uplink_message.rx_metadata.1.snr"}
    assert "uplink_message.frm_payload" in reader.explain(UP, uplink())


def test_a_simulated_uplink_is_flagged(reader: Any) -> None:
    message = uplink(simulated=True, normalized_payload=WEATHER)
    assert {reading.quality for reading in reader.readings(UP, message).values()} == {("simulated",)}
    assert {reading.quality for reading in reader.readings(UP, uplink(simulated=False)).values()} == {()}


def test_a_key_that_the_schema_does_not_have_yet_keeps_its_name(reader: Any) -> None:
    table = reader.table(UP, uplink(normalized_payload=[{"leaf": {"wetness": 7}, "soil": {"depths": 30}}], rx_metadata=[]))
    assert table == {
        f"{PAYLOAD}.0.leaf.wetness": ("wetness", 7, None),
        f"{PAYLOAD}.0.soil.depths": ("depths", 30, None),
    }


def test_the_device_is_the_stacks_device_id_and_else_the_topics(reader: Any) -> None:
    message = uplink()
    del message["end_device_ids"]
    assert {reading.device for reading in reader.readings(UP, uplink()).values()} == {"probe-12"}
    for topic in ("v3/orchard@ttn/devices/other/up", "v3/orchard/devices/other/up"):
        assert {reading.device for reading in reader.readings(topic, message).values()} == {"other"}


@pytest.mark.parametrize("kind", ["join", "down/push", "down/queued", "down/ack", "service/data", "location/solved"])
def test_other_messages_hold_no_reading(reader: Any, kind: str) -> None:
    assert reader.decode(f"{TREE}/{kind}", b"\x00").events == ()


@pytest.mark.parametrize(
    ("message", "reason", "detail"),
    [
        (b"", Reason.NOT_JSON, ""),
        (b"[]", Reason.WRONG_SHAPE, "an object"),
        (b"{}", Reason.WRONG_SHAPE, "uplink_message: missing"),
        (b'{"uplink_message": []}', Reason.WRONG_SHAPE, "uplink_message"),
        (uplink(normalized_payload={"air": {}}), Reason.WRONG_SHAPE, f"{PAYLOAD}: an array is needed"),
        (uplink(normalized_payload=[{}, 5]), Reason.WRONG_SHAPE, f"{PAYLOAD}.1"),
        (uplink(normalized_payload=[{}, {"time": "noon"}]), Reason.BAD_TIME, f"{PAYLOAD}.1.time"),
        (uplink(received_at="noon"), Reason.BAD_TIME, "uplink_message.received_at"),
        (uplink(decoded_payload=[1]), Reason.WRONG_SHAPE, "uplink_message.decoded_payload"),
        (uplink(rx_metadata=[None]), Reason.WRONG_SHAPE, "uplink_message.rx_metadata.0"),
        (uplink(rx_metadata=[{"rssi": "-9"}]), Reason.WRONG_SHAPE, "uplink_message.rx_metadata.0.rssi"),
        (uplink(rx_metadata=[{"rssi": -9, "gateway_ids": 1}]), Reason.WRONG_SHAPE, "rx_metadata.0.gateway_ids"),
        (uplink() | {"end_device_ids": {"device_id": 1}}, Reason.WRONG_SHAPE, "end_device_ids.device_id"),
        (b'{"uplink_message":' + b'{"a":' * 40 + b"1" + b"}" * 41, Reason.TOO_DEEP, ""),
        (json.dumps(uplink(decoded_payload={"a": 1})).encode().replace(b'"a": 1', b'"a": NaN'), Reason.NOT_JSON, ""),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter_that_names_the_place(
    reader: Any, message: Any, reason: Reason, detail: str
) -> None:
    found = reader.refuse(UP, message)
    assert found[0] is reason
    assert detail in found[1]
