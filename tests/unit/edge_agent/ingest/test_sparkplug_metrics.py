import struct
from typing import Any

import pytest

from edge_agent.ingest.events import DeadLetter, Decoded, Reading
from edge_agent.ingest.formats import Ingest
from edge_agent.ingest.sparkplug_schema import Payload
from edge_agent.settings import IngestSettings
from fleet_contract.reasons import Reason

NOW = 1_700_000_000_000
INT8, INT64, FLOAT, DOUBLE, STRING, DATE_TIME, DATA_SET, BYTES, TEMPLATE = 1, 4, 9, 10, 12, 13, 16, 17, 19


class Reader:
    """Reads the payload that a test fills, and remembers what was explained."""

    def __init__(self, **settings: Any) -> None:
        self.payload = Payload(timestamp=NOW, seq=0)
        self.explained: dict[str, str] = {}
        self.ingest = Ingest(IngestSettings(topic="#", format="sparkplug", **settings))

    def add(self, **fields: Any) -> Any:
        return self.payload.metrics.add(**fields)

    def decode(self, topic: str = "spBv1.0/g/NBIRTH/n", *, retain: bool = False) -> Decoded | DeadLetter:
        decoded = self.ingest.decode(topic, self.payload.SerializeToString(), retain=retain, explain=self.explained.__setitem__)
        assert self.ingest.errors == 0
        if isinstance(decoded, Decoded):
            self.ingest.accept(topic, decoded)
        self.payload = Payload(timestamp=NOW, seq=1)
        return decoded

    def read(self, topic: str = "spBv1.0/g/NBIRTH/n", *, retain: bool = False) -> list[Reading]:
        decoded = self.decode(topic, retain=retain)
        assert isinstance(decoded, Decoded), decoded
        return list(decoded.events)  # type: ignore[arg-type]

    def values(self, topic: str = "spBv1.0/g/NBIRTH/n") -> dict[str, Any]:
        return {reading.name: reading.value for reading in self.read(topic)}


@pytest.fixture
def reader() -> Reader:
    return Reader()


def test_each_metric_has_its_own_time_or_else_the_payloads(reader: Reader) -> None:
    reader.add(name="a", datatype=FLOAT, float_value=1, timestamp=NOW - 1)
    reader.add(name="b", datatype=FLOAT, float_value=1)
    reader.add(name="c", datatype=FLOAT, float_value=1, timestamp=0)
    reader.add(name="d", datatype=FLOAT, float_value=1, timestamp=2**64 - 1)
    assert [(item.name, item.time, item.quality) for item in reader.read()] == [
        ("a", "2023-11-14T22:13:19.999Z", ()),
        ("b", "2023-11-14T22:13:20Z", ()),
        ("c", "2023-11-14T22:13:20Z", ()),
        ("d", None, ("no_time",)),
    ]


def test_small_times_are_milliseconds_too(reader: Reader) -> None:
    reader.add(name="a", datatype=FLOAT, float_value=1, timestamp=5000)
    assert reader.read()[0].time == "1970-01-01T00:00:05Z"


def test_historical_transient_and_retained_are_told(reader: Reader) -> None:
    reader.add(name="old", datatype=FLOAT, float_value=1, is_historical=True)
    reader.add(name="brief", datatype=FLOAT, float_value=1, is_transient=True)
    old, brief = reader.read(retain=True)
    assert (old.quality, old.attributes) == (("historical", "retained"), {})
    assert (brief.quality, brief.attributes) == (("retained",), {"is_transient": True})


def test_null_nan_and_infinity_give_no_value_and_spare_the_others(reader: Reader) -> None:
    reader.add(name="gone", datatype=INT64, is_null=True)
    reader.add(name="was", datatype=INT64, is_null=True, long_value=7)
    reader.add(name="nan", datatype=FLOAT, float_value=float("nan"))
    reader.add(name="inf", datatype=DOUBLE, double_value=float("-inf"))
    reader.add(name="nothing", datatype=DOUBLE)
    reader.add(name="zero", datatype=DOUBLE, double_value=0.0)
    assert [(item.name, item.value, item.quality) for item in reader.read()] == [
        ("gone", None, ("null",)),
        ("was", None, ("null",)),
        ("zero", 0.0, ()),
    ]
    assert set(reader.explained) == {"nan", "inf", "nothing"}


def test_the_property_quality_is_a_flag(reader: Reader) -> None:
    for name, code in (("bad", 0), ("stale", 500), ("good", 192)):
        metric = reader.add(name=name, datatype=FLOAT, float_value=1)
        metric.properties.keys.append("Quality")
        metric.properties.values.add(type=3, int_value=code)
    assert [item.quality for item in reader.read()] == [("bad",), ("stale",), ()]


