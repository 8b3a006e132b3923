from typing import Any

import pytest

from fleet_contract.reasons import Reason

FORMAT = "tasmota"
TOPIC = "tele/greenhouse/SENSOR"
TIME = "2024-07-01T10:00:00"


def sensor(**content: Any) -> dict[str, Any]:
    return {"Time": TIME} | content


def test_sensors_are_read_by_path_with_the_units_at_the_root(reader: Any) -> None:
    message = sensor(
        BME280={"Temperature": 24.3, "Humidity": 0, "DewPoint": 11.9, "Pressure": 1009.6, "SeaPressure": 1015.1},
        BH1750={"Illuminance": 412},
        ANALOG={"A0": 512},
        Switch1="ON",
        PressureUnit="hPa",
        TempUnit="C",
    )
    assert reader.table(TOPIC, message) == {
        "BME280.Temperature": ("temperature", 24.3, "Cel"),
        "BME280.Humidity": ("relative_humidity", 0, "%RH"),
        "BME280.DewPoint": ("dew_point", 11.9, "Cel"),
        "BME280.Pressure": ("pressure", 1009.6, "hPa"),
        "BME280.SeaPressure": ("sea_level_pressure", 1015.1, "hPa"),
        "BH1750.Illuminance": ("illuminance", 412, "lx"),
        "ANALOG.A0": ("A0", 512, None),
        "Switch1": ("Switch1", "ON", None),
    }


@pytest.mark.parametrize(
    ("content", "name", "value", "unit"),
    [
        ({"A": {"Temperature": 71.6}, "TempUnit": "F"}, "A.Temperature", 22.0, "Cel"),
        ({"A": {"DewPoint": 32}, "TempUnit": "F"}, "A.DewPoint", 0.0, "Cel"),
        ({"A": {"Temperature": 21.5}}, "A.Temperature", 21.5, None),
        ({"A": {"Temperature": 21.5}, "TempUnit": "R"}, "A.Temperature", 21.5, None),
        ({"A": {"Temperature": 21.5}, "TempUnit": ["C"]}, "A.Temperature", 21.5, None),
        ({"A": {"Pressure": 756.2}, "PressureUnit": "mmHg"}, "A.Pressure", 1008.1838936, "hPa"),
        ({"A": {"Pressure": 29.85}, "PressureUnit": "inHg"}, "A.Pressure", 1010.83700914, "hPa"),
        ({"A": {"Speed": 10}, "SpeedUnit": "km/h"}, "A.Speed", 10, "km/h"),
        ({"A": {"Speed": 9}, "SpeedUnit": "kn"}, "A.Speed", 4.63, "m/s"),
        ({"A": {"Speed": 3.5}, "SpeedUnit": "m/s"}, "A.Speed", 3.5, "m/s"),
    ],
)
def test_units_chosen_at_the_root_are_made_senml(reader: Any, content: Any, name: str, value: Any, unit: Any) -> None:
    assert reader.table(TOPIC, sensor(**content))[name][1:] == (value, unit)


def test_one_source_reads_devices_with_different_units(reader: Any) -> None:
    source = reader.source()
    values = [
        source.decode(TOPIC, f'{{"A": {{"Temperature": 68}}, "TempUnit": "{unit}"}}'.encode()).events[0].value for unit in "FCF"
    ]
    assert values == [20.0, 68, 20.0]


def test_a_time_without_a_zone_is_read_in_the_configured_one_and_flagged(reader: Any) -> None:
    reading = reader.readings(TOPIC, sensor(A={"B": 1}), naive_zone="Europe/Rome")["A.B"]
    assert (reading.time, reading.quality) == ("2024-07-01T10:00:00+02:00", ("naive_time",))
    assert reader.readings(TOPIC, sensor(A={"B": 1}))["A.B"].time == "2024-07-01T10:00:00Z"


def test_a_time_with_a_zone_is_taken_as_it_is(reader: Any) -> None:
    reading = reader.readings(TOPIC, sensor(A={"B": 1}, Time="2024-07-01T10:00:00+03:00"), naive_zone="Europe/Rome")["A.B"]
    assert (reading.time, reading.quality) == ("2024-07-01T10:00:00+03:00", ())


def test_an_epoch_beside_it_goes_before_a_time_without_a_zone(reader: Any) -> None:
    readings = reader.readings(TOPIC, sensor(A={"B": 1}, Epoch=1719820800), naive_zone="Europe/Rome")
    assert readings.keys() == {"A.B"}
    assert (readings["A.B"].time, readings["A.B"].quality) == ("2024-07-01T08:00:00Z", ())


