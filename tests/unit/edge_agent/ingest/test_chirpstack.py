import json
from typing import Any

import pytest

from fleet_contract.reasons import Reason

FORMAT = "chirpstack"
TREE = "application/4d3c9d5a-4f5e-4a43-9b41-1f2c7c2d9d10/device/a84041fa81886e11"
UP = f"{TREE}/event/up"


def uplink(**changes: Any) -> dict[str, Any]:
    message = {
        "deduplicationId": "0d4f6c1e-63a3-4a0a-8a5c-3b1f2e9d7c55",
        "time": "2024-05-14T06:21:09.123456789+00:00",
        "deviceInfo": {
            "tenantName": "Poplar Farm",
            "applicationName": "vineyard",
            "deviceName": "row-7",
            "devEui": "a84041fa81886e11",
            "tags": {"block": "north"},
        },
        "devAddr": "01b2c3d4",
        "dr": 5,
        "fCnt": 118,
        "fPort": 2,
        "data": "DOQBOwG4",
        "object": {"temp": 21.5, "soil": {"vwc": [31, 28.25]}, "BatV": 3.61, "door_open": False, "count": 0, "lost": None},
        "rxInfo": [
            {"gatewayId": "0016c001f1500811", "uplinkId": 3121, "rssi": -103, "snr": -4.5},
            {"gatewayId": "0016c001f1500812", "uplinkId": 4410, "rssi": -87, "snr": 7.25},
        ],
        "txInfo": {"frequency": 868100000, "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7}}},
    }
    return {key: value for key, value in (message | changes).items() if value is not ...}


def test_an_uplink_gives_what_the_codec_measured_and_the_best_gateways_signal(reader: Any) -> None:
    assert reader.table(UP, uplink()) == {
        "object.temp": ("temperature", 21.5, None),
        "object.soil.vwc.0": ("soil_moisture", 31, None),
        "object.soil.vwc.1": ("soil_moisture", 28.25, None),
        "object.BatV": ("battery_voltage", 3.61, None),
        "object.door_open": ("door_open", False, None),
        "object.count": ("count", 0, None),
        "rxInfo.1.rssi": ("rssi", -87, "dBm"),
        "rxInfo.1.snr": ("snr", 7.25, "dB"),
    }


def test_device_time_id_and_attributes_of_an_uplink(reader: Any) -> None:
    decoded = reader.decode(UP, uplink())
    assert decoded.own_id == "0d4f6c1e-63a3-4a0a-8a5c-3b1f2e9d7c55"
    assert decoded.time == "2024-05-14T06:21:09.123456789+00:00"
    for reading in decoded.events:
        assert reading.device == "a84041fa81886e11"
        assert reading.time == "2024-05-14T06:21:09.123456789+00:00"
        assert reading.quality == ()
        assert reading.attributes == {"f_port": 2, "gateway": "0016c001f1500812"}


def test_a_missing_number_of_a_protobuf_field_is_zero(reader: Any) -> None:
    readings = reader.readings(UP, uplink(fPort=..., rxInfo=[{"gatewayId": "00aa"}]))
    assert readings["rxInfo.0.rssi"].value == 0
    assert readings["rxInfo.0.snr"].value == 0
    assert readings["object.temp"].attributes == {"f_port": 0, "gateway": "00aa"}


def test_a_missing_rssi_counts_as_zero_when_the_best_gateway_is_sought(reader: Any) -> None:
    assert "rxInfo.1.rssi" in reader.readings(UP, uplink(rxInfo=[{"rssi": -5, "snr": 3}, {"snr": 1}]))


def test_a_missing_key_of_the_free_object_is_not_measured(reader: Any) -> None:
    names = reader.readings(UP, uplink(object={})).keys()
    assert names == {"rxInfo.1.rssi", "rxInfo.1.snr"}


def test_without_a_codec_there_is_no_object_and_the_raw_bytes_are_no_reading(reader: Any) -> None:
    message = uplink(object=...)
    assert reader.readings(UP, message).keys() == {"rxInfo.1.rssi", "rxInfo.1.snr"}
    assert "codec" in reader.explain(UP, message)["data"]


@pytest.mark.parametrize("modulation", [{"fsk": {"datarate": 50000}}, {"lrFhss": {"codeRate": "CR_1_2"}}])
def test_only_lora_has_a_ratio_of_signal_to_noise(reader: Any, modulation: Any) -> None:
    message = uplink(rxInfo=[{"gatewayId": "00aa", "rssi": -90}], txInfo={"frequency": 868300000, "modulation": modulation})
    readings = reader.readings(UP, message)
    assert readings["rxInfo.0.rssi"].value == -90
    assert "rxInfo.0.snr" not in readings


def test_the_gateway_with_less_noise_is_the_better_of_two_equally_loud(reader: Any) -> None:
    names = reader.readings(UP, uplink(rxInfo=[{"rssi": -80, "snr": 1}, {"rssi": -80, "snr": 9}, {"rssi": -80, "snr": 9}]))
    assert "rxInfo.1.snr" in names


def test_an_uplink_without_gateways_has_no_signal(reader: Any) -> None:
    readings = reader.readings(UP, uplink(rxInfo=...))
    assert "object.temp" in readings
    assert not any(name.startswith("rxInfo") for name in readings)
    assert readings["object.temp"].attributes == {"f_port": 2}


def test_numbers_may_come_as_texts_and_nan_gives_no_value(reader: Any) -> None:
    rx_info = [{"rssi": "-71", "snr": "NaN"}]
    message = uplink(rxInfo=rx_info, object={"temp": "NaN", "dew": "Infinity", "name": "kiwi", "n": 12})
    assert {name: reading.value for name, reading in reader.readings(UP, message).items()} == {
        "object.name": "kiwi",
        "object.n": 12,
        "rxInfo.0.rssi": -71,
    }
    told = reader.explain(UP, message)
    assert {path for path, why in told.items() if "no value" in why} == {"object.temp", "object.dew", "rxInfo.0.snr"}


def test_an_integer_beyond_the_floats_keeps_its_last_digit(reader: Any) -> None:
    assert reader.readings(UP, uplink(object={"pulses": 9007199254740993}))["object.pulses"].value == 9007199254740993


def test_keys_that_are_equal_in_two_places_stay_apart(reader: Any) -> None:
    message = uplink(object={"top": {"temp": 1}, "deep": {"temp": 2}})
    readings = reader.readings(UP, message)
    assert (readings["object.top.temp"].value, readings["object.deep.temp"].value) == (1, 2)


def test_a_configured_unit_goes_before_what_the_quantity_says(reader: Any) -> None:
    readings = reader.readings(UP, uplink(object={"temp": 20}), units={"object.temp": "Cel"})
    assert readings["object.temp"].unit == "Cel"


def test_without_device_info_the_topic_names_the_device(reader: Any) -> None:
    assert reader.readings(UP, uplink(deviceInfo=...))["object.temp"].device == "a84041fa81886e11"


def test_an_uplink_without_a_time_is_flagged(reader: Any) -> None:
    reading = reader.readings(UP, uplink(time=...), retain=True)["object.temp"]
    assert (reading.time, reading.quality) == (None, ("no_time", "retained"))


def status(**fields: Any) -> dict[str, Any]:
    info = {"devEui": "a84041fa81886e11"}
    return {"deduplicationId": "5f", "time": "2024-05-14T06:21:09Z", "deviceInfo": info} | fields


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"margin": 14, "batteryLevel": 82.28},
            {"margin": ("margin", 14, "dB"), "batteryLevel": ("battery_level", 82.28, "%EL")},
        ),
        ({}, {"margin": ("margin", 0, "dB"), "batteryLevel": ("battery_level", 0, "%EL")}),
        ({"margin": -3, "externalPowerSource": True}, {"margin": ("margin", -3, "dB")}),
        ({"margin": 7, "batteryLevelUnavailable": True}, {"margin": ("margin", 7, "dB")}),
        (
            {"margin": 7, "batteryLevelUnavailable": False, "batteryLevel": 100},
            {"margin": ("margin", 7, "dB"), "batteryLevel": ("battery_level", 100, "%EL")},
        ),
    ],
)
def test_a_status_gives_margin_and_a_battery_that_is_known(reader: Any, fields: Any, expected: Any) -> None:
    assert reader.table(f"{TREE}/event/status", status(**fields)) == expected


