import pytest

from edge_agent.ingest.quantities import known_quantity, name_quantity, unit_of


@pytest.mark.parametrize(
    ("word", "quantity"),
    [
        ("Humidity", "relative_humidity"),
        ("soilMoisture", "soil_moisture"),
        ("wind-speed", "wind_speed"),
        ("PM2.5", "pm25"),
        ("pm10", "pm10"),
        ("BatV", "battery_voltage"),
        ("water_leak", "water_leak"),
        ("aprt_power", "apparent_power"),
        ("Frequency", "frequency"),
        ("lat", "latitude"),
        ("nitrate", None),
        ("x" * 5000, None),
    ],
)
def test_words_of_the_field_are_known(word: str, quantity: str | None) -> None:
    assert known_quantity(word) == quantity


@pytest.mark.parametrize(
    ("path", "quantity"),
    [
        ("object.temp", "temperature"),
        ("probes.0.temp", "temperature"),
        ("PMS5003.PM2.5", "pm25"),
        ("leaf.wetness", "wetness"),
        ("list.1.2", "list"),
        ("7", "7"),
        ("", ""),
    ],
)
def test_an_unknown_key_keeps_its_own_last_name(path: str, quantity: str) -> None:
    assert name_quantity(path, path) == quantity


def test_a_configured_name_goes_before_the_path() -> None:
    assert name_quantity("soil_moisture", "a.b") == "soil_moisture"


@pytest.mark.parametrize(("quantity", "unit"), [("co2", "ppm"), ("temperature", None), ("longitude", "lon")])
def test_a_unit_is_given_where_nobody_means_another(quantity: str, unit: str | None) -> None:
    assert unit_of(quantity) == unit