def test_the_engineering_unit_of_the_birth_holds_for_later_data(reader: Reader) -> None:
    metric = reader.add(name="Air/Temperature", alias=1, datatype=FLOAT, float_value=68)
    metric.properties.keys.extend(["low", "engUnit"])
    metric.properties.values.add(type=9, float_value=0)
    metric.properties.values.add(type=12, string_value="°F")
    (born,) = reader.read()
    reader.add(alias=1, float_value=212)
    (later,) = reader.read("spBv1.0/g/NDATA/n")
    assert [(item.quantity, item.value, item.unit) for item in (born, later)] == [
        ("temperature", 20.0, "Cel"),
        ("temperature", 100.0, "Cel"),
    ]


@pytest.mark.parametrize(
    ("name", "written", "value", "unit"),
    [
        ("humidity", "%", 40.5, "%RH"),
        ("Battery", "Percent", 40.5, "%EL"),
        ("valve", "%", 40.5, "/100"),
        ("pressure", "kPa", 405.0, "hPa"),
        ("Tank/Temp", "C", 40.5, "Cel"),
        ("charge", "C", 40.5, None),
        ("speed", "furlong/h", 40.5, "furlong/h"),
    ],
)
def test_units_are_read_as_people_write_them(reader: Reader, name: str, written: str, value: float, unit: str | None) -> None:
    metric = reader.add(name=name, datatype=FLOAT, float_value=40.5)
    metric.properties.keys.append("engUnit")
    metric.properties.values.add(type=12, string_value=written)
    (reading,) = reader.read()
    assert (reading.value, reading.unit) == (value, unit)


def test_a_configured_unit_comes_before_the_written_one() -> None:
    reader = Reader(units={"Temperature": "K"})
    metric = reader.add(name="Temperature", datatype=FLOAT, float_value=300)
    metric.properties.keys.append("engUnit")
    metric.properties.values.add(string_value="°F")
    (reading,) = reader.read()
    assert (reading.value, reading.unit) == (300.0, "K")


def test_what_runs_the_node_is_no_reading(reader: Reader) -> None:
    reader.add(name="bdSeq", datatype=INT64, long_value=1)
    reader.add(name="Node Control/Rebirth", datatype=11, boolean_value=False)
    reader.add(name="Node Control/Scan Rate", datatype=INT64, long_value=500)
    assert reader.values() == {"Node Control/Scan Rate": 500}
    assert "bdSeq" in reader.explained


def test_a_date_is_milliseconds(reader: Reader) -> None:
    reader.add(name="calibrated", datatype=DATE_TIME, long_value=NOW)
    (reading,) = reader.read()
    assert (reading.value, reading.unit) == (NOW, "ms")


def test_the_cells_of_a_data_set_are_readings(reader: Reader) -> None:
    table = reader.add(name="table", datatype=DATA_SET).dataset_value
    table.num_of_columns = 3
    table.columns.extend(["depth", "soil moisture", "note"])
    table.types.extend([INT8, DOUBLE, STRING])
    for depth, moisture, note in ((0xFF, 0.5, "dry"), (20, float("nan"), "")):
        row = table.rows.add()
        row.elements.add(int_value=depth)
        row.elements.add(double_value=moisture)
        row.elements.add(string_value=note)
    assert reader.values() == {
        "table.0.depth": -1,
        "table.0.soil moisture": 0.5,
        "table.0.note": "dry",
        "table.1.depth": 20,
        "table.1.note": "",
    }
    assert "table.1.soil moisture" in reader.explained


def test_the_members_of_a_template_are_readings_under_its_name(reader: Reader) -> None:
    definition = reader.add(name="_types_/Motor", datatype=TEMPLATE).template_value
    definition.is_definition = True
    definition.metrics.add(name="rpm", datatype=INT8)
    motor = reader.add(name="motor", alias=4, datatype=TEMPLATE, timestamp=NOW - 1000, is_historical=True).template_value
    motor.template_ref = "Motor"
    motor.metrics.add(name="rpm", datatype=INT8, int_value=0xFE)
    inner = motor.metrics.add(name="fan", datatype=TEMPLATE).template_value
    inner.metrics.add(name="on", datatype=11, boolean_value=True)
    reader.add(name="after", datatype=FLOAT, float_value=1)
    rpm, on, after = reader.read()
    assert (after.time, after.quality) == ("2023-11-14T22:13:20Z", ())
    assert (rpm.name, rpm.value, rpm.time, rpm.quality) == ("motor.rpm", -2, "2023-11-14T22:13:19Z", ("historical",))
    assert (on.name, on.value, on.quality) == ("motor.fan.on", True, ("historical",))
    assert "_types_/Motor" in reader.explained
    later = reader.add(alias=4).template_value
    later.metrics.add(name="rpm", int_value=0xFD)
    assert reader.values("spBv1.0/g/NDATA/n") == {"motor.rpm": -3}