def test_a_location_gives_the_place(reader: Any) -> None:
    message = status(location={"latitude": 46.0712, "longitude": 11.1211, "altitude": 194, "source": "GEO_RESOLVER_TDOA"})
    assert reader.table(f"{TREE}/event/location", message) == {
        "location.latitude": ("latitude", 46.0712, "lat"),
        "location.longitude": ("longitude", 11.1211, "lon"),
        "location.altitude": ("altitude", 194, "m"),
    }


def test_a_place_on_the_equator_is_a_place(reader: Any) -> None:
    readings = reader.readings(f"{TREE}/event/location", status(location={"longitude": 32.5}))
    assert readings["location.latitude"].value == 0


@pytest.mark.parametrize("event", ["join", "ack", "txack", "log", "integration", "mesh"])
def test_other_events_hold_no_reading(reader: Any, event: str) -> None:
    message = uplink(level="ERROR", code="UPLINK_CODEC", acknowledged=True)
    assert reader.decode(f"{TREE}/event/{event}", message).events == ()


def test_a_command_to_the_device_holds_no_reading(reader: Any) -> None:
    assert reader.decode(f"{TREE}/command/down", {"devEui": "a84041fa81886e11", "fPort": 10, "data": "AQ=="}).events == ()


PROTOBUF = b"\x0a\x240d4f6c1e-63a3-4a0a-8a5c-3b1f2e9d7c55\x12\x0c\x08\xb5\xa9\x8c\xb2\x06\x10\x95\x9a\xef\x3a\x1a\x05\x3a\x03a"