def test_two_sensors_of_one_kind_stay_apart_and_keep_their_ids(reader: Any) -> None:
    message = sensor(
        **{"DS18B20-1": {"Id": "01131B123456", "Temperature": 4.1}, "DS18B20-2": {"Id": "01131B1234AB", "Temperature": 4.2}},
        TempUnit="C",
    )
    readings = reader.readings(TOPIC, message)
    assert [(name, reading.value, reading.attributes) for name, reading in readings.items()] == [
        ("DS18B20-1.Temperature", 4.1, {"id": "01131B123456"}),
        ("DS18B20-2.Temperature", 4.2, {"id": "01131B1234AB"}),
    ]
    assert "DS18B20-1.Id" in reader.explain(TOPIC, message)


def test_a_lost_sensor_has_no_value_and_is_not_zero(reader: Any) -> None:
    readings = reader.readings(TOPIC, sensor(AM2301={"Temperature": None, "Humidity": 40.5}, TempUnit="C"))
    lost = readings["AM2301.Temperature"]
    assert (lost.quantity, lost.value, lost.unit, lost.quality) == ("temperature", None, "Cel", ("naive_time", "null"))
    assert readings["AM2301.Humidity"].quality == ("naive_time",)
    assert reader.readings(TOPIC, sensor(AM2301=None)) == {}


def test_a_meter_tells_energy_in_kwh_but_the_last_period_in_wh(reader: Any) -> None:
    meter = {
        "TotalStartTime": "2023-11-02T09:14:33",
        "Total": 1204.317,
        "Yesterday": 3.402,
        "Today": 0,
        "Period": 12,
        "Power": 148,
        "ApparentPower": 162,
        "ReactivePower": 66,
        "Factor": 0.91,
        "Voltage": 229,
        "Current": 0.707,
        "Frequency": 50,
        "ExportActive": 8.5,
    }
    assert reader.table(TOPIC, sensor(ENERGY=meter)) == {
        "ENERGY.TotalStartTime": ("TotalStartTime", "2023-11-02T09:14:33", None),
        "ENERGY.Total": ("energy", 1204.317, "kWh"),
        "ENERGY.Yesterday": ("energy", 3.402, "kWh"),
        "ENERGY.Today": ("energy", 0, "kWh"),
        "ENERGY.Period": ("energy", 12, "Wh"),
        "ENERGY.Power": ("power", 148, "W"),
        "ENERGY.ApparentPower": ("apparent_power", 162, "VA"),
        "ENERGY.ReactivePower": ("reactive_power", 66, "var"),
        "ENERGY.Factor": ("power_factor", 0.91, None),
        "ENERGY.Voltage": ("voltage", 229, "V"),
        "ENERGY.Current": ("current", 0.707, "A"),
        "ENERGY.Frequency": ("frequency", 50, "Hz"),
        "ENERGY.ExportActive": ("return_energy", 8.5, "kWh"),
    }


