from typing import Any

import cbor2
import pytest
from cbor2 import CBORTag as Tag

from edge_agent.ingest.events import Decoded, Reading
from fleet_contract.reasons import Reason

FORMAT = "senml"
URN = "urn:dev:ow:10e2073a01080063"


def events(reader: Any, document: Any, **settings: Any) -> list[Reading]:
    return list(reader.decode("farm/a", document, **settings).events)


def test_base_fields_resolve_and_stand_until_replaced(reader: Any) -> None:
    pack = [
        {"bn": f"{URN}:", "bt": 1.276020076e9, "bu": "A", "bver": 5, "n": "voltage", "u": "V", "v": 120.1},
        {"n": "current", "t": -5, "v": 1.2},
        {"n": "current", "t": -4.5, "v": 0},
        {"bn": "meter/", "bu": "Cel", "bt": 1700000000, "n": "flow_temp", "v": 41},
        {"n": "on", "vb": False},
        {"n": "state", "vs": "heating"},
    ]
    found = [(e.device, e.name, e.quantity, e.value, e.unit, e.time) for e in events(reader, pack)]
    assert found == [
        (URN, f"{URN}:voltage", "voltage", 120.1, "V", "2010-06-08T18:01:16Z"),
        (URN, f"{URN}:current", "current", 1.2, "A", "2010-06-08T18:01:11Z"),
        (URN, f"{URN}:current", "current", 0, "A", "2010-06-08T18:01:11.5Z"),
        ("meter", "meter/flow_temp", "flow_temp", 41, "Cel", "2023-11-14T22:13:20Z"),
        ("meter", "meter/on", "on", False, None, "2023-11-14T22:13:20Z"),
        ("meter", "meter/state", "state", "heating", None, "2023-11-14T22:13:20Z"),
    ]


@pytest.mark.parametrize(
    ("records", "values"),
    [
        ([{"n": "x", "v": 9007199254740993}], [9007199254740993]),
        ([{"bv": 9007199254740992, "n": "x", "v": 1}], [9007199254740993]),
        ([{"bv": 0.1, "n": "x", "v": 0.2}, {"n": "x", "v": -0.1}], [0.3, 0.0]),
        ([{"bv": 20, "n": "x", "v": 1.5}, {"bv": 0, "n": "x", "v": 1}], [21.5, 1]),
        ([{"bv": 5, "n": "x", "vs": "text"}], ["text"]),  # a base value is for numbers alone
        ([{"bs": 100, "n": "x", "s": 20.5}], [120.5]),
        ([{"bs": 100, "n": "x", "v": 3}], [3, 100]),  # a missing sum is 0 where a base sum stands
        ([{"n": "x", "v": 3, "s": 0}], [3, 0]),
        ([{"n": "x", "vd": "aGkg"}], ["aGkg"]),
        ([{"n": "x", "v": None}, {"n": "y", "v": 1}], [1]),
        ([{"bn": "a", "bt": 1}, {"n": "x", "vb": True}], [True]),  # base fields alone are no reading
        ([], []),
    ],
)
def test_values_and_sums_are_exact(reader: Any, records: list[Any], values: list[Any]) -> None:
    found = [event.value for event in events(reader, records)]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_a_sum_beside_a_value_has_a_name_and_a_unit_of_its_own(reader: Any) -> None:
    table = reader.table("t", [{"bn": "m:", "n": "power", "u": "W", "v": 5, "s": 7200}, {"n": "x", "u": "Cel", "s": 3}])
    assert table == {
        "m:power": ("power", 5, "W"),
        "m:power.sum": ("power", 7200, "J"),
        "m:x": ("x", 3, None),
    }


