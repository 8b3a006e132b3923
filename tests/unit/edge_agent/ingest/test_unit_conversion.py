import pytest

from edge_agent.ingest.unit_conversion import convert, is_converted, senml_unit


@pytest.mark.parametrize(
    ("value", "unit", "expected", "senml"),
    [
        (71.6, "F", 22.0, "Cel"),
        (32, "F", 0.0, "Cel"),
        (-40, "F", -40.0, "Cel"),
        (70, "F", 21.111111, "Cel"),
        (750.06, "mmHg", 999.99789904, "hPa"),
        (29.92, "inHg", 1013.20748119, "hPa"),
        (101.3, "kPa", 1013.0, "hPa"),
        (3025, "mV", 3.025, "V"),
        (1234.567, "mWh", 1.234567, "Wh"),
        (0.1, "mWh", 0.0001, "Wh"),
        (10, "kn", 5.144444, "m/s"),
        (10, "mph", 4.4704, "m/s"),
        (10, "ft/s", 3.048, "m/s"),
        (10, "yd/s", 9.144, "m/s"),
        (1413, "uS/cm", 1.413, "dS/m"),
        (0.57, "fraction RH", 57.0, "%RH"),
        (0.0, "mV", 0.0, "V"),
    ],
)
def test_what_senml_has_no_unit_for_is_converted_on_the_digits_sent(
    value: float, unit: str, expected: float, senml: str
) -> None:
    assert is_converted(unit)
    assert (convert(value, unit), senml_unit(unit)) == (expected, senml)


@pytest.mark.parametrize(("unit", "senml"), [("C", "Cel"), ("%", "/100"), ("L", "l"), ("kWh", "kWh"), ("hPa", "hPa")])
def test_units_of_the_same_size_keep_their_values(unit: str, senml: str) -> None:
    assert not is_converted(unit)
    assert senml_unit(unit) == senml


def test_a_result_beyond_the_floats_is_none() -> None:
    assert convert(1e308, "inHg") is None
    assert convert(10**4000, "F") is None
    assert convert(5e-324, "mV") == 0.0
    assert convert(123456789012345678901234567890, "mV") == 1.2345678901234568e26