def test_a_three_phase_meter_gives_one_reading_for_each_phase(reader: Any) -> None:
    meter = {"Total": 88.1, "TotalTariff": [60.0, 28.1], "Power": [120, 0, 43], "Voltage": [230, None, 231], "Frequency": 50}
    readings = reader.readings(TOPIC, sensor(ENERGY=meter))
    assert [(name, reading.value, reading.unit, reading.attributes) for name, reading in readings.items()] == [
        ("ENERGY.Total", 88.1, "kWh", {}),
        ("ENERGY.TotalTariff.0", 60.0, "kWh", {"tariff": 1}),
        ("ENERGY.TotalTariff.1", 28.1, "kWh", {"tariff": 2}),
        ("ENERGY.Power.0", 120, "W", {"phase": 1}),
        ("ENERGY.Power.1", 0, "W", {"phase": 2}),
        ("ENERGY.Power.2", 43, "W", {"phase": 3}),
        ("ENERGY.Voltage.0", 230, "V", {"phase": 1}),
        ("ENERGY.Voltage.1", None, "V", {"phase": 2}),
        ("ENERGY.Voltage.2", 231, "V", {"phase": 3}),
        ("ENERGY.Frequency", 50, "Hz", {}),
    ]
    assert readings["ENERGY.Power.2"].quantity == "power"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"PMS5003": {"PM2.5": 7, "PM10": 9}}, {"PMS5003.PM2.5": ("pm25", 7, "ug/m3"), "PMS5003.PM10": ("pm10", 9, "ug/m3")}),
        ({"MHZ19B": {"CarbonDioxide": 612}}, {"MHZ19B.CarbonDioxide": ("co2", 612, "ppm")}),
        ({"SGP30": {"eCO2": 400, "TVOC": 12}}, {"SGP30.eCO2": ("co2", 400, "ppm"), "SGP30.TVOC": ("voc", 12, "ppb")}),
        ({"BME680": {"Gas": 92.4}}, {"BME680.Gas": ("gas", 92.4, None)}),
        ({"INA219": {"Voltage": 4.494, "Current": 0.02}}, {"INA219.Voltage": ("voltage", 4.494, "V")}),
        ({"HX711": {"Weight": 12.3}, "SR04": {"Distance": 80.2}}, {"HX711.Weight": ("weight", 12.3, "kg")}),
        (
            {"ZbReceived": {"0x4F2A": {"Name": "barn", "Temperature": 8.5, "Endpoint": 1}}, "TempUnit": "C"},
            {"ZbReceived.0x4F2A.Temperature": ("temperature", 8.5, "Cel"), "ZbReceived.0x4F2A.Name": ("Name", "barn", None)},
        ),
        ({"COUNTER": {"C1": 9007199254740993}}, {"COUNTER.C1": ("C1", 9007199254740993, None)}),
        ({"Flower-1a2b3c": {"Moisture": 31, "Battery": 98}}, {"Flower-1a2b3c.Moisture": ("soil_moisture", 31, "/100")}),
    ],
)
def test_sensors_of_many_kinds(reader: Any, content: Any, expected: Any) -> None:
    table = reader.table(TOPIC, sensor(**content))
    assert {name: row for name, row in table.items() if name in expected} == expected


@pytest.mark.parametrize(
    ("topic", "settings", "device"),
    [
        ("tele/greenhouse/SENSOR", {}, "greenhouse"),
        ("tele/north/greenhouse/SENSOR", {}, "north/greenhouse"),
        ("greenhouse/tele/SENSOR", {}, "greenhouse"),
        ("farm/greenhouse/tele/SENSOR", {"device_level": 1}, "greenhouse"),
    ],
)
def test_the_device_is_the_topic_between_prefix_and_suffix(reader: Any, topic: str, settings: Any, device: str) -> None:
    assert reader.readings(topic, sensor(A={"B": 1}), **settings)["A.B"].device == device


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("tele/x/LWT", b"Online"),
        ("tele/x/LWT", b"Offline"),
        ("tele/x/STATE", b'{"Time":"2024-07-01T10:00:00","Vcc":3.1,"POWER":"ON"}'),
        ("tele/x/INFO1", b'{"Info1":{"Module":"Generic"}}'),
        ("stat/x/RESULT", b'{"POWER":"ON"}'),
        ("stat/x/POWER", b"ON"),
        ("cmnd/x/POWER", b""),
    ],
)
def test_what_is_no_telemetry_of_sensors_holds_no_reading(reader: Any, topic: str, payload: bytes) -> None:
    assert reader.decode(topic, payload).events == ()


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (b"Online", Reason.NOT_JSON, ""),
        (b'{"DS18B20": {"Temperature": nan}}', Reason.NOT_JSON, ""),
        (b'"x"', Reason.WRONG_SHAPE, "an object is needed, not a text"),
        (b'{"Time": "now", "A": {"B": 1}}', Reason.BAD_TIME, "Time"),
        (b'{"Time": "2024-07-01T10:00:00", "Epoch": {}, "A": {"B": 1}}', Reason.BAD_TIME, "Epoch"),
        (b'{"ENERGY": ' + b'{"a":' * 40 + b"1" + b"}" * 41, Reason.TOO_DEEP, ""),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(reader: Any, payload: bytes, reason: Reason, detail: str) -> None:
    found = reader.refuse(TOPIC, payload)
    assert found[0] is reason
    assert detail in found[1]


def test_a_number_too_large_for_its_unit_gives_no_reading(reader: Any) -> None:
    message = '{"A": {"Temperature": 1e308, "Pressure": 1e308}, "TempUnit": "F", "PressureUnit": "inHg"}'
    assert reader.readings(TOPIC, message).keys() == {"A.Temperature"}
    assert reader.explain(TOPIC, message)["A.Pressure"] == "too large for its unit"
