"""What the description of format `ttn` promises, case by case."""

from typing import Any

import pytest

FORMAT = "ttn"
TOPIC = "v3/app@tenant/devices/dev1/up"
DAY = "2024-07-01T10:00:0"
NORMALIZED = "uplink_message.normalized_payload."
DECODED = "uplink_message.decoded_payload."


def up(uplink: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "end_device_ids": {"device_id": "dev1", "application_ids": {"application_id": "app"}},
        "received_at": f"{DAY}1.5Z",
        "uplink_message": {"f_port": 2, "f_cnt": 1, "frm_payload": "AQI=", "received_at": f"{DAY}0.123456789Z"} | uplink,
    } | more


ABOUT = {"device": "dev1", "time": f"{DAY}0.123456789Z", "quality": [], "attributes": {"f_port": 2}}
CASES: list[tuple[str, Any, list[tuple[Any, ...]]]] = [
    (
        "soil: the depth tells two readings apart, and each element has its own time",
        up(
            {
                "decoded_payload": {"moisture": 99},
                "normalized_payload": [
                    {"time": "2024-07-01T09:00:00+02:00", "soil": {"depth": 10, "moisture": 20.5, "temperature": 0, "ec": 1.2}},
                    {"soil": {"depth": 30, "pH": 6.5, "n": 10, "p": 0, "k": 12}},
                ],
            }
        ),
        [
            (
                f"{NORMALIZED}0.soil.moisture",
                "soil_moisture",
                20.5,
                "/100",
                {"time": "2024-07-01T09:00:00+02:00", "quality": [], "attributes": {"f_port": 2, "depth_cm": 10}},
            ),
            (f"{NORMALIZED}0.soil.temperature", "soil_temperature", 0, "Cel"),
            (f"{NORMALIZED}0.soil.ec", "soil_ec", 1.2, "dS/m"),
            (f"{NORMALIZED}1.soil.pH", "ph", 6.5, "pH", ABOUT | {"attributes": {"f_port": 2, "depth_cm": 30}}),
            (f"{NORMALIZED}1.soil.n", "soil_nitrogen", 10, "ppm"),
            (f"{NORMALIZED}1.soil.p", "soil_phosphorus", 0, "ppm"),
            (f"{NORMALIZED}1.soil.k", "soil_potassium", 12, "ppm"),
        ],
    ),
    (
        "air, wind, rain, water, metering and battery",
        up(
            {
                "normalized_payload": [
                    {
                        "air": {
                            "temperature": -1,
                            "relativeHumidity": 0.5,
                            "pressure": 1013.2,
                            "co2": 400,
                            "lightIntensity": 0,
                        },
                        "wind": {"speed": 5, "direction": 0},
                        "rain": {"intensity": 0, "cumulative": 20},
                        "water": {"leak": False, "temperature": {"current": 2.5}},
                        "metering": {"water": {"total": 1000}},
                        "battery": 3.6,
                    }
                ]
            }
        ),
        [
            (f"{NORMALIZED}0.air.temperature", "temperature", -1, "Cel"),
            (f"{NORMALIZED}0.air.relativeHumidity", "relative_humidity", 0.5, "%RH"),
            (f"{NORMALIZED}0.air.pressure", "pressure", 1013.2, "hPa"),
            (f"{NORMALIZED}0.air.co2", "co2", 400, "ppm"),
            (f"{NORMALIZED}0.air.lightIntensity", "illuminance", 0, "lx"),
            (f"{NORMALIZED}0.wind.speed", "wind_speed", 5, "m/s"),
            (f"{NORMALIZED}0.wind.direction", "wind_direction", 0, "deg"),
            (f"{NORMALIZED}0.rain.intensity", "rain_intensity", 0, "mm/h"),
            (f"{NORMALIZED}0.rain.cumulative", "rain_total", 20, "mm"),
            (f"{NORMALIZED}0.water.leak", "water_leak", False, None),
            (f"{NORMALIZED}0.water.temperature.current", "water_temperature", 2.5, "Cel"),
            (f"{NORMALIZED}0.metering.water.total", "water_total", 1000, "l"),
            (f"{NORMALIZED}0.battery", "battery_voltage", 3.6, "V"),
        ],
    ),
    (
        "decoded, with nulls, false and 0",
        up({"decoded_payload": {"temp": 0, "on": False, "none": None, "s": "1"}}),
        [
            (f"{DECODED}temp", "temperature", 0, None, ABOUT),
            (f"{DECODED}on", "on", False, None),
            (f"{DECODED}s", "s", "1", None),
        ],
    ),
    (
        "without the time of the uplink that of the message",
        up({"decoded_payload": {"x": 1}, "received_at": None}),
        [(f"{DECODED}x", "x", 1, None, {"time": f"{DAY}1.5Z"})],
    ),
    (
        "simulated",
        up({"decoded_payload": {"x": 1}}, simulated=True),
        [(f"{DECODED}x", "x", 1, None, {"quality": ["simulated"]})],
    ),
    ("not simulated", up({"decoded_payload": {"x": 1}}, simulated=False), [(f"{DECODED}x", "x", 1, None, ABOUT)]),
    ("nothing decoded", up({}), []),
    ("a missing rssi was not measured", up({"rx_metadata": [{"gateway_ids": {"gateway_id": "g"}}]}), []),
]


@pytest.mark.parametrize("topic", [TOPIC, "v3/app/devices/dev1/up"])
@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_an_uplink_gives_these_readings(printed: Any, topic: str, payload: Any, expected: Any) -> None:
    printed.check(expected, topic, payload)


@pytest.mark.parametrize("what", ["join", "down/queued", "down/push", "down/ack", "service/data", "location/solved"])
def test_other_messages_hold_no_reading(printed: Any, what: str) -> None:
    assert printed(f"v3/app@tenant/devices/dev1/{what}", up({"decoded_payload": {"x": 1}})) == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b"\xff", "not_utf8"),
        (b'{"uplink_message":{"decoded_payload":{"a":NaN}}}', "not_json"),
        (b'{"uplink_message":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "too_deep"),
        (b'{"uplink_message":{"normalized_payload":{"air":{"temperature":1}}}}', "wrong_shape"),
        (b'{"end_device_ids":{"device_id":"d"}}', "wrong_shape"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(printed: Any, payload: bytes, reason: str) -> None:
    assert printed.refused(TOPIC, payload) == reason
