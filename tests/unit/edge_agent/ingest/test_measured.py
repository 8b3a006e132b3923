from typing import Any

import pytest

from edge_agent.ingest.formats import Ingest
from edge_agent.ingest.json_document import leaves, parse
from edge_agent.ingest.measured import Meanings, Told, meaning, parse_object
from edge_agent.settings import IngestSettings

MESSAGES: list[tuple[str, str, bytes]] = [
    (
        "chirpstack",
        "application/1/device/a84041fa81886e11/event/up",
        b'{"time": "2024-05-14T06:21:09Z", "fCnt": 3, "data": "AQ==", "object": {"t": 1, "gone": null, "nan": "NaN"},'
        b' "rxInfo": [{"rssi": -90, "snr": 1, "channel": 2}, {"rssi": -99}]}',
    ),
    (
        "ttn",
        "v3/a@b/devices/c/up",
        b'{"received_at": "2024-05-14T06:21:09Z", "uplink_message": {"f_cnt": 1, "decoded_payload": {"a": [1, 2]},'
        b' "normalized_payload": [{"soil": {"depth": 5, "moisture": 30}}, {"air": {"co2": null}}],'
        b' "rx_metadata": [{"rssi": -90, "uplink_token": "x"}]}}',
    ),
    (
        "zigbee2mqtt",
        "zigbee2mqtt/x",
        b'{"temperature": 20, "humidity": null, "last_seen": 1715667669123, "device": {"model": "m"},'
        b' "update": {"state": "idle"}}',
    ),
    (
        "tasmota",
        "tele/x/SENSOR",
        b'{"Time": "2024-05-14T06:21:09", "DS18B20": {"Id": "01", "Temperature": 4}, "AM2301": null, "TempUnit": "C"}',
    ),
    (
        "shelly",
        "x/events/rpc",
        b'{"src": "s", "dst": "d", "method": "NotifyStatus", "params": {"ts": 1715667669.5, "sys": {"uptime": 3},'
        b' "switch:0": {"id": 0, "apower": 1, "errors": null, "temperature": {"tC": 20, "tF": 68}}}}',
    ),
]


@pytest.mark.parametrize(("name", "topic", "payload"), MESSAGES)
def test_every_value_of_a_message_gives_a_reading_or_is_told_of(name: str, topic: str, payload: bytes) -> None:
    ingest = Ingest(IngestSettings(topic="#", format=name))
    told: list[tuple[str, str]] = []
    decoded = ingest.decode(topic, payload, explain=lambda path, why: told.append((path, why)))
    assert ingest.errors == 0
    given = {event.name for event in decoded.events}  # type: ignore[union-attr]
    explained = {path for path, _ in told}
    assert len(told) == len(explained)
    assert not given & explained
    for path, _ in leaves(parse(ingest.settings, payload), ""):
        path = path.removeprefix("params.")
        beginnings = {path[:cut] for cut in range(len(path)) if path[cut] == "."} | {path}
        assert path in given or path == "ts" or beginnings & explained, path


@pytest.mark.parametrize(("name", "topic", "payload"), MESSAGES)
def test_a_configured_level_of_the_topic_is_the_device(name: str, topic: str, payload: bytes) -> None:
    decoded = Ingest(IngestSettings(topic="#", format=name, device_level=0)).decode(topic, payload)
    assert {event.device for event in decoded.events} == {topic.split("/")[0]}  # type: ignore[union-attr]


def test_what_lies_below_a_path_that_was_told_of_is_not_told_again() -> None:
    paths: list[str] = []
    told = Told(lambda path, _: paths.append(path))
    told("a.b", "why")
    told.rest({"a": {"b": {"c": 1}, "bc": 2}, "d": 3}, [])
    assert paths == ["a.b", "a.bc", "d"]


def test_a_configured_unit_goes_before_the_one_that_is_known() -> None:
    meanings = Meanings({"x": "Cel"}, lambda _: ("temperature", "F"))
    assert meanings("x") == ("temperature", "Cel", None)
    assert meanings("y") == meaning("temperature", "F") == ("temperature", "Cel", "F")


def test_the_names_of_payloads_cannot_fill_the_memory() -> None:
    looked_up: list[str] = []
    meanings = Meanings({}, lambda name: (looked_up.append(name) or name, None))  # type: ignore[func-returns-value]
    names = ["x" * 300, *(str(number) for number in range(10_000))]
    for name in names * 2:
        assert meanings(name).quantity == name
    assert len(looked_up) == 2 * len(names) - 4096
    assert looked_up.count("0") == 1
    assert looked_up.count("x" * 300) == 2


@pytest.mark.parametrize(
    ("payload", "kind"),
    [("[]", "an array"), ('"x"', "a text"), ("true", "a boolean"), ("null", "null"), ("1", "a number"), ("1.5", "a number")],
)
def test_what_is_no_object_is_named_as_json_calls_it(payload: str, kind: str) -> None:
    letter: Any = parse_object(IngestSettings(topic="#"), payload.encode())
    assert letter.detail == f"an object is needed, not {kind}"