@pytest.mark.parametrize(
    ("record", "time", "flags", "attributes"),
    [
        ({"bt": 1700000000, "t": -5}, "2023-11-14T22:13:15Z", (), {}),
        ({"bt": 1700000000, "t": 0.123456789}, "2023-11-14T22:13:20.123456789Z", (), {}),
        ({"t": 268435456}, "1978-07-04T21:24:16Z", (), {}),
        ({"bt": 268435450, "t": 6}, "1978-07-04T21:24:16Z", (), {}),
        ({"t": 268435455}, None, ("no_time", "relative_time"), {"seconds_from_now": 268435455}),
        ({"bt": 268435456, "t": -1}, None, ("no_time", "relative_time"), {"seconds_from_now": 268435455}),
        ({"t": -300.5}, None, ("no_time", "relative_time"), {"seconds_from_now": -300.5}),
        ({"bt": 1700000000, "t": -1700000060}, None, ("no_time", "relative_time"), {"seconds_from_now": -60}),
        ({}, None, ("no_time",), {}),
        ({"t": 0}, None, ("no_time",), {}),
        ({"bt": 100000000000}, "5138-11-16T09:46:40Z", (), {}),  # seconds, never milliseconds
        ({"ut": 600}, None, ("no_time",), {"update_time": 600}),
    ],
)
def test_times_are_sums_and_small_ones_are_relative_to_now(
    reader: Any, record: dict[str, Any], time: str | None, flags: tuple[str, ...], attributes: dict[str, Any]
) -> None:
    (reading,) = events(reader, [{"n": "x", "v": 1, **record}])
    assert (reading.time, reading.quality, reading.attributes) == (time, flags, attributes)


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([{"bver": 11, "n": "x", "v": 1}], Reason.UNKNOWN_VERSION),
        ([{"bver": 10, "n": "x", "v": 1}, {"bver": 5, "n": "x", "v": 1}], Reason.WRONG_SHAPE),
        ([{"bver": "10", "n": "x", "v": 1}], Reason.WRONG_SHAPE),
        ([{"bver": 0, "n": "x", "v": 1}], Reason.WRONG_SHAPE),
        ([{"n": "x", "v": 1, "must_": 1}], Reason.WRONG_SHAPE),
        ([{"n": "x", "v": 1, "vb": True}], Reason.WRONG_SHAPE),
        ([{"n": "x"}], Reason.WRONG_SHAPE),
        ([{"bv": 1, "n": "x"}], Reason.WRONG_SHAPE),
        ([{"v": 1}], Reason.WRONG_SHAPE),  # no name at all
        ([{"n": "_x", "v": 1}], Reason.WRONG_SHAPE),
        ([{"n": "a b", "v": 1}], Reason.WRONG_SHAPE),
        ([{"n": "x" * 5_000, "v": 1}], Reason.WRONG_SHAPE),
        ([{"n": 5, "v": 1}], Reason.WRONG_SHAPE),
        ([{"n": "x", "v": "1"}], Reason.WRONG_SHAPE),
        ([{"n": "x", "v": True}], Reason.WRONG_SHAPE),
        ([{"n": "x", "vb": 1}], Reason.WRONG_SHAPE),
        ([{"n": "x", "vs": 1}], Reason.WRONG_SHAPE),
        ([{"n": "x", "vd": "+/=="}], Reason.WRONG_SHAPE),
        ([{"n": "x", "vd": "a"}], Reason.WRONG_SHAPE),
        ([{"n": "x", "v": 1, "t": "now"}], Reason.WRONG_SHAPE),
        ([{"n": "x", "v": 1, "bt": 1e15}], Reason.BAD_TIME),
        ([{"bv": 1.7e308, "n": "x", "v": 1.7e308}], Reason.WRONG_SHAPE),
        ([1], Reason.WRONG_SHAPE),
        ({"n": "x", "v": 1}, Reason.WRONG_SHAPE),
        (b'[{"n": "x", "v": NaN}]', Reason.NOT_JSON),
        (b'[{"n": "x", "v": 1e999}]', Reason.NOT_FINITE),
        (b"[" * 30_000, Reason.TOO_DEEP),
        (b"\x9f\xa2", Reason.NOT_CBOR),
    ],
)
def test_a_pack_that_breaks_a_rule_is_a_dead_letter(reader: Any, records: Any, reason: Reason) -> None:
    assert reader.refuse("t", records)[0] is reason


def test_version_10_and_the_one_with_secondary_units_are_known(reader: Any) -> None:
    for version in (1, 10, 10.0, 26):
        assert len(events(reader, [{"bver": version, "n": "x", "u": "hPa", "v": 1}])) == 1