def test_the_elements_of_an_array_are_readings(reader: Reader) -> None:
    reader.add(name="shorts", datatype=23, bytes_value=struct.pack("<2h", -1, 7))
    reader.add(name="floats", datatype=30, bytes_value=struct.pack("<2f", 21.3, float("nan")))
    reader.add(name="flags", datatype=32, bytes_value=b"\x0c\0\0\0\x34\xd0")
    reader.add(name="words", datatype=33, bytes_value=b"ABC\0hello\0")
    reader.add(name="odd", datatype=24, bytes_value=b"\1\2\3")
    values = reader.values()
    assert {name: values[name] for name in ("shorts.0", "shorts.1", "floats.0", "words.0", "words.1")} == {
        "shorts.0": -1,
        "shorts.1": 7,
        "floats.0": 21.3,
        "words.0": "ABC",
        "words.1": "hello",
    }
    flags = [values[f"flags.{place}"] for place in range(12)]
    assert flags == [False, False, True, True, False, True, False, False, True, True, False, True]
    assert set(reader.explained) == {"floats.1", "odd"}


def test_bytes_and_files_are_left_out_and_explained(reader: Reader) -> None:
    reader.add(name="photo", datatype=18, bytes_value=b"\xff\xd8")
    reader.add(name="on", datatype=11, boolean_value=True)
    assert reader.values() == {"on": True}
    assert "photo" in reader.explained


def test_a_text_or_name_that_is_no_utf8_costs_nothing_else() -> None:
    reader = Reader()
    good = Payload(timestamp=NOW)
    good.metrics.add(name="good", datatype=FLOAT, float_value=1)
    bad_name = b"\x12\x06\x0a\x02\xff\xfe\x70\x01"
    bad_text = b"\x12\x07\x0a\x01t\x7a\x02\xff\xfe"
    decoded = reader.ingest.decode("spBv1.0/g/NBIRTH/n", bad_name + bad_text + good.SerializeToString())
    assert isinstance(decoded, Decoded)
    assert [event.name for event in decoded.events] == ["good"]


def test_a_name_of_endless_length_is_left_out(reader: Reader) -> None:
    reader.add(name="x" * 513, alias=1, datatype=FLOAT, float_value=1)
    reader.add(name="y" * 512, alias=2, datatype=FLOAT, float_value=1)
    assert list(reader.values()) == ["y" * 512]
    outer = reader.add(name="z" * 500, datatype=TEMPLATE).template_value
    outer.metrics.add(name="w" * 20, datatype=FLOAT, float_value=1)
    assert reader.read() == []


def test_templates_inside_templates_end_at_the_limit_of_depth() -> None:
    reader = Reader(max_depth=3)
    for levels in (2, 3):
        template = reader.add(name="t", datatype=TEMPLATE).template_value
        for _ in range(levels - 1):
            template = template.metrics.add(name="t", datatype=TEMPLATE).template_value
        template.metrics.add(name="v", datatype=FLOAT, float_value=1)
        decoded = reader.decode()
        if levels == 2:
            assert isinstance(decoded, Decoded)
            assert len(decoded.events) == 1
        else:
            assert isinstance(decoded, DeadLetter)
            assert decoded.reason is Reason.TOO_DEEP


@pytest.mark.parametrize("kind", ["array", "flags", "rows", "members"])
def test_values_inside_one_metric_count_towards_the_limit(kind: str) -> None:
    reader = Reader(max_values=10)
    if kind == "array":
        reader.add(name="a", datatype=23, bytes_value=bytes(23))
    elif kind == "flags":
        reader.add(name="a", datatype=32, bytes_value=b"\x0b\0\0\0\xff\xff")
    elif kind == "rows":
        table = reader.add(name="a", datatype=DATA_SET).dataset_value
        for _ in range(11):
            table.rows.add().elements.add(boolean_value=True)
    else:
        template = reader.add(name="a", datatype=TEMPLATE).template_value
        for number in range(11):
            template.metrics.add(name=str(number), datatype=11, boolean_value=True)
    letter = reader.decode()
    assert isinstance(letter, DeadLetter)
    assert letter.reason is Reason.TOO_MANY_VALUES