@pytest.mark.parametrize("event", ["up", "join", "status"])
def test_protobuf_instead_of_json_has_a_reason_of_its_own(reader: Any, event: str) -> None:
    reason, detail = reader.refuse(f"{TREE}/event/{event}", PROTOBUF)
    assert reason is Reason.PROTOBUF_PAYLOAD
    assert "json=false" in detail


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (b"", Reason.NOT_JSON, ""),
        (b'\n{"object": ', Reason.NOT_JSON, ""),
        (b"hello", Reason.NOT_JSON, ""),
        (b'{"object": {"a": NaN}}', Reason.NOT_JSON, ""),
        (b"[]", Reason.WRONG_SHAPE, "an object is needed, not an array"),
        (json.dumps(uplink(object=[1])).encode(), Reason.WRONG_SHAPE, "object: an object is needed, not an array"),
        (json.dumps(uplink(rxInfo={})).encode(), Reason.WRONG_SHAPE, "rxInfo: an array is needed, not an object"),
        (json.dumps(uplink(rxInfo=[3])).encode(), Reason.WRONG_SHAPE, "rxInfo.0"),
        (json.dumps(uplink(rxInfo=[{"rssi": "x"}])).encode(), Reason.WRONG_SHAPE, "rxInfo.0.rssi"),
        (json.dumps(uplink(fPort=[2])).encode(), Reason.WRONG_SHAPE, "fPort"),
        (json.dumps(uplink(deviceInfo="x")).encode(), Reason.WRONG_SHAPE, "deviceInfo"),
        (json.dumps(uplink(deviceInfo={"devEui": 5})).encode(), Reason.WRONG_SHAPE, "deviceInfo.devEui"),
        (json.dumps(uplink(deduplicationId=5)).encode(), Reason.WRONG_SHAPE, "deduplicationId"),
        (json.dumps(uplink(time="soon")).encode(), Reason.BAD_TIME, "time"),
        (b'{"object": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", Reason.TOO_DEEP, ""),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter_that_names_the_place(
    reader: Any, payload: bytes, reason: Reason, detail: str
) -> None:
    found = reader.refuse(UP, payload)
    assert found[0] is reason
    assert detail in found[1]