@pytest.mark.parametrize(
    ("record", "device", "quantity", "unit"),
    [
        ({"n": URN, "u": "Cel"}, URN, "temperature", "Cel"),
        ({"bn": f"{URN}:"}, URN, "10e2073a01080063", None),
        ({"bn": f"{URN}:", "u": "%RH"}, URN, "relative_humidity", "%RH"),
        ({"n": f"{URN}_humidity", "u": "%RH"}, f"{URN}_humidity", "relative_humidity", "%RH"),
        ({"n": "temperature", "u": "Cel"}, "farm/a", "temperature", "Cel"),
        ({"n": "humidity"}, "farm/a", "relative_humidity", "%RH"),
        ({"n": "switch", "u": "%"}, "farm/a", "switch", "/"),
        ({"bn": "node7/", "n": "ext1", "u": "Cel"}, "node7", "ext1", "Cel"),
    ],
)
def test_device_and_quantity_come_from_the_name(
    reader: Any, record: dict[str, Any], device: str, quantity: str, unit: str | None
) -> None:
    (reading,) = events(reader, [{"v": 1, **record}])
    assert (reading.device, reading.quantity, reading.unit) == (device, quantity, unit)


def test_a_configured_device_goes_first(reader: Any) -> None:
    pack = [{"bn": "urn:x:", "n": "y", "v": 1}]
    assert events(reader, pack, device_level=1)[0].device == "a"
    assert events(reader, pack, device_path="0.n")[0].device == "y"


@pytest.mark.parametrize("content_type", [None, "application/senml+cbor", "application/sensml+cbor; x=1", "application/cbor"])
def test_cbor_has_integer_labels_and_decimal_fractions(reader: Any, content_type: str | None) -> None:
    pack = [
        {-1: 10, -2: f"{URN}:", -3: Tag(4, [-3, 1320067464001]), -4: "%RH", 0: "humidity", 2: Tag(4, [-1, 212])},
        {0: "level", 1: "l", 6: 10, 5: 3, -6: 2**64},
        {0: "label", 3: "ok", "n_x": 1},
        {0: "data", 8: b"\xfb\xff"},
        {0: "open", 4: False, 7: 60},
        {0: "lost", 2: float("nan")},
    ]
    properties = {} if content_type is None else {"content_type": content_type}
    decoded = reader.source().decode("t", cbor2.dumps(pack), properties)
    assert isinstance(decoded, Decoded), decoded
    found = [(e.name.removeprefix(f"{URN}:"), e.value, e.unit, e.time) for e in decoded.events if isinstance(e, Reading)]
    assert found == [
        ("humidity", 21.2, "%RH", "2011-10-31T13:24:24.001Z"),
        ("level", 2**64 + 3, None, "2011-10-31T13:24:34.001Z"),
        ("label", "ok", None, "2011-10-31T13:24:24.001Z"),
        ("label.sum", 2**64, None, "2011-10-31T13:24:24.001Z"),
        ("data", "-_8", None, "2011-10-31T13:24:24.001Z"),
        ("data.sum", 2**64, None, "2011-10-31T13:24:24.001Z"),
        ("open", False, None, "2011-10-31T13:24:24.001Z"),
        ("open.sum", 2**64, None, "2011-10-31T13:24:24.001Z"),
        ("lost.sum", 2**64, None, "2011-10-31T13:24:24.001Z"),
    ]
    assert decoded.time == "2011-10-31T13:24:24.001Z"


def test_a_stream_of_indefinite_length_that_ends_is_read_and_one_that_does_not_is_refused(reader: Any) -> None:
    assert len(events(reader, bytes.fromhex("9fa20061780205ff"))) == 1
    assert reader.refuse("t", bytes.fromhex("9fa20061780205"))[0] is Reason.NOT_CBOR


def test_what_gives_no_reading_is_explained(reader: Any) -> None:
    pack = [{"bn": "x", "bt": 1}, {"v": None}, {"v": 1, "colour": "red"}]
    assert reader.explain("t", pack) == {
        "0": "base fields alone",
        "1.v": "null: no value",
        "2.colour": "a label that SenML does not have",
    }
