from typing import Any

import pytest

from edge_agent.ingest.samples import to_samples
from fleet_contract.reasons import Reason

FORMAT = "fiware"
TOPIC = "/json/4jggokgpepnvsb2uv4s40d59ov/station-7/attrs"


@pytest.mark.parametrize("topic", [TOPIC, TOPIC[1:], TOPIC.replace("/json", ""), TOPIC[6:], "/json//station-7/attrs"])
def test_the_device_stands_in_the_topic_with_or_without_its_first_parts(reader: Any, topic: str) -> None:
    readings = reader.readings(topic, {"t": 21.5, "h": 0, "open": False, "lost": None, "state": "45%"})
    assert {name: reading.value for name, reading in readings.items()} == {"t": 21.5, "h": 0, "open": False, "state": "45%"}
    assert {reading.device for reading in readings.values()} == {"station-7"}
    assert {reading.quality for reading in readings.values()} == {("no_time",)}


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("23", 23),
        ("9007199254740993", 9007199254740993),
        ("0", 0),
        ("false", False),
        ('"23"', "23"),
        ("on", "on"),
        ("2024-05-01", "2024-05-01"),
        ('{"value": 5, "type": "Number"}', 5),
    ],
)
def test_a_bare_value_is_named_by_the_topic(reader: Any, payload: str, value: Any) -> None:
    (reading,) = reader.decode(f"{TOPIC}/temperature", payload).events
    assert (reading.name, reading.quantity, reading.device) == ("temperature", "temperature", "station-7")
    assert reading.value == value
    assert type(reading.value) is type(value)


@pytest.mark.parametrize("payload", ["null", "NaN", "-Infinity", "", "[]", "{}"])
def test_a_bare_nothing_gives_nothing(reader: Any, payload: str) -> None:
    assert reader.decode(f"{TOPIC}/temperature", payload).events == ()


def test_a_bare_array_of_values_with_times_is_several_measures(reader: Any) -> None:
    payload = '[{"timestamp": "2025-01-26T12:00:00Z", "value": 44}, {"TimeInstant": "2025-01-27T09:00:00Z", "value": 33}]'
    events = reader.decode(f"{TOPIC}/h", payload).events
    assert [(event.name, event.value, event.time) for event in events] == [
        ("h", 44, "2025-01-26T12:00:00Z"),
        ("h", 33, "2025-01-27T09:00:00Z"),
    ]


def test_an_array_is_several_measures_with_a_time_each(reader: Any) -> None:
    payload = [{"h": 70, "TimeInstant": "2024-05-01T10:00:00.5Z"}, {"h": 71, "TimeInstant": "2024-05-01T11:00:00Z"}, {"h": 72}]
    decoded = reader.decode(TOPIC, payload)
    assert [(event.name, event.value, event.time) for event in decoded.events] == [
        ("h", 70, "2024-05-01T10:00:00.5Z"),
        ("h", 71, "2024-05-01T11:00:00Z"),
        ("h", 72, None),
    ]
    assert decoded.time == "2024-05-01T10:00:00.5Z"


def test_measures_without_a_time_stay_apart_as_samples(reader: Any) -> None:
    samples = to_samples(reader.decode(TOPIC, [{"h": 70, "t": 1}, {"h": 71, "t": 2}]).events)
    assert [sample.values for sample in samples] == [{"h": 70, "t": 1}, {"h": 71, "t": 2}]


@pytest.mark.parametrize(
    ("instant", "time", "quality"),
    [
        ("2024-05-01T10:00:00.123456789+02:00", "2024-05-01T10:00:00.123456789+02:00", ()),
        ("2024-05-01T10:00:00", "2024-05-01T10:00:00Z", ("naive_time",)),
        ("20240501T100000Z", "2024-05-01T10:00:00Z", ()),
        ("20240501T100000.5+0200", "2024-05-01T10:00:00.5+02:00", ()),
        ({"type": "DateTime", "value": "2024-05-01T10:00:00Z"}, "2024-05-01T10:00:00Z", ()),
        ("20241399T100000Z", None, ("no_time",)),
        ("yesterday", None, ("no_time",)),
        (1700000000, None, ("no_time",)),
        (None, None, ("no_time",)),
        ({}, None, ("no_time",)),
    ],
)
def test_a_time_instant_is_iso_8601_or_ignored_with_the_measure_kept(
    reader: Any, instant: Any, time: str | None, quality: tuple[str, ...]
) -> None:
    (reading,) = reader.decode(TOPIC, {"TimeInstant": instant, "t": 5}).events
    assert (reading.value, reading.time, reading.quality) == (5, time, quality)


@pytest.mark.parametrize(
    ("name", "value", "code", "read", "unit"),
    [
        ("temperature", 21.5, "CEL", 21.5, "Cel"),
        ("temperature", 71.6, "FAH", 22.0, "Cel"),
        ("relativeHumidity", 55, "P1", 55, "%RH"),
        ("relativeHumidity", 0.5, "P1", 0.5, "%RH"),  # P1 is already per cent
        ("relativeHumidity", 0.55, "C62", 55.0, "%RH"),
        ("relativeHumidity", 0.55, None, 55.0, "%RH"),
        ("relativeHumidity", 55.5, None, 55.5, "%RH"),
        ("batteryLevel", 88, "P1", 88, "%EL"),
        ("fillingLevel", 40, "P1", 40, "/100"),
        ("people", 12, "C62", 12, "/"),
        ("atmosphericPressure", 1012.5, "A97", 1012.5, "hPa"),
        ("PM10", 22, "GQ", 22, "ug/m3"),
        ("CO", 0.4, "GP", 0.4, "mg/m3"),
        ("load", 3, "XYZ", 3, None),
        ("load", 3, {"value": "KGM"}, 3, "kg"),
        ("open", False, "C62", False, None),
    ],
)
def test_ngsi_properties_have_unit_codes(reader: Any, name: str, value: Any, code: Any, read: Any, unit: str | None) -> None:
    item = {"type": "Property", "value": value} | ({} if code is None else {"unitCode": code})
    (reading,) = reader.decode(TOPIC, {name: item}).events
    assert (reading.name, reading.value, reading.unit) == (name, read, unit)
    assert type(reading.value) is type(read)
    assert reading.attributes == ({"unit_code": "XYZ"} if code == "XYZ" else {})


def test_an_entity_is_read_attribute_by_attribute(reader: Any) -> None:
    entity = {
        "id": "urn:ngsi-ld:Air:7",
        "type": "AirQualityObserved",
        "@context": ["https://example.org/c.jsonld"],
        "TimeInstant": "2024-05-01T09:00:00Z",
        "temperature": {"type": "Property", "value": 12.2, "unitCode": "CEL", "observedAt": "2024-05-01T10:00:00Z"},
        "no2": {"type": "Number", "value": 69, "metadata": {"unitCode": {"type": "Text", "value": "GQ"}}},
        "late": {"value": 1, "metadata": {"TimeInstant": {"type": "DateTime", "value": "2024-05-01T08:00:00Z"}}},
        "odd": {"value": 2, "observedAt": "soon"},
        "station": {"type": "Relationship", "object": "urn:ngsi-ld:Station:1"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [-3.8, 43.46]}},
        "lost": {"type": "Property", "value": None},
        "soil": [{"value": 1, "datasetId": "urn:a"}, {"value": 2, "datasetId": "urn:b"}],
    }
    readings = reader.readings(TOPIC, entity)
    assert {name: (r.value, r.unit, r.time) for name, r in readings.items()} == {
        "temperature": (12.2, "Cel", "2024-05-01T10:00:00Z"),
        "no2": (69, "ug/m3", "2024-05-01T09:00:00Z"),
        "late": (1, None, "2024-05-01T08:00:00Z"),
        "odd": (2, None, "2024-05-01T09:00:00Z"),
        "location.type": ("Point", None, "2024-05-01T09:00:00Z"),
        "location.coordinates.0": (-3.8, None, "2024-05-01T09:00:00Z"),
        "location.coordinates.1": (43.46, None, "2024-05-01T09:00:00Z"),
        "soil.0": (1, None, "2024-05-01T09:00:00Z"),
        "soil.1": (2, None, "2024-05-01T09:00:00Z"),
    }
    assert readings["soil.1"].attributes == {"entity": "urn:ngsi-ld:Air:7", "dataset": "urn:b"}
    assert reader.explain(TOPIC, entity) == {
        "id": "says what the entity is",
        "type": "says what the entity is",
        "@context": "says what the entity is",
        "station": "a relationship is no measure",
        "odd.observedAt": "not an ISO 8601 time: ignored",
        "lost": "null: no value",
    }


def test_a_batch_of_entities_is_several_measures(reader: Any) -> None:
    entities = [{"id": "a", "type": "T", "x": {"value": 1}}, {"id": "b", "type": "T", "x": 2}]
    batch = {"actionType": "append", "entities": entities}
    events = reader.decode(TOPIC, batch).events
    assert [(event.name, event.value, event.attributes) for event in events] == [
        ("x", 1, {"entity": "a"}),
        ("x", 2, {"entity": "b"}),
    ]


@pytest.mark.parametrize("topic", ["/key/dev/cmd", "/json/key/dev/cmdexe", "/json/key/dev/configuration/commands"])
def test_commands_and_configuration_hold_no_reading(reader: Any, topic: str) -> None:
    assert reader.decode(topic, '{"ping": {"data": 22}}').events == ()


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (TOPIC, "5", Reason.WRONG_SHAPE),
        (TOPIC, "[1]", Reason.WRONG_SHAPE),
        (TOPIC, "[[]]", Reason.WRONG_SHAPE),
        (TOPIC, '{"t": NaN}', Reason.NOT_JSON),
        (TOPIC, b"\xff", Reason.NOT_UTF8),
        (TOPIC, "[" * 30_000, Reason.TOO_DEEP),
        (f"{TOPIC}/t", b"\xff", Reason.NOT_UTF8),
        (f"{TOPIC}/t", '"' + "x" * 300_000 + '"', Reason.TOO_LARGE),
        (f"{TOPIC}/{'t' * 5_000}", "5", Reason.TOO_LARGE),
        ("farm/a", '{"t": 1}', Reason.WRONG_SHAPE),
    ],
)
def test_what_is_no_measure_is_a_dead_letter(reader: Any, topic: str, payload: Any, reason: Reason) -> None:
    assert reader.refuse(topic, payload)[0] is reason


def test_units_and_device_can_be_configured(reader: Any) -> None:
    (reading,) = reader.decode(TOPIC, {"t": {"value": 1, "unitCode": "FAH"}}, units={"t": "K"}, device_level=2).events
    assert (reading.device, reading.value, reading.unit) == ("4jggokgpepnvsb2uv4s40d59ov", 1, "K")
